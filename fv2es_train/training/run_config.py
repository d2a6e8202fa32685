"""The configuration of a run: made from a preset, stored as RUN/config.toml, read on resume.

Leaves the fields to `config` and precedence to `fv2es_prep.utils.configuration`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from fv2es_prep.errors import DAMAGE, TrainError, UsageError, words_of
from fv2es_prep.utils.configuration import flat_values, flatten, read_toml, resolve, to_toml
from fv2es_prep.utils.fields import fields_of, values_of
from fv2es_prep.utils.files import read_regular, whole_file, whole_path
from fv2es_train.config import EARLIER, TrainConfig
from fv2es_train.models import families

NAME = "config.toml"
# Written by earlier versions.
OLD_NAME = "options.json"
_OLD_PATHS = {"model": "model.name"}
_OLD_PATHS |= {name: f"model.{name}" for name in ("modalities", "text_encoder")}
_CHANGEABLE = ("shards", "split", "device", "workers", "epochs", "save_every", "verify_reads")


def preset_of(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """The preset that the given values override; ``model.name`` or ``init`` selects it."""
    if given.get("init") and "model.name" not in given:
        from fv2es_train.models.initial_weights import read_config

        model = read_config(Path(given["init"]), given.get("model.modalities"))
        return {**families.preset(model.name).train, "model": model}
    preset = families.preset(given.get("model.name", "fv2es"))
    return {**preset.train, "model": preset.model}


def train_config(preset: str = "fv2es", **values: Any) -> TrainConfig:
    """Make the configuration of a preset, with other values for some fields.

    Args:
        preset: name of the preset.
        **values: as in a configuration file, e.g. ``epochs=3, model={"dropout": 0.2}``.

    Raises:
        UsageError: the preset or a field is unknown, or a value is invalid.
    """
    given = {**flatten(values), "model.name": preset}
    return resolve(TrainConfig, given, preset_of(given))


def store(config: TrainConfig) -> None:
    """Write RUN/config.toml; OutputError if it cannot be written."""
    named = {name: getattr(config, name) for name in ("shards", "split", "out", "init")}
    places: dict[str, Any] = {name: whole_path(place) for name, place in named.items() if place}
    stored = replace(config, overwrite=False, **places)
    with whole_file(config.out / NAME) as temporary:
        temporary.write_text(to_toml(fields_of(stored), flat_values(stored)), encoding="utf-8")


def resumed(run: Path, **changes: Any) -> TrainConfig:
    """Read the configuration of a run to continue, with changes to some fields.

    Raises:
        UsageError: the directory holds no run that can continue, or a field may not change.
        TrainError: its stored configuration is damaged.
    """
    for path in changes:
        if path not in _CHANGEABLE:
            raise UsageError(
                f"{path} cannot change when a run continues",
                f"remove it; only {', '.join(_CHANGEABLE)} may change",
            )
    stored = stored_config(run)
    return resolve(TrainConfig, changes, {**values_of(stored), "resume": True})


def stored_config(run: Path) -> TrainConfig:
    """Read the configuration that a run began with.

    Raises:
        UsageError: the directory holds no run.
        TrainError: the file is damaged.
    """
    path = next((run / name for name in (NAME, OLD_NAME) if (run / name).is_file()), None)
    if path is None:
        converted = (run / "best").is_dir()
        raise UsageError(
            f"{run} contains no run to continue: {run / NAME} is missing",
            f"start a new run from its weights: fv2es train --init {run} --out NEW"
            if converted
            else f"train one: fv2es train --shards SHARDS --split FILE --out {run}",
        )
    try:
        given = _old_values(path) if path.name == OLD_NAME else flatten(read_toml(path))
        return resolve(TrainConfig, {**EARLIER, **given, "out": run}, preset_of(given))
    except (*DAMAGE, UsageError) as error:
        raise TrainError(
            f"{path} cannot be read: {words_of(error)}",
            "train again, or continue with the fv2es version that wrote it",
        ) from error


def _old_values(path: Path) -> dict[str, Any]:
    values = json.loads(read_regular(path))
    return {_OLD_PATHS.get(k, k): v for k, v in values.items() if v is not None}
