"""Metrics for many weightings of the same utterances at once, by matrix products.

The weights of a resample state how often each utterance was drawn; those of a group are 0 or 1.
With unit weights the values equal those of `metrics`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_train.evaluation.metrics import measure_counts, quotient, why_not_single

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from fv2es_train.evaluation.predictions import Predictions

    Floats = NDArray[np.float64]


class VectorizedMetrics:
    """Predictions of N utterances, prepared for weights (R, N) with a positive one in each row."""

    def __init__(self, predictions: Predictions) -> None:
        truth, predicted = (
            v.astype(np.float64) for v in (predictions.truth, predictions.predicted)
        )
        self.classes = truth.shape[1]
        self._cells = np.concatenate([truth * predicted, predicted, truth], axis=1)
        self._truth = truth
        self._order = np.argsort(predictions.probability, axis=0, kind="stable")
        ranked = np.take_along_axis(predictions.probability, self._order, axis=0)
        # Start of each distinct value: equal probabilities form one step of the ROC curve.
        self._steps = [np.flatnonzero(np.diff(column, prepend=-1.0)) for column in ranked.T]
        self.single = not why_not_single(predictions.truth)
        true, chosen = predictions.truth.argmax(axis=1), predictions.logits.argmax(axis=1)
        self._confused = np.eye(self.classes**2)[true * self.classes + chosen]

    def averages(self, weights: Floats) -> dict[str, Floats]:
        """Metric -> (R,), averages over classes, see `metrics`; NaN if no class has a value."""
        total = weights.sum(axis=1, keepdims=True)
        hits, named, positives = np.split(weights @ self._cells, 3, axis=1)
        auc = self._auc(weights, positives, total - positives)
        values = measure_counts(hits, named, positives, total, auc)
        return {name: _mean(value) for name, value in values.items()}

    def single_label(self, weights: Floats) -> dict[str, Floats]:
        """Metric -> (R,), the single-label metrics; empty unless every utterance has one class."""
        if not self.single:
            return {}
        return of_confusion((weights @ self._confused).reshape(-1, self.classes, self.classes))

    def _auc(self, weights: Floats, positives: Floats, negatives: Floats) -> Floats:
        """Share of (positive, negative) pairs in the right order; ties count half."""
        values = np.empty((len(weights), self.classes))
        for c, steps in enumerate(self._steps):
            rows = self._order[:, c]
            ranked, yes = weights[:, rows], self._truth[rows, c]
            at_yes = np.add.reduceat(ranked * yes, steps, axis=1)
            at_no = np.add.reduceat(ranked, steps, axis=1) - at_yes
            below = np.cumsum(at_no, axis=1) - at_no / 2
            values[:, c] = (at_yes * below).sum(axis=1)
        return quotient(values, positives * negatives)


def of_confusion(confusion: Floats) -> dict[str, Floats]:
    """Metric -> (R,), single-label metrics of matrices (R, C, C): true by predicted class."""
    true, chosen = confusion.sum(axis=2), confusion.sum(axis=1)
    right, total = np.diagonal(confusion, axis1=1, axis2=2), true.sum(axis=1)
    f1 = quotient(2 * right, true + chosen)
    return {
        "accuracy": quotient(right.sum(axis=1), total),
        "balanced_accuracy": _mean(np.where(true > 0, quotient(right, true), np.nan)),
        "f1_weighted": quotient((true * f1).sum(axis=1), total),
        "f1_macro": _mean(np.where(true + chosen > 0, f1, np.nan)),
    }


def gather(parts: Iterable[dict[str, Floats]]) -> dict[str, Floats]:
    """Concatenate metrics that were computed for blocks of weights."""
    found = list(parts)
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def plain(values: dict[str, Floats], row: int) -> dict[str, Any]:
    """Convert one row to JSON values; NaN becomes None."""
    return {n: None if np.isnan(v[row]) else float(v[row]) for n, v in values.items()}


def _mean(values: Floats) -> Floats:
    """Mean over the defined classes: (R, C) to (R,)."""
    there = ~np.isnan(values)
    counts = there.sum(axis=1)
    sums = np.where(there, values, 0).sum(axis=1)
    mean: Floats = np.divide(sums, counts, out=np.full(len(values), np.nan), where=counts > 0)
    return mean
