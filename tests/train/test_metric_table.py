"""Every metric of docs/metrics.md on a few utterances: worked out by hand, and by libraries.

`test_contract` compares with scikit-learn on random data.
"""

from __future__ import annotations

import re
from math import log, sqrt
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.spatial.distance import jensenshannon
from scipy.stats import entropy, pearsonr
from sklearn import metrics as sk
from torch.nn.functional import cross_entropy

from fv2es_train.evaluation.agreement import SHARE_METRICS, agreement, measure_shares
from fv2es_train.evaluation.measurement import Bootstrap
from fv2es_train.evaluation.metrics import (
    LABEL_SETS,
    METRICS,
    SINGLE_METRICS,
    calibration_error,
    label_sets,
    measure_predicted,
    measure_single,
)
from fv2es_train.evaluation.rating_metrics import (
    RATING_METRICS,
    SENTIMENT_METRICS,
    measure_ratings,
)

DOCS = Path(__file__).parents[2] / "docs"
OFF = Bootstrap(resamples=0)
NAMES = ("ang", "hap", "sad")
# Class ang has 3 hits, 1 alarm, 0 misses, 2 rejected; hap 1, 1, 2, 2; sad 1, 0, 1, 4.
TRUTH = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 1], [0, 1, 0], [1, 0, 1]], np.uint8)
CHANCE = np.array(
    [
        *([0.9, 0.1, 0.1], [0.6, 0.8, 0.2], [0.7, 0.4, 0.1]),
        *([0.2, 0.6, 0.3], [0.1, 0.2, 0.2], [0.6, 0.3, 0.9]),
    ]
)
NAMED = (CHANCE > 0.5).astype(np.uint8)
# One class each: chosen by true class is [2 0 0], [0 1 1], [0 1 0].
ONE, CHOSEN = np.array([0, 1, 2, 0, 1]), np.array([0, 1, 1, 0, 2])
# Means 2.5 and 3, variances 1.25 and 3.5, covariance 1.75.
Y, P = np.array([1, 2, 3, 4], np.float32), np.array([1, 3, 2, 6], np.float32)
FELT = np.array([-3, -0.4, 0, 0.5, 1, 2.6], np.float32)
GUESS = np.array([-4, 0.1, 0.2, -0.1, 1.4, 1.2], np.float32)
SIGNED = FELT != 0
# Two of three said ang; all said hap; all said ang. One of the others is drawn where they differ.
VOTES = {"votes_ang": np.array([2, 0, 3.0]), "votes_hap": np.array([1, 3, 0.0])}
Q, R = np.array([[2 / 3, 1 / 3], [1, 0]]), np.array([[1 / 2, 1 / 2], [3 / 4, 1 / 4]])


def h(*chances: float) -> float:
    """Entropy in nats."""
    return -sum(p * log(p) for p in chances if p)


def macro(score: object, *by: object, **more: object) -> float:
    return float(np.mean([score(t, p, *by, **more) for t, p in zip(TRUTH.T, NAMED.T, strict=True)]))  # type: ignore[operator]


def ours() -> dict[str, float]:
    """Every metric by its name, from our code."""
    average = measure_predicted(TRUTH, NAMED, CHANCE, NAMES)["average"]
    sets = label_sets(TRUTH, NAMED, np.ones((1, len(TRUTH))))
    single = measure_single(np.eye(3, dtype=np.uint8)[ONE], np.eye(3)[CHOSEN], NAMES)
    rated = measure_ratings({"valence": Y}, {"valence": P}, OFF)["valence"]
    felt = measure_ratings({"sentiment": FELT}, {"sentiment": GUESS}, OFF)["sentiment"]
    raters = agreement({k: v.astype(np.float32) for k, v in VOTES.items()}, ("ang", "hap"))
    shares = measure_shares(Q, R, True, OFF)
    two = np.array([[1, 0], [0, 1]], np.uint8), np.array([[0.9, 0.1], [0.6, 0.4]])
    assert raters and shares
    return {
        **{name: average[name] for name in METRICS},
        **{name: float(sets[name][0]) for name in LABEL_SETS},
        **{f"single_label.{name}": single[name] for name in SINGLE_METRICS},
        **{name: rated[name] for name in RATING_METRICS},
        **{name: felt[name] for name in SENTIMENT_METRICS},
        **{name: raters[name] for name in ("alpha", "kappa")},
        **{f"ceiling.{name}": raters["ceiling"][name] for name in SINGLE_METRICS},
        **{name: shares[name] for name in SHARE_METRICS},
        "calibration_error": calibration_error(*two, "largest"),
    }


