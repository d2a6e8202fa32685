"""Metrics of predicted ratings, such as valence or sentiment.

With y the true and p the predicted values of N utterances:

=========  =========================================================================================
mae        mean of abs(p - y)
pearson    covariance / product of the standard deviations; None if one of them is 0
ccc        2 covariance / (variance of y + variance of p + (mean of y - mean of p) ** 2), Lin 1989,
           doi:10.2307/2532051; None if it is 0 / 0
=========  =========================================================================================

For a sentiment from -3 to 3, as in CMU-MOSEI, papers report two-class metrics by two conventions:
``negative`` against the rest (Acc-2 "with zero", Zadeh et al. 2018), and ``negative`` against
``positive`` without utterances of exactly 0 (Tsai et al. 2019). They also report Acc-7: the share
of equal values after clipping to -3 to 3 and rounding half to even.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_train.evaluation.measurement import Bootstrap, intervals, weights_of
from fv2es_train.evaluation.vectorized_metrics import gather, plain

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

RATING_METRICS = ("ccc", "pearson", "mae")
SENTIMENT_METRICS = ("acc2_nonnegative", "f1_nonnegative", "acc2_nonzero", "f1_nonzero", "acc7")
# The rating for which the sentiment metrics are computed.
SENTIMENT = "sentiment"


def measure_ratings(
    truth: Mapping[str, NDArray[np.float32]],
    predicted: Mapping[str, NDArray[np.float32]],
    bootstrap: Bootstrap,
) -> dict[str, Any]:
    """Measure each predicted rating on the utterances with a true value.

    Args:
        truth: name -> float32 (N,), NaN where unknown.
        predicted: name -> float32 (N,).
        bootstrap: how to resample; its unit is ignored, utterances are drawn.

    Returns:
        JSON-ready: name -> ``n``, each of `RATING_METRICS`, their ``interval`` and for a sentiment
        each of `SENTIMENT_METRICS`.
    """
    found = {}
    for name, guess in predicted.items():
        known = np.isfinite(truth[name])
        true, pred = (values[known].astype(np.float64) for values in (truth[name], guess))
        if not len(true):
            found[name] = {"n": 0, **dict.fromkeys(RATING_METRICS), "interval": None}
            continue
        drawn = [_moments(true, pred, w) for w in weights_of(np.arange(len(true)), bootstrap)]
        found[name] = {
            "n": len(true),
            **plain(_moments(true, pred, np.ones((1, len(true)))), 0),
            "interval": intervals(gather(drawn), bootstrap.level) if drawn else None,
            **(_sentiment(true, pred) if name == SENTIMENT else {}),
        }
    return found


def mean_ccc(
    truth: Mapping[str, NDArray[np.float32]], predicted: Mapping[str, NDArray[np.float32]]
) -> float | None:
    """Compute the mean of ``ccc`` over the predicted ratings; None if all are undefined."""
    found = measure_ratings(truth, predicted, Bootstrap(resamples=0)).values()
    there = [values["ccc"] for values in found if values["ccc"] is not None]
    return float(np.mean(there)) if there else None


def _moments(truth: Floats, predicted: Floats, weights: Floats) -> dict[str, Floats]:
    """Each of `RATING_METRICS`, (R,), with weights (R, N); NaN where undefined."""
    # Centre the values first, so that differences of large sums lose no digits.
    centre = truth.mean()
    y, p = truth - centre, predicted - centre
    rows = np.stack([y, p, y * y, p * p, y * p, np.abs(p - y)], axis=1)
    mean_y, mean_p, yy, pp, yp, mae = (weights @ rows / weights.sum(axis=1, keepdims=True)).T
    covariance = yp - mean_y * mean_p
    var_y, var_p = (np.maximum(square, 0) for square in (yy - mean_y**2, pp - mean_p**2))
    with np.errstate(invalid="ignore", divide="ignore"):
        pearson = covariance / np.sqrt(var_y * var_p)
        concordance = 2 * covariance / (var_y + var_p + (mean_y - mean_p) ** 2)
    pearson[~np.isfinite(pearson)] = np.nan
    return {"ccc": concordance, "pearson": pearson, "mae": mae}


def _sentiment(truth: Floats, predicted: Floats) -> dict[str, float | None]:
    seven = tuple(np.rint(np.clip(values, -3, 3)) for values in (truth, predicted))
    signed = truth != 0
    rest = _two(truth >= 0, predicted >= 0)
    positive = _two(truth[signed] > 0, predicted[signed] > 0) if signed.any() else (None, None)
    equal = float((seven[0] == seven[1]).mean())
    return dict(zip(SENTIMENT_METRICS, (*rest, *positive, equal), strict=True))


def _two(truth: NDArray[np.bool_], predicted: NDArray[np.bool_]) -> tuple[float, float]:
    """Accuracy, and F1 of both classes, weighted by their counts."""
    scores = []
    for t, p in ((truth, predicted), (~truth, ~predicted)):
        scores.append(2 * (t & p).sum() / max(t.sum() + p.sum(), 1) * t.mean())
    return float((truth == predicted).mean()), float(sum(scores))
