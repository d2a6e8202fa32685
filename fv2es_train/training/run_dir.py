"""The directory of a run: made, cleared of an earlier run, or refused.

Owns the names that a run writes. Leaves their content to `checkpoint`, `state` and `loop`.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.files import cannot_write, whole_file
from fv2es_train.models.checkpoint import settle
from fv2es_train.training import run_config, state
from fv2es_train.training.results import PARTS as RESULTS

if TYPE_CHECKING:
    from fv2es_train.config import TrainConfig

HISTORY = "history.jsonl"
EVENTS = "tensorboard"
_KEPT = ("best", "last")
# What a run continues from is removed first: a directory without it is not taken for a run.
PARTS = (state.NAME, run_config.NAME, run_config.OLD_NAME, *_KEPT, HISTORY, EVENTS, *RESULTS)


def refuse_existing(config: TrainConfig) -> None:
    """Refuse to overwrite a run by accident.

    Raises:
        UsageError: ``out`` holds a run and ``overwrite`` is off, or ``out`` is a file.
    """
    if config.out.exists() and not config.out.is_dir():
        raise UsageError(f"{config.out} is a file, expected a directory", "choose another --out")
    found = [part for part in PARTS if (config.out / part).exists()]
    if found and not config.overwrite:
        raise UsageError(
            f"{config.out} already holds a run ({', '.join(found)})",
            f"continue it with --resume {config.out}, choose another --out, or pass --overwrite "
            "to replace it",
        )


def make_run_dir(config: TrainConfig) -> None:
    """Make the directory and store the configuration; clear it unless the run continues.

    Raises:
        OutputError: it cannot be written.
    """
    try:
        config.out.mkdir(parents=True, exist_ok=True)
        for which in _KEPT:
            settle(config.out, which)
        parts = [config.out / part for part in PARTS]
        for path in config.out.glob(".*.tmp") if config.resume else parts:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
    except OSError as error:
        raise cannot_write(config.out, error) from error
    run_config.store(config)


def write_history(run: Path, history: list[dict[str, Any]]) -> None:
    """Write RUN/history.jsonl, one line per epoch.

    Raises:
        OutputError: it cannot be written.
    """
    with whole_file(run / HISTORY) as temporary:
        lines = (json.dumps(record, allow_nan=False) + "\n" for record in history)
        temporary.write_text("".join(lines), encoding="utf-8")
