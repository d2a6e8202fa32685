"""The directory of a run: made, emptied of an earlier run, or refused.

Owns which names a run writes. Leaves what is in them to `checkpoint`, `state` and `train`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import OutputError, UsageError
from fv2es_prep.utils.files import cannot_write, whole_file
from fv2es_train.models.checkpoint import settle
from fv2es_train.training import run_config, state
from fv2es_train.training.results import PARTS as RESULTS

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig

HISTORY = "history.jsonl"
EVENTS = "tensorboard"
_KEPT = ("best", "last")
# Those that a run continues from come first: without them nothing is taken for a run.
PARTS = (state.NAME, run_config.NAME, *_KEPT, HISTORY, EVENTS, *RESULTS)


def refuse_existing(config: TrainConfig) -> None:
    """Never write over a run by accident.

    Raises:
        UsageError: ``out`` holds a run and ``overwrite`` is off, or is no directory.
    """
    if config.out.exists() and not config.out.is_dir():
        raise UsageError(f"{config.out} is a file, expected a directory", "choose another --out")
    found = [part for part in PARTS if (config.out / part).exists()]
    if found and not config.overwrite:
        raise UsageError(
            f"{config.out} holds a run already ({', '.join(found)})",
            f"continue it with --resume {config.out}, choose another --out, or pass --overwrite "
            "to replace it",
        )


def make_place(config: TrainConfig) -> None:
    """Make the run's directory, empty of an earlier run, with the configuration in it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        for which in _KEPT:
            settle(config.out, which)
        for part in PARTS:
            place = config.out / part
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the run {config.out} cannot be written: {error.strerror or error}",
            "choose another place with --out",
        ) from error
    run_config.store(config)


def settle_place(config: TrainConfig) -> None:
    """Bring the directory of a killed run in order, and store what changed.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        for which in _KEPT:
            settle(config.out, which)
        for leftover in config.out.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(config.out, error) from error
    run_config.store(config)


def write_history(run: Path, history: list[dict[str, Any]]) -> None:
    """Write RUN/history.jsonl, a line for each epoch.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(run / HISTORY) as temporary:
        lines = (json.dumps(record, allow_nan=False) + "\n" for record in history)
        temporary.write_text("".join(lines), encoding="utf-8")
