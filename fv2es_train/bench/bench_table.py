"""The rows of a bench, measured. Leaves their form to `bench_forms`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.near import meant
from fv2es_train.evaluation.measurement import (
    Bootstrap,
    described,
    draw,
    interval,
    measurement,
    p_value,
)
from fv2es_train.evaluation.metrics import LABEL_SETS, SINGLE_METRICS
from fv2es_train.evaluation.predictions import align, file_of, join, read_predictions
from fv2es_train.training.run_names import HISTORY, METRICS_FILE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.splits.audit import Audit
    from fv2es_train.bench.bench_config import BenchConfig, TableRow
    from fv2es_train.config import TrainConfig
    from fv2es_train.evaluation.predictions import Predictions

_SINGLE, _SETS = "single_label.", "label_sets."


@dataclass(frozen=True)
class _Scores:
    """Metrics of a row.

    Attributes:
        runs: metric -> value of each run.
        value: metric -> mean over the seeds; the folds of a seed are pooled.
        draws: metric -> (R,), the same for each bootstrap resample; not for single classes.
        units: number of units that the bootstrap draws from.
    """

    runs: dict[str, list[float]]
    value: dict[str, float]
    draws: dict[str, NDArray[np.float64]]
    units: int


def measure_rows(
    rows: Sequence[TableRow], config: BenchConfig, audits: Sequence[Audit]
) -> dict[str, Any]:
    """Measure the stored test predictions of all finished runs.

    Returns:
        JSON-ready: ``split``, see `summary_of`; ``metrics``; ``bootstrap``; ``rows``, for each
        ``model``, ``modalities``, ``runs`` (number of finished runs), ``seconds`` (mean over
        the runs) and ``metrics``: for each, ``mean`` over the seeds, the test subsets of all folds
        pooled; ``spread``, the standard deviation over single runs (n - 1); ``interval`` of the
        mean, over utterances; ``difference`` to the first row with ``difference_interval`` and
        ``p``, paired by utterance. None if a run of the row failed.
    """
    bootstrap, first, like = Bootstrap(config.resamples), None, None
    found: list[tuple[TableRow, _Scores | None]] = []
    for row in rows:
        done = all(_is_done(run) for seed in row.seeds for run in seed)
        scores = None
        if done:
            parts = [[read_predictions(file_of(run.out, "test")) for run in s] for s in row.seeds]
            like = like or join(parts[0])
            scores = _scores(parts, like, row.name, bootstrap)
        found.append((row, scores))
    if found:
        first = found[0][1]
    metrics = _chosen(config.metrics, [scores for _, scores in found if scores])
    some = next((scores for _, scores in found if scores), None)
    return {
        "split": summary_of(audits),
        "metrics": list(metrics),
        "bootstrap": described(bootstrap, some.units) if some else None,
        "rows": [_row(row, scores, first, bootstrap.level) for row, scores in found],
    }


def summary_of(audits: Sequence[Audit]) -> dict[str, Any]:
    """Sum the audits of all folds.

    Returns:
        JSON-ready: ``folds``; ``listed``, subset -> ids; ``test_classes``, class -> utterances;
        ``test_shares_with_train``, kind -> utterances of test, None if unknown for all.
    """
    pairs = [next(p for p in a.pairs if (p.of, p.within) == ("test", "train")) for a in audits]
    shared: dict[str, int | None] = {}
    for each in zip(*(pair.shared for pair in pairs), strict=True):
        unknown = all(found.unknown == found.of for found in each)
        shared[each[0].kind] = None if unknown else sum(found.count for found in each)
    return {
        "folds": len(audits),
        "listed": _summed([audit.listed for audit in audits]),
        "test_classes": _summed([audit.classes["test"] for audit in audits]),
        "test_shares_with_train": shared,
    }


def _summed(counts: Sequence[Mapping[str, int]]) -> dict[str, int]:
    return {name: sum(each[name] for each in counts) for name in counts[0]}


def _is_done(run: TrainConfig) -> bool:
    return (run.out / METRICS_FILE).is_file()


def _scores(
    parts: Sequence[Sequence[Predictions]], like: Predictions, name: str, bootstrap: Bootstrap
) -> _Scores:
    single = [_values(part) for seed in parts for part in seed]
    pooled = [align(join(seed), like, name, "the first row") for seed in parts]
    values, drawn = [_values(each) for each in pooled], [draw(p, bootstrap) for p in pooled]
    draws = [
        {**d.average, **_named(_SETS, d.label_sets), **_named(_SINGLE, d.single_label)}
        for d in drawn
    ]
    names = [n for n in values[0] if all(v.get(n) is not None for v in values)]
    return _Scores(
        {n: [v for one in single if (v := one.get(n)) is not None] for n in names},
        {n: float(np.mean([v[n] for v in values])) for n in names},
        {n: np.mean([each[n] for each in draws], axis=0) for n in names if n in draws[0]},
        drawn[0].units,
    )


def _values(predictions: Predictions) -> dict[str, Any]:
    found = measurement(predictions, Bootstrap(resamples=0))
    classes = {
        f"{metric}.{name}": values[metric]
        for metric in found["average"]
        for name, values in found["per_class"].items()
    }
    sets = {name: found["label_sets"][name] for name in LABEL_SETS}
    single = {name: found["single_label"][name] for name in SINGLE_METRICS if found["single_label"]}
    return {**found["average"], **_named(_SINGLE, single), **_named(_SETS, sets), **classes}


def _named(prefix: str, values: Mapping[str, Any]) -> dict[str, Any]:
    return {prefix + name: value for name, value in values.items()}


def _chosen(asked: Sequence[str], found: Sequence[_Scores]) -> tuple[str, ...]:
    known = (
        [name for name in found[0].value if all(name in s.value for s in found)] if found else []
    )
    if unknown := [name for name in asked if found and name not in known]:
        raise UsageError(
            f"the metric {unknown[0]!r} is unknown or undefined for a row",
            meant(unknown[0], [name for name in known if name in found[0].draws]),
        )
    usual = _SINGLE + "accuracy"
    return tuple(asked) or ((usual,) if usual in known else tuple(known[:1]))


def _row(
    row: TableRow, scores: _Scores | None, first: _Scores | None, level: float
) -> dict[str, Any]:
    runs = [run for seed in row.seeds for run in seed if _is_done(run)]
    seconds = [_seconds(run.out) for run in runs]
    return {
        "model": row.model,
        "modalities": row.modalities,
        "runs": len(runs),
        "seconds": round(float(np.mean(seconds)), 3) if seconds else None,
        "metrics": scores and {name: _metric(name, scores, first, level) for name in scores.value},
    }


def _metric(name: str, ours: _Scores, first: _Scores | None, level: float) -> dict[str, Any]:
    runs = ours.runs[name]
    found: dict[str, Any] = {
        "mean": ours.value[name],
        "spread": float(np.std(runs, ddof=1)) if len(runs) > 1 else None,
        "interval": interval(ours.draws[name], level) if name in ours.draws else None,
        **dict.fromkeys(("difference", "difference_interval", "p")),
    }
    if first is not None and first is not ours and name in first.value:
        found["difference"] = ours.value[name] - first.value[name]
        if name in ours.draws:
            drawn = ours.draws[name] - first.draws[name]
            found["difference_interval"], found["p"] = interval(drawn, level), p_value(drawn)
    return found


def _seconds(run: Path) -> float:
    """Seconds of all epochs of a run, with validation."""
    lines = (run / HISTORY).read_text(encoding="utf-8").splitlines()
    return float(sum(json.loads(line)["seconds"] for line in lines))
