"""Runs side by side on the same utterances, and whether their differences are more than chance.

Owns the comparison. Leaves the predictions of a run to its files or to `evaluate`, and drawing to
`bootstrap`.

The bootstrap is paired: each resample draws the same utterances for every run, so what makes an
utterance hard for all runs falls out of the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import UsageError
from fv2es_train.evaluation.bootstrap import (
    Draws,
    Plan,
    described,
    draw,
    interval,
    intervals,
    p_value,
)
from fv2es_train.evaluation.measurement import measurement, numbers
from fv2es_train.evaluation.predictions import align, file_of, read_predictions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from fv2es_train.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Measured:
    """A run with its predictions, its numbers and the metrics of its resamples."""

    run: str
    predictions: Predictions
    numbers: dict[str, Any]
    draws: Draws


def compare(
    runs: Sequence[Path],
    subset: str = "test",
    shards: Path | None = None,
    split: Path | None = None,
    device: str = "auto",
    plan: Plan | None = None,
) -> dict[str, Any]:
    """Compare runs with the first of them.

    Args:
        runs: directories of at least two runs.
        subset: which subset's predictions to read, or to measure.
        shards: measure the runs anew on these shards; None reads RUN/predictions.
        split: the split to measure them on, with ``shards``.
        device: where to measure.
        plan: how to draw; None takes the defaults.

    Returns:
        JSON-ready: ``subset``, ``n``, ``bootstrap``; ``runs``, for each ``run``, ``n``,
        ``average``, ``interval``, ``single_label``; ``differences``, for each run but the first
        ``run``, ``against``, and under ``average`` and ``single_label`` by metric ``difference``,
        ``interval`` and ``p``.

    Raises:
        UsageError: fewer than two runs, no resamples, or the runs were measured on other
            utterances, classes or labels.
    """
    plan = plan or Plan()
    if len(runs) < 2 or not plan.resamples:
        raise UsageError(
            f"{len(runs)} run(s) and {plan.resamples} resamples make no comparison",
            "name at least two runs, and at least one resample",
        )
    if (shards is None) != (split is None):
        raise UsageError("--shards and --split go together", "pass both, or none")
    found = [_predictions(run, subset, shards, split, device) for run in runs]
    first = found[0]
    aligned = [
        first,
        *(align(p, first, str(r), str(runs[0])) for r, p in zip(runs[1:], found[1:], strict=True)),
    ]
    measured = [_measured(str(run), p, plan) for run, p in zip(runs, aligned, strict=True)]
    return {
        "subset": subset,
        "n": len(first),
        "bootstrap": described(plan, measured[0].draws.units),
        "runs": [_row(one, plan) for one in measured],
        "differences": [_apart(one, measured[0], plan) for one in measured[1:]],
    }


def _predictions(
    run: Path, subset: str, shards: Path | None, split: Path | None, device: str
) -> Predictions:
    if shards is None or split is None:
        return read_predictions(file_of(run, subset))
    # Measuring needs torch; reading what was written does not.
    from fv2es_train.evaluation.evaluate import open_run, predict

    opened = open_run(shards, split, run, subset, device)
    return predict(opened)


def _measured(run: str, predictions: Predictions, plan: Plan) -> Measured:
    found = numbers(measurement(predictions, Plan(resamples=0)))
    return Measured(run, predictions, found, draw(predictions, plan))


def _row(one: Measured, plan: Plan) -> dict[str, Any]:
    single = one.numbers["single_label"]
    if single:
        single = {**single, "interval": intervals(one.draws.single_label, plan.level)}
    return {
        "run": one.run,
        "n": len(one.predictions),
        "average": one.numbers["average"],
        "interval": intervals(one.draws.average, plan.level),
        "single_label": single,
    }


def _apart(one: Measured, first: Measured, plan: Plan) -> dict[str, Any]:
    return {
        "run": one.run,
        "against": first.run,
        **{kind: _differences(kind, one, first, plan) for kind in ("average", "single_label")},
    }


def _differences(kind: str, one: Measured, first: Measured, plan: Plan) -> dict[str, Any] | None:
    ours, theirs = one.numbers[kind], first.numbers[kind]
    if not ours or not theirs:
        return None
    drawn, against = getattr(one.draws, kind), getattr(first.draws, kind)
    return {
        name: _difference(ours[name], theirs[name], drawn[name] - against[name], plan)
        for name in ours
    }


def _difference(
    ours: float | None, theirs: float | None, drawn: NDArray[Any], plan: Plan
) -> dict[str, Any]:
    known = ours is not None and theirs is not None
    return {
        "difference": ours - theirs if ours is not None and theirs is not None else None,
        "interval": interval(drawn, plan.level) if known else None,
        "p": p_value(drawn) if known else None,
    }
