"""Measurements with bootstrap confidence intervals, as JSON values.

An interval covers the choice of utterances of the same kind; it does not cover another seed, split
or corpus. Utterances of one dialogue resemble each other, so resampling single utterances makes
intervals too narrow. Resampling whole recordings or speakers avoids that; with fewer than about ten
of them the interval is rough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.near import meant
from fv2es_train.evaluation.metrics import (
    SINGLE_METRICS,
    label_sets,
    measure_predicted,
    measure_single,
    why_not_single,
)
from fv2es_train.evaluation.vectorized_metrics import VectorizedMetrics, gather, plain

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from fv2es_train.evaluation.predictions import Predictions

    Floats = NDArray[np.float64]


def measurement(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    """Measure predictions of at least one utterance, with confidence intervals.

    Returns:
        JSON-ready: the keys of `metrics.measure_predicted`; ``interval``, metric -> [low, high]
        of the averages; ``label_sets``, each of `metrics.LABEL_SETS` and their ``interval``;
        ``single_label``, the keys of `metrics.measure_single` and its ``interval``, or None;
        ``single_label_absent``, why it is None; ``bootstrap``, the settings. Without resamples
        ``bootstrap`` and all intervals are None.

    Raises:
        UsageError: the corpus does not name the unit to draw.
    """
    drawn = draw(predictions, bootstrap) if bootstrap.resamples else None
    every = np.ones((1, len(predictions)))
    sets = plain(label_sets(predictions.truth, predictions.predicted, every), 0)
    return {
        **measure_predicted(
            predictions.truth, predictions.predicted, predictions.probability, predictions.classes
        ),
        "interval": intervals(drawn.average, bootstrap.level) if drawn else None,
        "label_sets": {
            **sets,
            "interval": intervals(drawn.label_sets, bootstrap.level) if drawn else None,
        },
        "single_label": _single(predictions, bootstrap, drawn),
        "single_label_absent": why_not_single(predictions.truth),
        "bootstrap": described(bootstrap, drawn.units) if drawn else None,
    }


def numbers(measured: Mapping[str, Any]) -> dict[str, Any]:
    """Select the averages of a measurement: ``average``, and ``single_label`` without confusion."""
    single = measured["single_label"]
    return {
        "average": dict(measured["average"]),
        "single_label": {name: single[name] for name in SINGLE_METRICS} if single else None,
    }


def _single(
    predictions: Predictions, bootstrap: Bootstrap, drawn: Draws | None
) -> dict[str, Any] | None:
    if why_not_single(predictions.truth):
        return None
    found = measure_single(predictions.truth, predictions.logits, predictions.classes)
    edges = intervals(drawn.single_label, bootstrap.level) if drawn else None
    return {**found, "interval": edges}


UNITS = ("utterance", "recording", "speaker")
# Number of weights in memory at a time: 32 MB.
_CELLS = 4_000_000


@dataclass(frozen=True)
class Bootstrap:
    """How to resample: unit ``by`` of `UNITS`, drawn with replacement; 0 resamples disable it."""

    resamples: int = 1000
    by: str = "utterance"
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.by not in UNITS:
            raise UsageError(f"unknown bootstrap unit {self.by!r}", meant(self.by, UNITS))
        if self.resamples < 0:
            raise UsageError(f"resamples is {self.resamples}, expected 0 or more")


@dataclass(frozen=True)
class Draws:
    """The metrics of each of R resamples.

    Attributes:
        units: number of utterances, recordings or speakers to draw from.
        average: metric -> (R,), averages over classes.
        label_sets: metric -> (R,).
        single_label: metric -> (R,); empty if single-label metrics do not apply.
    """

    units: int
    average: dict[str, Floats]
    label_sets: dict[str, Floats]
    single_label: dict[str, Floats]


def draw(predictions: Predictions, bootstrap: Bootstrap) -> Draws:
    """Measure all resamples. Equal settings draw equal rows, so runs can be paired.

    Raises:
        UsageError: the corpus does not name the unit to draw.
    """
    codes = _codes(predictions, bootstrap.by)
    weighted = VectorizedMetrics(predictions)
    average, sets, single = [], [], []
    for weights in weights_of(codes, bootstrap):
        average.append(weighted.averages(weights))
        sets.append(label_sets(predictions.truth, predictions.predicted, weights))
        single.append(weighted.single_label(weights))
    return Draws(int(codes.max()) + 1, gather(average), gather(sets), gather(single))


def weights_of(codes: NDArray[np.int64], bootstrap: Bootstrap) -> Iterator[Floats]:
    """Yield blocks (R', N) of resamples: how often each contains each utterance.

    ``codes`` is (N,), the unit of each utterance, from 0.
    """
    rng, units = np.random.default_rng(bootstrap.seed), int(codes.max()) + 1
    size = max(1, _CELLS // len(codes))
    for begin in range(0, bootstrap.resamples, size):
        rows = min(size, bootstrap.resamples - begin)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield counts[:, codes].astype(np.float64)


def interval(values: Floats, level: float) -> list[float] | None:
    """Compute the percentile interval ``[low, high]`` of the defined values; None without any."""
    there = values[~np.isnan(values)]
    if not len(there):
        return None
    outside = 50 * (1 - level)
    return [float(edge) for edge in np.percentile(there, [outside, 100 - outside])]


def intervals(values: dict[str, Floats], level: float) -> dict[str, list[float] | None]:
    """The interval of each metric."""
    return {name: interval(of, level) for name, of in values.items()}


def p_value(differences: Floats) -> float | None:
    """Compute p: twice the share of resamples on the rarer side of zero, at most 1.

    Zero counts on both sides, and one resample is added to each side, so it is never 0.
    """
    there = differences[~np.isnan(differences)]
    if not len(there):
        return None
    rarer = min(int((there <= 0).sum()), int((there >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(there) + 1))


def described(bootstrap: Bootstrap, units: int) -> dict[str, Any]:
    """Describe the settings as JSON values, with the number of units."""
    return {**asdict(bootstrap), "units": units}


def _codes(predictions: Predictions, by: str) -> NDArray[np.int64]:
    if by == "utterance":
        return np.arange(len(predictions))
    names = predictions.recordings if by == "recording" else predictions.speakers
    if not all(names):
        raise UsageError(
            f"{names.count('')} of {len(names)} utterances have no {by}",
            "resample utterances instead: pass --bootstrap-by utterance",
        )
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]
