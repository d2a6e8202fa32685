"""The pretrained encoders that a run needs to predict: which, where they are, whether they fit.

Leaves loading them to `fv2es_prep.stages.encoders`.
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
    """The settings without the encoder stages that a model does not read, directly or not."""
    wanted = {name for names in config.reads.values() for name in names}
    kept = []
    # What a stage is made of comes before it.
    for name in reversed(settings.stages):
        if name in wanted or not is_encoder(name):
            kept.append(name)
            wanted |= {*load_stage(name).needs}
    return replace(settings, stages=tuple(reversed(kept)))


def find_encoders(run: Path, settings: PrepSettings, given: Iterable[str]) -> dict[str, str]:
    """Encoder stage -> directory or hub name, as given or as the shards of the run name it.

    Args:
        run: directory of a run, or a packed run, which names no shards.
        settings: what `without_unread` returns.
        given: ``KIND:ALIAS=NAME_OR_DIR``, see `split_stages`.

    Raises:
        UsageError: what is given is no encoder of the run.
        SettingsError: a stage is given twice.
    """
    needed = [name for name in settings.stages if is_encoder(name)]
    names, chosen = split_stages(given)
    if strange := [name for name in names if name not in needed]:
        raise UsageError(
            f"the run reads no stage {strange[0]} of an encoder",
            f"it reads {', '.join(needed)}" if needed else "leave --encoder out",
        )
    return {name: place for name, place in _stored(run).items() if name in needed} | chosen


def _stored(run: Path) -> dict[str, str]:
    """The encoders that made the shards of a run, as far as they are still there."""
    try:
        known = encoders_of(stored_config(run).shards)
    except Fv2esError:
        # It says how the run continues; prediction needs none of it.
        return {}
    return {stage: place for stage, place in known.items() if is_here(place)}


def check_encoders(stages: StageContext) -> None:
    """Load the encoders of the stages.

    Raises:
        TokenizerError: one is not at hand, cannot be loaded, or its files are not those that made
            the shards.
    """
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
