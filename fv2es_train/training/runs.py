"""The runs below a directory: configuration, progress and scores of each.

Reads only the small files of a run, no weights, so thousands of runs are listed in seconds.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.errors import DAMAGE, Fv2esError, UsageError, words_of
from fv2es_prep.utils.claims import LOCK_NAME, is_live, records
from fv2es_prep.utils.files import read_regular
from fv2es_prep.utils.tables import Block, Form, Table, shown
from fv2es_train.evaluation.run_page import measured_body, runs_body
from fv2es_train.training.run_config import NAME, OLD_NAME, stored_config
from fv2es_train.training.run_names import FAILED, HISTORY, METRICS_FILE

_HEADER = (
    *("run", "model", "modalities", "status", "epoch", "valid", "test (interval)", "minutes"),
)
_OPTIONAL = ("minutes", "modalities", "epoch", "model")
# Also on the page.
_MORE = ("seed", "split", "seen")


def list_runs(directory: Path) -> list[dict[str, Any]]:
    """List the runs in and below a directory, sorted by path; does not search inside a run.

    Args:
        directory: directory to search; may be a run itself.

    Returns:
        JSON-ready, for each run: ``run`` (its path), ``status`` (``training``: a process holds it;
        ``done``: it is measured; ``failed``; ``stopped``; ``unreadable``), ``error`` (empty unless
        failed or unreadable), ``model``, ``modalities``, ``seed``, ``split``, ``epochs``,
        ``best_epoch``, ``seconds`` (total of all epochs), ``changed`` (seconds since 1970),
        ``valid`` and ``test`` (``n``, ``average``, ``interval``; until the run is measured,
        ``valid`` has only the average of the best epoch; None if nothing is known), and ``seen``,
        the number of test utterances that the run was trained or validated on.

    Raises:
        UsageError: ``directory`` is not a directory.
    """
    if not directory.is_dir():
        raise UsageError(f"{directory} is not a directory", "pass a directory that contains runs")
    return [_describe(run) for run in _runs(directory)]


def format_runs(
    runs: Sequence[Mapping[str, Any]],
    directory: Path,
    metric: str = "f1_binary",
    form: Form = "table",
    wide: bool = False,
) -> str:
    """Format `list_runs` as a table with one averaged metric; paths are below ``directory``."""
    if not runs and form == "table":
        return f"{directory} contains no runs"
    rows = [_row(run, directory, metric) for run in runs]
    blocks: list[Block] = [Table(_HEADER, rows, optional=_OPTIONAL)]
    blocks.append(f"valid and test: {metric}; epoch: best/finished")
    for run in runs:
        if run["error"]:
            blocks.append(f"{run['run']}: {run['error']}")
        if run["seen"]:
            blocks.append(
                f"{run['run']} was trained or validated on {run['seen']} utterances of test"
            )
    return shown(blocks, form, wide)


def runs_page(
    runs: Sequence[Mapping[str, Any]], directory: Path, metric: str = "f1_binary"
) -> list[str]:
    """Make the parts of a page of `list_runs`, with curves and paths relative to ``directory``.

    For a single run the page is its card: it also shows the scores of each class.
    """
    rows = [_row(run, directory, metric) for run in runs]
    more = [[str(run[name]) for name in _MORE] for run in runs]
    histories = {row[0]: _history(run) for row, run in zip(rows, runs, strict=True)}
    wide = [[*row, *cells] for row, cells in zip(rows, more, strict=True)]
    body = runs_body(directory, [*_HEADER, *_MORE], wide, runs, histories, metric)
    if len(runs) == 1 and runs[0]["test"]:
        body += measured_body(json.loads(read_regular(Path(runs[0]["run"]) / METRICS_FILE))["test"])
    return body


def _history(run: Mapping[str, Any]) -> list[dict[str, Any]]:
    broken = run["status"] == "unreadable"
    return [] if broken else [json.loads(line) for line in _lines(Path(run["run"]) / HISTORY)]


def _runs(directory: Path) -> Iterator[Path]:
    if any((directory / name).is_file() for name in (NAME, OLD_NAME)):
        yield directory
        return
    for path in sorted(directory.iterdir()):
        if path.is_dir() and not path.is_symlink() and not path.name.startswith("."):
            yield from _runs(path)


def _describe(run: Path) -> dict[str, Any]:
    about = {"run": str(run), "status": "unreadable", "error": "", "seen": 0}
    about |= dict.fromkeys(
        ("model", "modalities", "seed", "split", "epochs", "best_epoch", "seconds", "changed")
    )
    about |= {"valid": None, "test": None}
    try:
        return about | _read(run)
    except Fv2esError as error:
        return about | {"error": error.sentence}
    except DAMAGE as error:
        return about | {"error": words_of(error)}


def _read(run: Path) -> dict[str, Any]:
    config = stored_config(run)
    history = [json.loads(line) for line in _lines(run / HISTORY)]
    best = next((epoch for epoch in reversed(history) if epoch["best"]), None)
    measured = json.loads(read_regular(run / METRICS_FILE)) if (run / METRICS_FILE).exists() else {}
    valid = _scores(measured.get("valid")) or (best and {"average": best["valid"]})
    seen = (measured.get("test") or {}).get("seen") or {}
    status, error = "done" if measured else "stopped", ""
    if any(map(is_live, records(run, LOCK_NAME))):
        status = "training"
    elif not measured and (run / FAILED).exists():
        status, error = "failed", str(json.loads(read_regular(run / FAILED))["error"])
    return {
        "status": status,
        "error": error,
        "model": config.model.name,
        "modalities": config.model.modalities,
        "seed": config.seed,
        "split": str(config.split),
        "epochs": len(history),
        "best_epoch": best and best["epoch"],
        "seconds": round(sum(epoch["seconds"] for epoch in history), 1),
        "changed": max(path.stat().st_mtime for path in (run, *run.glob("*.json*"))),
        "valid": valid,
        "test": _scores(measured.get("test")),
        "seen": sum(seen.values()),
    }


def _lines(path: Path) -> list[str]:
    return read_regular(path).decode().splitlines() if path.exists() else []


def _scores(found: Mapping[str, Any] | None) -> dict[str, Any] | None:
    return {name: found[name] for name in ("n", "average", "interval")} if found else None


def _row(run: Mapping[str, Any], directory: Path, metric: str) -> list[str]:
    path = Path(run["run"])
    name = str(path.relative_to(directory)) if path != directory else path.name
    minutes = "-" if run["seconds"] is None else f"{run['seconds'] / 60:.1f}"
    epoch = f"{run['best_epoch']}/{run['epochs']}" if run["best_epoch"] else "-"
    return [
        *(name, run["model"] or "-", run["modalities"] or "-", run["status"], epoch),
        *(_value(run["valid"], metric), _value(run["test"], metric) + _ends(run["test"], metric)),
        minutes,
    ]


def _value(found: Mapping[str, Any] | None, metric: str) -> str:
    value = found and found["average"].get(metric)
    return "-" if value is None else f"{value:.3f}"


def _ends(found: Mapping[str, Any] | None, metric: str) -> str:
    ends = found and (found["interval"] or {}).get(metric)
    return f" [{ends[0]:.3f}, {ends[1]:.3f}]" if ends else ""
