"""`fv2es run --dry-run`: which steps would run, and estimates of their time, disk and memory.

Estimates of trainings come from finished or begun runs of the same table row; before the first
epoch of such a run they are unknown. This module writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.shards.index import INDEX_NAME
from fv2es_prep.splits.recipes import ALL
from fv2es_prep.utils.tables import wrapped
from fv2es_prep.utils.units import duration, size
from fv2es_recipe.recipe import Recipe
from fv2es_recipe.steps import ALL_STEPS, has_other_inputs
from fv2es_train.bench.bench_config import TableRow, rows_of
from fv2es_train.bench.trainings import Bench, planned
from fv2es_train.training.run_names import HISTORY, STATE
from pipelines.commands.plan_text import describe
from pipelines.commands.prep import planned as planned_prep
from pipelines.executors.fork_server import METHOD

# Libraries and decoder of one worker, and of each further one that shares the libraries,
# docs/performance.md; torch of one training.
_WORKER_BYTES, _FURTHER_BYTES, _TORCH_BYTES = 1_000_000_000, 300_000_000, 1_000_000_000
_FIGURES = ("seconds", "disk_bytes", "memory_bytes")


def forecast(recipe: Recipe, steps: Sequence[str]) -> list[dict[str, Any]]:
    """Estimate what each step would do and cost.

    Returns:
        JSON-ready, for each step: ``step``; ``runs`` (whether it would run); ``work``, a phrase;
        ``seconds``, ``disk_bytes`` and ``memory_bytes``, None if unknown. Memory of trainings is
        a lower bound.
    """
    rows, changed = [], False
    for name in steps:
        # The output of a step is an input of the next one.
        changed = changed or not ALL_STEPS[name].is_current(recipe)
        costs = _COSTS.get(name, _nothing)(recipe) if changed else _nothing(recipe)
        rows.append({"step": name, "runs": changed, **costs})
    return rows


def forecast_text(rows: Sequence[dict[str, Any]]) -> str:
    """The forecast as a table of 80 columns or less."""
    lines = [f"{'step':6} {'':4} {'time':>8} {'disk':>8} {'memory':>8}  work"]
    for row in rows:
        state = "run" if row["runs"] else "skip"
        seconds, disk, memory = (row[name] for name in _FIGURES)
        cells = (_shown(seconds, duration), _shown(disk, size), _shown(memory, size))
        text = " ".join(f"{cell:>8}" for cell in cells)
        line = f"{row['step']:6} {state:4} {text}  {row['work']}"
        lines.append(wrapped(line, indent=" " * 40))
    if any(row["runs"] and row["seconds"] is None for row in rows):
        lines.append("?: unknown until each model has a run with a finished epoch")
    return "\n".join(line.rstrip() for line in lines)


def _nothing(_: Recipe) -> dict[str, Any]:
    return {"work": "", **dict.fromkeys(_FIGURES, 0)}


def _prep(recipe: Recipe) -> dict[str, Any]:
    plan, workers = planned_prep(recipe.prep)
    told = describe(plan, workers)
    work = f"{len(plan.todo)} of {len(plan.tasks)} shards, {told['utterances']} utterances"
    return {
        "work": work,
        "seconds": told["estimated_s"] if plan.todo else 0,
        "disk_bytes": plan.shard_bytes,
        "memory_bytes": _memory_bytes(recipe.prep.executor, workers) if plan.todo else 0,
    }


def _memory_bytes(executor: str, workers: int) -> int:
    shares = executor.partition(":")[0] == "local" and METHOD == "forkserver"
    return _WORKER_BYTES + (workers - 1) * (_FURTHER_BYTES if shares else _WORKER_BYTES)


def _train(recipe: Recipe) -> dict[str, Any]:
    bench = _bench(recipe)
    if bench is None:
        rows = rows_of(recipe.bench, (Path("fold-0.json"),))
        count = sum(len(row.seeds) for row in rows)
        folds = _folds(recipe)
        work = f"{count * folds} runs" if folds else f"{count} runs per fold"
        return {"work": work, **dict.fromkeys(_FIGURES)}
    left = {
        each.name
        for each in bench.trainings
        if has_other_inputs(recipe, each) or not each.is_finished()
    }
    costs = [_row_cost(row, left, recipe) for row in bench.rows]
    known = None not in costs
    totals = [sum(c[i] for c in costs if c) if known else None for i in (0, 1)]
    memory = [c[2] for c in costs if c]
    return {
        "work": f"{len(left)} of {len(bench.trainings)} runs",
        "seconds": totals[0] and round(totals[0] / recipe.bench.jobs, 1),
        "disk_bytes": totals[1],
        "memory_bytes": recipe.bench.jobs * max(memory) if known and memory else None,
    }


def _bench(recipe: Recipe) -> Bench | None:
    """The trainings; None if the shards or the splits do not exist yet."""
    split, index = ALL_STEPS["split"], recipe.prep.out / INDEX_NAME
    if not index.is_file() or None in split.outputs(recipe).values():
        return None
    return planned(recipe.bench)


def _folds(recipe: Recipe) -> int | None:
    """The number of folds before they exist; None if it depends on the dataset."""
    split = recipe.split
    if split.file or recipe.bench.split is None:
        return None
    folds = split.rule().folds
    if folds != ALL:
        return int(folds or 1)
    if split.rule().recipe == "group":
        return None
    utterances = planned_prep(recipe.prep)[0].inventory.utterances
    return len({getattr(each, split.rule().recipe) for each in utterances})


def _row_cost(row: TableRow, left: set[str], recipe: Recipe) -> tuple[float, int, int] | None:
    """Seconds and bytes of a row's remaining runs, memory of one run; None if unknown."""
    runs = [run for seed in row.seeds for run in seed]
    mine = [run for run in runs if str(run.out.relative_to(recipe.bench.out)) in left]
    lines = [line for run in runs for line in _lines(run.out / HISTORY)]
    if not mine:
        return 0.0, 0, 0
    if not lines:
        return None
    epoch_s = sum(line["seconds"] for line in lines) / len(lines)
    largest = max((_bytes(run.out) for run in runs), default=0)
    state = max((run.out / STATE).stat().st_size for run in runs if _has_state(run.out))
    return (
        sum(run.epochs for run in mine) * epoch_s,
        largest * len(mine),
        # The state holds weights and two moments; gradients are as large as the weights.
        _TORCH_BYTES + state * 4 // 3,
    )


def _has_state(run: Path) -> bool:
    return (run / STATE).is_file()


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.is_file() or not _has_state(path.parent):
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _bytes(directory: Path) -> int:
    return sum(path.stat().st_size for path in directory.rglob("*") if path.is_file())


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return "?" if value is None else form(value)


_COSTS = {"prep": _prep, "train": _train}
