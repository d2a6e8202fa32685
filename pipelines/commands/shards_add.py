"""``fv2es shards add``: stages made from what a dataset stores, from `AddConfig`."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.utils.console import Json
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_prep.utils.phases import Report, progress
from pipelines.commands.common import DryRun, output
from pipelines.config import AddConfig, add_config_type, section_of
from pipelines.signals import stoppable

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_prep.shards.index import Index
    from fv2es_prep.shards.tools.restage_shard import Additions

ADD_EXAMPLE = "Example: fv2es shards add shards mfcc audio:wavlm=DIR"


def _options() -> Callable[[Callable[..., None]], Callable[..., None]]:
    panels: dict[str, tuple[str | Flag, ...]] = {
        "Stages": (
            Flag("shards", metavar="SHARDS", argument=True),
            Flag("stages", metavar="STAGE...", argument=True),
        ),
        "Run": ("executor", "threads", "device", "encoder_batch"),
    }
    return options_of(AddConfig, panels)


@_options()
def shards_add(given: Given[AddConfig], dry_run: DryRun = False, as_json: Json = False) -> None:
    """Add stages that are made from what a dataset stores; nothing is decoded.

    An encoder in transformers' format is written audio:, video: or text:, and its directory or its
    name at the Hugging Face hub. It reads the stage waveform, faces, or the transcripts.
    """
    # The sections of stages are known when a stage is asked for: help imports none.
    config = replace(given, kind=add_config_type()).resolve()
    with stoppable():
        if dry_run:
            _print_plan(config, as_json)
            return
        print_changed(config.shards, _add(config), as_json)


def _add(config: AddConfig) -> Index:
    from fv2es_prep.shards.tools.restage import add_stages
    from pipelines.executors.shard_tasks import spread_over
    from pipelines.run import note_added

    spread = spread_over(config.executor)
    with changing(config.shards) as report:
        names, additions = _additions(config)
        began = time.monotonic()
        index = add_stages(config.shards, names, report, additions, spread)
        spent_s = time.monotonic() - began
        note_added(config.shards, names, additions.encoders, config.executor, spent_s)
    return index


def _additions(config: AddConfig) -> tuple[tuple[str, ...], Additions]:
    """The names of the stages, and how they are made."""
    from fv2es_prep.shards.index import read_index
    from fv2es_prep.shards.tools.restage_shard import Additions
    from fv2es_prep.stages.encoders.encoder_source import encoder_sections, split_stages
    from fv2es_prep.stages.registry import sections_of

    names, encoders = split_stages(config.stages)
    stored = read_index(config.shards).settings.others
    own = {name: asdict(getattr(config, section_of(name))) for name in sections_of(names)}
    own |= encoder_sections(names, encoders, config.encoders, stored)
    additions = Additions(own, encoders, config.device, config.encoder_batch, config.threads)
    return names, additions


@contextmanager
def changing(directory: Path) -> Iterator[Report]:
    """Hold a dataset directory, and show the progress of changing its shards."""
    from fv2es_prep.shards.index import read_index
    from fv2es_prep.shards.tools.restage import finish_exchange
    from fv2es_prep.utils.claims import locked

    if not directory.is_dir():
        read_index(directory)
    with locked(directory):
        finish_exchange(directory)
        with progress(read_index(directory).examples, "utterances") as report:
            yield report


def print_changed(directory: Path, index: Index, as_json: bool) -> None:
    """Print what a dataset has become."""
    told = {"out": str(directory), "stages": index.settings.stages, "size_bytes": index.size_bytes}
    text = f"stages   {', '.join(index.settings.stages)}\nshards   {directory}"
    output(told, text, as_json)


def _print_plan(config: AddConfig, as_json: bool) -> None:
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.shards.index import read_index
    from fv2es_prep.shards.tools.restage import settings_with
    from fv2es_prep.shards.tools.restage_trial import Trial, try_stages
    from pipelines.commands.plan_text import plan_text
    from pipelines.executors.base import executor_of
    from pipelines.executors.shard_tasks import spread_over

    spread_over(config.executor)
    index = read_index(config.shards)
    names, additions = _additions(config)
    settings = settings_with(index, names, additions.sections)
    seconds = read_catalogue(config.shards).seconds.tolist()
    new = [name for name in settings.stages if name not in index.settings.stages]
    workers = max(min(executor_of(config.executor).workers, len(index.shards)), 1)
    trial = Trial(0, 0, 0)
    if new and index.examples:
        if config.executor != "inline":
            additions = replace(additions, threads=1)
        trial = try_stages(config.shards, index, settings, additions)
    told = {
        "utterances": index.examples,
        "hours": round(sum(seconds) / 3600, 4),
        "stages": new,
        "copied_bytes": index.size_bytes if new else 0,
        "new_bytes": {name: _bytes(name, seconds, settings) for name in new},
        "workers": workers,
        "estimated_s": round(trial.load_s + trial.rest_s / workers, 1),
        "worker_bytes": trial.worker_bytes,
    }
    output(told, plan_text(told), as_json)


def _bytes(name: str, seconds: list[float], settings: PrepSettings) -> int:
    from fv2es_prep.stages.registry import load_stage

    stage = load_stage(name)
    return sum(stage.expected_bytes(duration_s, settings) for duration_s in seconds)
