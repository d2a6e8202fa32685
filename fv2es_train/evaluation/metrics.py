"""Multi-label and single-label metrics, equal to scikit-learn's; docs/metrics.md explains them.

It does not call scikit-learn, which takes a second to import and 8 ms per class to check arrays.

TP, FP, TN and FN are counted per class at its threshold:

=====================  ===========================================================================
accuracy               (TP + TN) / (TP + FP + TN + FN)
balanced_accuracy      (TP / (TP + FN) + TN / (TN + FP)) / 2, which emotion papers call "weighted
                       accuracy" (CMU-MOSEI); never the same as accuracy
precision              TP / (TP + FP), 0 if nothing was predicted
recall                 TP / (TP + FN)
f1_binary              2 TP / (2 TP + FP + FN), of the class itself
f1_weighted            F1 of the positives and of the negatives, weighted by their counts
auc                    area under the ROC curve; needs no threshold
=====================  ===========================================================================

An average is the unweighted mean over classes (macro); the average of f1_binary is scikit-learn's
macro F1 if every class is defined. A class without a positive utterance in the subset has only
accuracy and f1_weighted; a class without a negative has no balanced_accuracy and no auc. An
undefined value is None (null in JSON), and the average leaves it out.

If each utterance has exactly one class, the class with the largest logit is predicted. K is the
confusion matrix (true class by predicted class), N its sum, F1(c) the F1 of class c against the
others:

=====================  ===========================================================================
accuracy               sum of the diagonal of K / N; "weighted accuracy" (WA) in speech emotion
                       papers, because the number of utterances weights each class
balanced_accuracy      mean over the classes that occur of K(c, c) / sum of row c; "unweighted
                       accuracy" (UA), unweighted average recall (UAR)
f1_weighted            mean of F1(c), weighted by the number of utterances of c
f1_macro               unweighted mean of F1(c) over the classes that occur or are
                       predicted
=====================  ===========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fv2es_train.models.decision import Rule

    Floats = NDArray[np.float64]

METRICS = (
    "accuracy",
    "balanced_accuracy",
    "precision",
    "recall",
    "f1_binary",
    "f1_weighted",
    "auc",
)
_NEED_POSITIVES = ("balanced_accuracy", "precision", "recall", "f1_binary", "auc")
_NEED_NEGATIVES = ("balanced_accuracy", "auc")
GRID = tuple(round(0.05 * step, 2) for step in range(1, 20))
NO_EVIDENCE = 0.5
_BINS = 15
Ties = Literal["middle", "lowest"]
# Which of several equally good thresholds to take. The published evaluation takes the lowest. The
# best F1 often holds over a wide range, and new utterances cross its edges first, so the middle
# (the lower of two) is more robust.
TIES: Ties = "middle"


def fit_thresholds(
    label: NDArray[np.uint8], probability: NDArray[np.float64], ties: Ties = TIES
) -> NDArray[np.float64]:
    """Choose the threshold with the best binary F1 for each class; call it on valid only.

    A class is predicted if its probability, (N, C), is above the threshold. ``ties`` is one of
    `TIES`.

    Returns:
        float64 (C,), each one of 0.05, 0.10 ... 0.95; 0.5 for a class without a positive.
    """
    truth = label.astype(np.bool_)
    predicted = probability > np.reshape(GRID, (-1, 1, 1))
    hits = (predicted & truth).sum(axis=1)
    scores = 2 * hits / np.maximum(predicted.sum(axis=1) + truth.sum(axis=0), 1)
    chosen = np.full(label.shape[1], NO_EVIDENCE)
    for column in np.flatnonzero(truth.any(axis=0)):
        best = np.flatnonzero(scores[:, column] == scores[:, column].max())
        chosen[column] = GRID[best[0 if ties == "lowest" else (len(best) - 1) // 2]]
    return chosen


def measure(
    label: NDArray[np.uint8],
    probability: NDArray[np.float64],
    thresholds: NDArray[np.float64],
    names: Sequence[str],
) -> dict[str, Any]:
    """Measure probabilities (N, C) at thresholds (C,) that were fitted on another subset.

    Returns:
        JSON-ready: ``thresholds`` by class, and the keys of `measure_predicted`.
    """
    predicted = (probability > thresholds).astype(np.uint8)
    stored = {name: float(thresholds[c]) for c, name in enumerate(names)}
    return {"thresholds": stored, **measure_predicted(label, predicted, probability, names)}


def measure_predicted(
    label: NDArray[np.uint8],
    predicted: NDArray[np.uint8],
    probability: NDArray[np.float64],
    names: Sequence[str],
) -> dict[str, Any]:
    """Measure binary predictions (N, C), e.g. the concatenated predictions of several runs.

    Returns:
        JSON-ready: ``n``; ``per_class``, the metrics and the number of positives (``support``) by
        class; ``average`` over classes; ``absent_classes``, the classes without a positive, which
        most averages leave out.
    """
    truth, named = label.astype(np.bool_), predicted.astype(np.bool_)
    counts = [each.sum(axis=0, dtype=np.float64) for each in (truth & named, named, truth)]
    total, positives = np.full(len(names), float(len(label))), counts[-1].astype(int).tolist()
    auc = [
        _auc(label[:, c], probability[:, c]) if 0 < support < len(label) else 0.0
        for c, support in enumerate(positives)
    ]
    values = measure_counts(counts[0], counts[1], counts[2], total, np.array(auc))
    per_class: dict[str, dict[str, Any]] = {
        name: {
            **{m: None if np.isnan(v[c]) else float(v[c]) for m, v in values.items()},
            "support": positives[c],
        }
        for c, name in enumerate(names)
    }
    return {
        "n": len(label),
        "per_class": per_class,
        "average": {metric: _mean(per_class, metric) for metric in METRICS},
        "absent_classes": [name for name in names if not per_class[name]["support"]],
    }


def measure_counts(
    hits: Floats, named: Floats, positives: Floats, total: Floats, auc: Floats
) -> dict[str, Floats]:
    """Compute each of `METRICS` from counts of equal shape, in that shape; NaN if undefined.

    Args:
        hits: true positives.
        named: predicted positives.
        positives: utterances that have the class.
        total: utterances.
        auc: area under the ROC curve; any value if it is undefined.
    """
    negatives, wrong = total - positives, positives + named - 2 * hits
    rejected = total - hits - wrong
    recall = quotient(hits, positives)
    f1_yes = quotient(2 * hits, 2 * hits + wrong)
    f1_no = quotient(2 * rejected, 2 * rejected + wrong)
    values = {
        "accuracy": (hits + rejected) / total,
        "balanced_accuracy": (recall + quotient(rejected, negatives)) / 2,
        "precision": quotient(hits, named),
        "recall": recall,
        "f1_binary": f1_yes,
        "f1_weighted": (positives * f1_yes + negatives * f1_no) / total,
        "auc": auc,
    }
    for names, needed in ((_NEED_POSITIVES, positives), (_NEED_NEGATIVES, negatives)):
        values |= {name: np.where(needed > 0, values[name], np.nan) for name in names}
    return values


def quotient(above: Floats, below: Floats) -> Floats:
    """Divide; 0 if the divisor is 0."""
    found: Floats = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return found


def _auc(truth: NDArray[np.uint8], probability: NDArray[np.float64]) -> float:
    """Area under the ROC curve; rounded as in scikit-learn, which drops collinear points."""
    order = np.argsort(-probability)
    ranked = probability[order]
    # Equal probabilities form one step of the curve.
    steps = np.append(np.flatnonzero(np.diff(ranked)), len(ranked) - 1)
    hits = np.cumsum(truth[order], dtype=np.float64)[steps]
    curve = np.stack([steps + 1 - hits, hits])
    if len(steps) > 2:
        corners = np.diff(curve, 2).any(axis=0)
        curve = curve[:, np.concatenate([[True], corners, [True]])]
    x, y = np.insert(curve, 0, 0, axis=1) / curve[:, -1:]
    return float((np.diff(x) * (y[1:] + y[:-1]) / 2).sum())


def _mean(per_class: Mapping[str, Mapping[str, Any]], metric: str) -> float | None:
    values = [row[metric] for row in per_class.values() if row[metric] is not None]
    return float(np.mean(values)) if values else None


LABEL_SETS = (
    "exact_match",
    "within_truth",
    "overlap",
    "jaccard",
    "precision_micro",
    "recall_micro",
    "f1_micro",
)


def label_sets(
    label: NDArray[np.uint8], predicted: NDArray[np.uint8], weights: NDArray[np.float64]
) -> dict[str, NDArray[np.float64]]:
    """Compute each of `LABEL_SETS`, float64 (R,), for labels (N, C) with weights (R, N).

    These metrics compare the classes of an utterance as a set; docs/metrics.md has the formulas.
    """
    truth, named = label.astype(np.bool_), predicted.astype(np.bool_)
    both, either = (truth & named).sum(axis=1), (truth | named).sum(axis=1)
    exact, met = both == either, both > 0
    rows = [exact, exact | (met & (both == named.sum(axis=1))), exact | met]
    rows.append(np.divide(both, either, out=np.ones(len(both)), where=either > 0))
    shares = weights @ np.array(rows, np.float64).T / weights.sum(axis=1, keepdims=True)
    hits, chosen, positives = (weights @ c for c in (both, named.sum(axis=1), truth.sum(axis=1)))
    micro = [
        np.divide(above, below, out=np.zeros(len(below)), where=below > 0)
        for above, below in ((hits, chosen), (hits, positives), (2 * hits, chosen + positives))
    ]
    return dict(zip(LABEL_SETS, [*shares.T, *micro], strict=True))


SINGLE_METRICS = ("accuracy", "balanced_accuracy", "f1_weighted", "f1_macro")


def calibration_error(
    label: NDArray[np.uint8], probability: NDArray[np.float64], rule: Rule
) -> float:
    """Compute the expected calibration error in 15 bins of equal width (Naeini et al. 2015).

    With the rule ``largest`` it is that of the most probable class, otherwise the mean over the
    classes. Arrays are (N, C).
    """
    if rule == "largest":
        rows, top = np.arange(len(label)), probability.argmax(axis=1)
        label, probability = label[rows, top][:, None], probability[rows, top][:, None]
    bins = np.minimum((probability * _BINS).astype(int), _BINS - 1)
    gaps = [
        [np.abs((truth - value)[places == b].sum()) for b in range(_BINS)]
        for truth, value, places in zip(label.T.astype(float), probability.T, bins.T, strict=True)
    ]
    return float(np.sum(gaps) / label.size)


def why_not_single(label: NDArray[np.uint8]) -> str:
    """Why single-label metrics do not apply to labels (N, C); an empty string if they do."""
    if label.shape[1] < 2:
        return "there is only one class"
    others = int((label.sum(axis=1) != 1).sum())
    if others:
        return f"{others} of {len(label)} utterances have no class or more than one"
    return ""


def measure_single(
    label: NDArray[np.uint8], logits: NDArray[np.float32], names: Sequence[str]
) -> dict[str, Any]:
    """Measure the class with the largest logit (N, C); the first class wins a tie.

    Returns:
        JSON-ready: each of `SINGLE_METRICS`, and ``confusion``: ``classes`` and ``counts``, for
        each true class, the number of utterances predicted as each class.
    """
    classes = len(names)
    pairs = label.argmax(axis=1) * classes + logits.argmax(axis=1)
    counts = np.bincount(pairs, minlength=classes**2).reshape(classes, classes)
    right, true, chosen = counts.diagonal(), counts.sum(axis=1), counts.sum(axis=0)
    occurs, used = true > 0, true + chosen > 0
    f1 = 2 * right[used] / (true + chosen)[used]
    return {
        "accuracy": float(right.sum() / len(label)),
        "balanced_accuracy": float((right[occurs] / true[occurs]).mean()),
        "f1_weighted": float(np.average(f1, weights=true[used])),
        "f1_macro": float(f1.mean()),
        "confusion": {"classes": list(names), "counts": counts.tolist()},
    }
