"""The pretrained encoders that a run needs to predict: names, places and checks.

Leaves loading to `fv2es_prep.stages.encoders`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import Fv2esError, SettingsError, TokenizerError, UsageError
from fv2es_prep.shards.index import encoders_of
from fv2es_prep.stages.encoders.encoder_source import split_stages
from fv2es_prep.stages.registry import is_encoder, load_stage
from fv2es_prep.utils.hub import is_here
from fv2es_train.training.run_config import stored_config

if TYPE_CHECKING:
    from fv2es_prep.stages.registry import StageContext
    from fv2es_train.models.families import ModelConfig


def without_unread(settings: PrepSettings, config: ModelConfig) -> PrepSettings:
    """Remove the encoder stages that a model reads neither directly nor indirectly."""
    wanted = {name for names in config.reads.values() for name in names}
    kept = []
    # The inputs of a stage come before it.
    for name in reversed(settings.stages):
        if name in wanted or not is_encoder(name):
            kept.append(name)
            wanted |= {*load_stage(name).needs}
    return replace(settings, stages=tuple(reversed(kept)))


def find_encoders(run: Path, settings: PrepSettings, given: Iterable[str]) -> dict[str, str]:
    """Find the encoder of each stage: stage -> directory or hub name, given or from the shards.

    Args:
        run: directory of a run, or a packed run, which does not know its shards.
        settings: result of `without_unread`.
        given: ``KIND:ALIAS=NAME_OR_DIR`` or ``faces:FILE``, see `split_stages`.

    Raises:
        UsageError: the run does not read a given encoder.
        SettingsError: a stage is given twice.
    """
    needed = [name for name in settings.stages if is_encoder(name)]
    needed += ["faces"] * (settings.faces.detector == "yunet" and "faces" in settings.stages)
    names, chosen = split_stages(given)
    if strange := [name for name in names if name not in needed]:
        raise UsageError(
            f"the run does not read the encoder stage {strange[0]}",
            f"choose from {', '.join(needed)}" if needed else "remove --encoder",
        )
    return {name: place for name, place in _stored(run).items() if name in needed} | chosen


def _stored(run: Path) -> dict[str, str]:
    """The encoders that made the shards of a run, if these still exist."""
    try:
        known = encoders_of(stored_config(run).shards)
    except Fv2esError:
        # The configuration is for continuing the run; prediction works without it.
        return {}
    return {
        stage: place for stage, place in known.items() if is_here(place) or Path(place).is_file()
    }


def check_encoders(stages: StageContext) -> None:
    """Load the encoders of the stages.

    Raises:
        TokenizerError: an encoder is missing, cannot be loaded, or differs from the one that made
            the shards.
    """
    if stages.settings.faces.detector == "yunet":
        # The detector opens its model file.
        _ = stages.detector
    for stage in stages.stages:
        if not is_encoder(stage.name):
            continue
        try:
            stages.maker(stage)
        except (TokenizerError, SettingsError) as error:
            stored, (kind, _, alias) = stage.settings_of(stages.settings), stage.name.partition("-")
            raise TokenizerError(
                f"the run needs the encoder {stored.encoder!r} ({stored.sha256[:12]}) of its stage "
                f"{stage.name}: {error.sentence}",
                f"pass the encoder that made its shards: --encoder {kind}:{alias}=DIR",
            ) from error
