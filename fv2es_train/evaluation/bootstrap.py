"""How sure a number is: intervals from resamples of the measured utterances.

Owns drawing, percentile intervals and differences between runs. Leaves the metrics of a resample
to `weighted`. What an interval covers: other utterances of the same kind. What it does not:
another seed, another split, another corpus.

Utterances of one dialogue resemble each other, so drawing single utterances makes intervals too
narrow. Drawing whole recordings or speakers keeps what belongs together together; with few of
them (under about ten) such an interval is rough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_train.evaluation.vectorized_metrics import Weighted, gather

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_train.evaluation.predictions import Predictions

    Floats = NDArray[np.float64]

UNITS = ("utterance", "recording", "speaker")
# Weights in memory at a time: 32 MB.
_CELLS = 4_000_000


@dataclass(frozen=True)
class Plan:
    """How to draw.

    Attributes:
        resamples: how many; 0 makes no intervals.
        by: what is drawn with replacement, one of `UNITS`.
        seed: of the draws.
        level: share of the resamples that an interval holds.
    """

    resamples: int = 1000
    by: str = "utterance"
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.by not in UNITS:
            raise UsageError(f"{self.by!r} cannot be drawn", f"name one of {', '.join(UNITS)}")
        if self.resamples < 0:
            raise UsageError(f"resamples is {self.resamples}, expected at least 0")


@dataclass(frozen=True)
class Draws:
    """The metrics of each resample.

    Attributes:
        units: how many utterances, recordings or speakers there were to draw from.
        average: metric -> (R,), of the averages over classes.
        single_label: the same for one class an utterance; empty where that makes no sense.
    """

    units: int
    average: dict[str, Floats]
    single_label: dict[str, Floats]


def draw(predictions: Predictions, plan: Plan) -> Draws:
    """Measure all resamples. Equal plans draw equal rows, so runs can be paired.

    Args:
        predictions: of at least one utterance.
        plan: at least one resample.

    Raises:
        UsageError: what is to be drawn has no names in this corpus.
    """
    codes = _codes(predictions, plan.by)
    weighted = Weighted(predictions)
    average, single = [], []
    for weights in weights_of(codes, plan):
        average.append(weighted.averages(weights))
        single.append(weighted.single_label(weights))
    return Draws(int(codes.max()) + 1, gather(average), gather(single))


def weights_of(codes: NDArray[np.int64], plan: Plan) -> Iterator[Floats]:
    """How often each utterance is in each resample, some resamples at a time.

    Args:
        codes: (N,), the unit of each utterance, from 0.
        plan: how to draw.

    Yields:
        (R', N); the R' sum to the plan's resamples.
    """
    rng, units = np.random.default_rng(plan.seed), int(codes.max()) + 1
    size = max(1, _CELLS // len(codes))
    for begin in range(0, plan.resamples, size):
        rows = min(size, plan.resamples - begin)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield counts[:, codes].astype(np.float64)


def interval(values: Floats, level: float) -> list[float] | None:
    """The percentile interval of the resamples that have a value.

    Returns:
        ``[low, high]``, or None where no resample has a value.
    """
    there = values[~np.isnan(values)]
    if not len(there):
        return None
    outside = 50 * (1 - level)
    return [float(edge) for edge in np.percentile(there, [outside, 100 - outside])]


def intervals(values: dict[str, Floats], level: float) -> dict[str, list[float] | None]:
    """The interval of each metric."""
    return {name: interval(of, level) for name, of in values.items()}


def p_value(differences: Floats) -> float | None:
    """Twice the share of resamples on the rarer side of zero, at most 1.

    Zero counts to both sides, and one resample is added to each, so that it is never 0.
    """
    there = differences[~np.isnan(differences)]
    if not len(there):
        return None
    rarer = min(int((there <= 0).sum()), int((there >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(there) + 1))


def described(plan: Plan, units: int) -> dict[str, Any]:
    """The plan as plain JSON values, with the number of units there were."""
    return {**asdict(plan), "units": units}


def _codes(predictions: Predictions, by: str) -> NDArray[np.int64]:
    if by == "utterance":
        return np.arange(len(predictions))
    names = predictions.recordings if by == "recording" else predictions.speakers
    if not all(names):
        raise UsageError(
            f"{names.count('')} of {len(names)} utterances name no {by}",
            "draw utterances instead: --bootstrap-by utterance",
        )
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]
