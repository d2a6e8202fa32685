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
from fv2es_train.training import options as asked
from fv2es_train.training import state
from fv2es_train.training.results import PARTS as RESULTS

if TYPE_CHECKING:
    from fv2es_train.training.options import TrainOptions

HISTORY = "history.jsonl"
EVENTS = "tensorboard"
_KEPT = ("best", "last")
# Those that a run continues from come first: without them nothing is taken for a run.
PARTS = (state.NAME, asked.NAME, *_KEPT, HISTORY, EVENTS, *RESULTS)


def refuse_existing(options: TrainOptions) -> None:
    """Never write over a run by accident.

    Raises:
        UsageError: ``out`` holds a run and ``overwrite`` is off, or is no directory.
    """
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"{options.out} is a file, expected a directory", "choose another --out")
    found = [part for part in PARTS if (options.out / part).exists()]
    if found and not options.overwrite:
        raise UsageError(
            f"{options.out} holds a run already ({', '.join(found)})",
            f"continue it with --resume {options.out}, choose another --out, or pass --overwrite "
            "to replace it",
        )


def make_place(options: TrainOptions) -> None:
    """Make the run's directory, empty of an earlier run, with the options in it.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for which in _KEPT:
            settle(options.out, which)
        for part in PARTS:
            place = options.out / part
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(
            f"the run {options.out} cannot be written: {error.strerror or error}",
            "choose another place with --out",
        ) from error
    options.remember()


def settle_place(options: TrainOptions) -> None:
    """Bring the directory of a killed run in order, and remember what is asked otherwise now.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        for which in _KEPT:
            settle(options.out, which)
        for leftover in options.out.glob(".*.tmp"):
            leftover.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(options.out, error) from error
    options.remember()


def write_history(run: Path, history: list[dict[str, Any]]) -> None:
    """Write RUN/history.jsonl, a line for each epoch.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(run / HISTORY) as temporary:
        lines = (json.dumps(record, allow_nan=False) + "\n" for record in history)
        temporary.write_text("".join(lines), encoding="utf-8")
