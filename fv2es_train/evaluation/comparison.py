"""Compare runs on the same utterances by a paired bootstrap.

Each resample draws the same utterances for every run, so utterances that are hard for all runs
cancel out in the difference.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.phases import Phase, silent
from fv2es_train.evaluation.measurement import (
    Bootstrap,
    Draws,
    described,
    draw,
    interval,
    intervals,
    measurement,
    numbers,
    p_value,
)
from fv2es_train.evaluation.predictions import align, file_of, read_predictions, refuse_seen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fv2es_train.evaluation.predictions import Predictions


@dataclass(frozen=True)
class Measured:
    """A run with its predictions, its metrics and the metrics of its resamples."""

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
    bootstrap: Bootstrap | None = None,
    allow_seen: bool = False,
    phase: Phase = silent,
) -> dict[str, Any]:
    """Compare runs with the first one.

    Args:
        runs: at least two run directories.
        subset: the subset to compare on.
        shards: dataset to evaluate the runs on again; None reads RUN/predictions.
        split: split to evaluate on, with ``shards``.
        device: device to evaluate on.
        bootstrap: how to resample; None takes the defaults.
        allow_seen: also compare on utterances that a run was trained or validated on.
        phase: shows the progress of each evaluation.

    Returns:
        JSON-ready: ``subset``, ``n``, ``bootstrap``; ``runs``, for each ``run``, ``n``, ``seen``,
        ``average``, ``interval``, ``single_label``; ``differences``, for each run but the first
        ``run``, ``against``, and under ``average`` and ``single_label`` by metric ``difference``,
        ``interval`` and ``p``.

    Raises:
        UsageError: fewer than two runs, no resamples, or the runs were measured on different
            utterances, classes or labels.
        TrainError: a run has seen utterances of the subset, see `predictions.refuse_seen`.
    """
    bootstrap = bootstrap or Bootstrap()
    if len(runs) < 2 or not bootstrap.resamples:
        raise UsageError(
            f"cannot compare {len(runs)} run(s) with {bootstrap.resamples} resamples",
            "pass at least two runs, and --resamples 1 or more",
        )
    if (shards is None) != (split is None):
        raise UsageError("only one of --shards and --split is given", "pass both or neither")
    found = [_predictions(run, subset, shards, split, device, phase) for run in runs]
    seen = [
        refuse_seen(run, each.ids, subset, allow_seen)
        for run, each in zip(runs, found, strict=True)
    ]
    first = found[0]
    found = [align(p, first, str(r), str(runs[0])) for r, p in zip(runs, found, strict=True)]
    measured = [_measured(str(run), p, bootstrap) for run, p in zip(runs, found, strict=True)]
    return {
        "subset": subset,
        "n": len(first),
        "bootstrap": described(bootstrap, measured[0].draws.units),
        "runs": [
            {**_row(one, bootstrap.level), "seen": of}
            for one, of in zip(measured, seen, strict=True)
        ],
        "differences": [
            {
                "run": one.run,
                "against": measured[0].run,
                "average": _differences("average", one, measured[0], bootstrap.level),
                "single_label": _differences("single_label", one, measured[0], bootstrap.level),
            }
            for one in measured[1:]
        ],
    }


def _predictions(
    run: Path, subset: str, shards: Path | None, split: Path | None, device: str, phase: Phase
) -> Predictions:
    if shards is None or split is None:
        return read_predictions(file_of(run, subset))
    # Evaluation needs torch; stored predictions do not.
    from fv2es_train.evaluation.evaluate import open_run, predict

    return predict(open_run(shards, split, run, subset, device, allow_seen=True), phase)


def _measured(run: str, predictions: Predictions, bootstrap: Bootstrap) -> Measured:
    found = numbers(measurement(predictions, Bootstrap(resamples=0)))
    return Measured(run, predictions, found, draw(predictions, bootstrap))


def _row(one: Measured, level: float) -> dict[str, Any]:
    single = one.numbers["single_label"]
    if single:
        single = {**single, "interval": intervals(one.draws.single_label, level)}
    return {
        "run": one.run,
        "n": len(one.predictions),
        "average": one.numbers["average"],
        "interval": intervals(one.draws.average, level),
        "single_label": single,
    }


def _differences(
    kind: str, one: Measured, first: Measured, level: float
) -> dict[str, dict[str, Any]] | None:
    """The differences of one kind of metrics; None if they do not apply to a run."""
    ours, theirs = one.numbers[kind], first.numbers[kind]
    if not ours or not theirs:
        return None
    found = {}
    for name in ours:
        found[name] = dict.fromkeys(("difference", "interval", "p"))
        if ours[name] is not None and theirs[name] is not None:
            drawn = getattr(one.draws, kind)[name] - getattr(first.draws, kind)[name]
            found[name] = {
                "difference": ours[name] - theirs[name],
                "interval": interval(drawn, level),
                "p": p_value(drawn),
            }
    return found