# Metric -> value by hand, and that of a library where one has it.
TABLE: dict[str, tuple[float, float | None]] = {
    "accuracy": ((5 + 3 + 5) / 18, macro(sk.accuracy_score)),
    "balanced_accuracy": (
        ((1 + 2 / 3) / 2 + (1 / 3 + 2 / 3) / 2 + (1 / 2 + 1) / 2) / 3,
        macro(sk.balanced_accuracy_score),
    ),
    "precision": ((3 / 4 + 1 / 2 + 1) / 3, macro(sk.precision_score)),
    "recall": ((1 + 1 / 3 + 1 / 2) / 3, macro(sk.recall_score)),
    "f1_binary": ((6 / 7 + 2 / 5 + 2 / 3) / 3, sk.f1_score(TRUTH, NAMED, average="macro")),
    "f1_weighted": (
        ((3 * 6 / 7 + 3 * 4 / 5) / 6 + (3 * 2 / 5 + 3 * 4 / 7) / 6 + (2 * 2 / 3 + 4 * 8 / 9) / 6)
        / 3,
        macro(sk.f1_score, average="weighted"),
    ),
    "auc": ((8.5 / 9 + 6 / 9 + 8 / 8) / 3, sk.roc_auc_score(TRUTH, CHANCE, average="macro")),
    "exact_match": (2 / 6, sk.accuracy_score(TRUTH, NAMED)),
    "within_truth": (3 / 6, None),
    "overlap": (4 / 6, None),
    "jaccard": (
        (1 + 1 / 2 + 1 / 2 + 0 + 0 + 1) / 6,
        sk.jaccard_score(TRUTH, NAMED, average="samples"),
    ),
    "precision_micro": (5 / 7, sk.precision_score(TRUTH, NAMED, average="micro")),
    "recall_micro": (5 / 8, sk.recall_score(TRUTH, NAMED, average="micro")),
    "f1_micro": (10 / 15, sk.f1_score(TRUTH, NAMED, average="micro")),
    "single_label.accuracy": (3 / 5, sk.accuracy_score(ONE, CHOSEN)),
    "single_label.balanced_accuracy": (
        (1 + 1 / 2 + 0) / 3,
        sk.balanced_accuracy_score(ONE, CHOSEN),
    ),
    "single_label.f1_weighted": (
        (2 * 1 + 2 * 1 / 2 + 0) / 5,
        sk.f1_score(ONE, CHOSEN, average="weighted"),
    ),
    "single_label.f1_macro": ((1 + 1 / 2 + 0) / 3, sk.f1_score(ONE, CHOSEN, average="macro")),
    "ccc": (2 * 1.75 / (1.25 + 3.5 + 0.5**2), None),
    "pearson": (1.75 / sqrt(1.25 * 3.5), pearsonr(Y, P).statistic),
    "mae": ((0 + 1 + 1 + 2) / 4, sk.mean_absolute_error(Y, P)),
    "acc2_nonnegative": (4 / 6, sk.accuracy_score(FELT >= 0, GUESS >= 0)),
    "f1_nonnegative": (
        4 / 6 * 6 / 8 + 2 / 6 * 2 / 4,
        sk.f1_score(FELT >= 0, GUESS >= 0, average="weighted"),
    ),
    "acc2_nonzero": (3 / 5, sk.accuracy_score(FELT[SIGNED] > 0, GUESS[SIGNED] > 0)),
    "f1_nonzero": (
        3 / 5 * 4 / 6 + 2 / 5 * 2 / 4,
        sk.f1_score(FELT[SIGNED] > 0, GUESS[SIGNED] > 0, average="weighted"),
    ),
    # Rounded: -3 0 0 0 1 3 and -3 0 0 0 1 1.
    "acc7": (5 / 6, None),
    # Observed 2 / 9, expected (81 - 25 - 16) / 72.
    "alpha": (1 - (2 / 9) / (40 / 72), None),
    "kappa": (((1 / 3 + 1 + 1) / 3 - 41 / 81) / (1 - 41 / 81), None),
    # Others ang: 4 times ang, once hap; others hap: once ang, 3 times hap.
    "ceiling.accuracy": (7 / 9, None),
    "ceiling.balanced_accuracy": ((4 / 5 + 3 / 4) / 2, None),
    "ceiling.f1_weighted": ((5 * 8 / 10 + 4 * 6 / 8) / 9, None),
    "ceiling.f1_macro": ((8 / 10 + 6 / 8) / 2, None),
    "cross_entropy": (
        (log(2) + log(4 / 3)) / 2,
        cross_entropy(torch.tensor(R).log(), torch.tensor(Q)).item(),
    ),
    "kl": (
        (log(2) + log(4 / 3) - h(2 / 3, 1 / 3)) / 2,
        float(np.mean([entropy(q, r) for q, r in zip(Q, R, strict=True)])),
    ),
    "jensen_shannon": (
        (
            sqrt((h(7 / 12, 5 / 12) - (h(2 / 3, 1 / 3) + log(2)) / 2) / log(2))
            + sqrt((h(7 / 8, 1 / 8) - h(3 / 4, 1 / 4) / 2) / log(2))
        )
        / 2,
        float(np.mean([jensenshannon(q, r, base=2) for q, r in zip(Q, R, strict=True)])),
    ),
    "calibration_error": ((0.1 + 0.6) / 2, None),
}


@pytest.fixture(scope="module")
def found() -> dict[str, float]:
    return ours()


@pytest.mark.parametrize("name", TABLE)
def test_a_metric_is_what_a_hand_and_a_library_compute(name: str, found: dict[str, float]) -> None:
    by_hand, by_library = TABLE[name]
    assert found[name] == pytest.approx(by_hand, abs=1e-6)
    if by_library is not None:
        assert found[name] == pytest.approx(by_library, abs=1e-6)


def test_the_table_has_every_metric_and_so_has_the_page(found: dict[str, float]) -> None:
    assert found.keys() == TABLE.keys()
    page = set(re.findall(r"`([a-z0-9_]+)`", (DOCS / "metrics.md").read_text(encoding="utf-8")))
    assert {name.split(".")[0] for name in TABLE} | {*SINGLE_METRICS} <= page
