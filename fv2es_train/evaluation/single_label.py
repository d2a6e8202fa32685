"""Single-label metrics: each utterance has one class, and the largest logit is chosen.

Owns when these metrics apply, the metrics and the confusion matrix; scikit-learn computes them.
Leaves multi-label metrics to `metrics`.

With K the confusion matrix (true class by chosen class), N its sum and F1(c) the F1 of class c
against all others:

=====================  ===========================================================================
accuracy               sum of the diagonal of K / N; "weighted accuracy" (WA) in speech emotion
                       papers, where it is weighted by the number of utterances
balanced_accuracy      mean over the classes that occur of K(c, c) / sum of row c; "unweighted
                       accuracy" (UA), unweighted average recall (UAR)
f1_weighted            mean of F1(c), weighted by the number of utterances of c
f1_macro               plain mean of F1(c) over the classes that occur or are chosen
=====================  ===========================================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

SINGLE_METRICS = ("accuracy", "balanced_accuracy", "f1_weighted", "f1_macro")


def why_not_single(label: NDArray[np.uint8]) -> str:
    """Why single-label metrics do not apply; an empty string if they do.

    Args:
        label: (N, C), 1 where the class holds.
    """
    if label.shape[1] < 2:
        return "there is only one class to choose from"
    others = int((label.sum(axis=1) != 1).sum())
    if others:
        return f"{others} of {len(label)} utterances have no class or more than one"
    return ""


def measure_single(
    label: NDArray[np.uint8], logits: NDArray[np.float32], names: Sequence[str]
) -> dict[str, Any]:
    """Measure the class with the largest logit; the first class wins a tie.

    Args:
        label: (N, C), exactly one 1 in each row.
        logits: (N, C).
        names: the C classes.

    Returns:
        JSON-ready: each of `SINGLE_METRICS`, and ``confusion``: ``classes`` and ``counts``, a
        list per true class of how many utterances were assigned to each class.
    """
    from sklearn import metrics as sk

    truth, chosen = label.argmax(axis=1), logits.argmax(axis=1)
    present = np.unique(truth)
    counts = sk.confusion_matrix(truth, chosen, labels=range(len(names)))
    return {
        "accuracy": float(sk.accuracy_score(truth, chosen)),
        # As balanced_accuracy_score, which warns where an absent class is chosen.
        "balanced_accuracy": float(
            sk.recall_score(truth, chosen, labels=present, average="macro", zero_division=0.0)
        ),
        "f1_weighted": float(sk.f1_score(truth, chosen, average="weighted", zero_division=0.0)),
        "f1_macro": float(sk.f1_score(truth, chosen, average="macro", zero_division=0.0)),
        "confusion": {"classes": list(names), "counts": counts.tolist()},
    }
