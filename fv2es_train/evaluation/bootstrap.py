"""Bootstrap confidence intervals of the measured metrics.

Owns drawing, percentile intervals and p-values. Leaves the metrics of a resample to
`vectorized_metrics`. An interval covers other utterances of the same kind; it does not cover
another seed, split or corpus.

Utterances of one dialogue resemble each other, so drawing single utterances makes intervals too
narrow. Drawing whole recordings or speakers respects that; with fewer than about ten of them the
interval is rough.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_train.evaluation.vectorized_metrics import VectorizedMetrics, gather

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_train.evaluation.predictions import Predictions

    Floats = NDArray[np.float64]

UNITS = ("utterance", "recording", "speaker")
# Weights in memory at a time: 32 MB.
_CELLS = 4_000_000


@dataclass(frozen=True)
class Bootstrap:
    """How to resample.

    Attributes:
        resamples: number of resamples; 0 computes no intervals.
        by: the unit drawn with replacement, one of `UNITS`.
        seed: seed of the draws.
        level: confidence level of the intervals.
    """

    resamples: int = 1000
    by: str = "utterance"
    seed: int = 0
    level: float = 0.95

    def __post_init__(self) -> None:
        if self.by not in UNITS:
            raise UsageError(
                f"unknown bootstrap unit {self.by!r}", f"pass one of {', '.join(UNITS)}"
            )
        if self.resamples < 0:
            raise UsageError(f"resamples is {self.resamples}, expected at least 0")


@dataclass(frozen=True)
class Draws:
    """The metrics of each resample.

    Attributes:
        units: number of utterances, recordings or speakers to draw from.
        average: metric -> (R,), averages over classes.
        single_label: metric -> (R,); empty if single-label metrics do not apply.
    """

    units: int
    average: dict[str, Floats]
    single_label: dict[str, Floats]


def draw(predictions: Predictions, bootstrap: Bootstrap) -> Draws:
    """Measure all resamples. Equal settings draw equal rows, so runs can be paired.

    Args:
        predictions: at least one utterance.
        bootstrap: at least one resample.

    Raises:
        UsageError: the corpus does not name the unit to draw.
    """
    codes = _codes(predictions, bootstrap.by)
    weighted = VectorizedMetrics(predictions)
    average, single = [], []
    for weights in weights_of(codes, bootstrap):
        average.append(weighted.averages(weights))
        single.append(weighted.single_label(weights))
    return Draws(int(codes.max()) + 1, gather(average), gather(single))


def weights_of(codes: NDArray[np.int64], bootstrap: Bootstrap) -> Iterator[Floats]:
    """How often each resample contains each utterance, in blocks of resamples.

    Args:
        codes: (N,), the unit of each utterance, from 0.
        bootstrap: how to draw.

    Yields:
        (R', N); the R' sum to ``bootstrap.resamples``.
    """
    rng, units = np.random.default_rng(bootstrap.seed), int(codes.max()) + 1
    size = max(1, _CELLS // len(codes))
    for begin in range(0, bootstrap.resamples, size):
        rows = min(size, bootstrap.resamples - begin)
        drawn = rng.integers(units, size=(rows, units)) + units * np.arange(rows)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=rows * units).reshape(rows, units)
        yield counts[:, codes].astype(np.float64)


def interval(values: Floats, level: float) -> list[float] | None:
    """The percentile interval of the defined values.

    Returns:
        ``[low, high]``, or None if no value is defined.
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

    Zero counts on both sides, and one resample is added to each side, so it is never 0.
    """
    there = differences[~np.isnan(differences)]
    if not len(there):
        return None
    rarer = min(int((there <= 0).sum()), int((there >= 0).sum()))
    return min(1.0, 2 * (rarer + 1) / (len(there) + 1))


def described(bootstrap: Bootstrap, units: int) -> dict[str, Any]:
    """The settings as JSON values, with the number of units."""
    return {**asdict(bootstrap), "units": units}


def _codes(predictions: Predictions, by: str) -> NDArray[np.int64]:
    if by == "utterance":
        return np.arange(len(predictions))
    names = predictions.recordings if by == "recording" else predictions.speakers
    if not all(names):
        raise UsageError(
            f"{names.count('')} of {len(names)} utterances have no {by}",
            "resample utterances instead: --bootstrap-by utterance",
        )
    return np.unique(np.array(names, dtype=object), return_inverse=True)[1]
