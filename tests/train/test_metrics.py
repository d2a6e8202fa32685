"""Metrics against scikit-learn and values worked out by hand, with ties and an absent class."""

from __future__ import annotations

import json

import numpy as np
import pytest
from sklearn import metrics as sk

from fv2es_train.evaluation.metrics import GRID, METRICS, fit_thresholds, label_sets, measure
from fv2es_train.evaluation.tables import format_metrics

NAMES = ("ang", "sad", "hap")


def random_data(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Multi-label truth and probabilities with ties, which lean towards the truth."""
    rng = np.random.default_rng(seed)
    label = (rng.random((60, 3)) < 0.3).astype(np.uint8)
    probability = np.clip(np.round(rng.random((60, 3)) * 0.7 + 0.3 * label, 1), 0, 1)
    return label, probability


def test_values_worked_out_by_hand() -> None:
    # Above 0.5 are the first two: TP 1, FP 1, FN 1, TN 2.
    label = np.array([[1], [0], [1], [0], [0]], dtype=np.uint8)
    probability = np.array([[0.9], [0.8], [0.4], [0.3], [0.5]])
    found = measure(label, probability, np.array([0.5]), ["ang"])["per_class"]["ang"]
    assert found == {
        "accuracy": pytest.approx(3 / 5),
        "balanced_accuracy": pytest.approx((1 / 2 + 2 / 3) / 2),
        "precision": pytest.approx(1 / 2),
        "recall": pytest.approx(1 / 2),
        "f1_binary": pytest.approx(1 / 2),
        "f1_weighted": pytest.approx((2 * 1 / 2 + 3 * 2 / 3) / 5),
        "auc": pytest.approx(4 / 6),
        "support": 2,
    }


@pytest.mark.parametrize("seed", range(3))
def test_values_equal_scikit_learns(seed: int) -> None:
    label, probability = random_data(seed)
    thresholds = np.array([0.5, 0.3, 0.8])
    predicted = probability > thresholds
    found = measure(label, probability, thresholds, NAMES)
    expected = {
        "accuracy": lambda t, p, _: sk.accuracy_score(t, p),
        "balanced_accuracy": lambda t, p, _: sk.balanced_accuracy_score(t, p),
        "precision": lambda t, p, _: sk.precision_score(t, p),
        "recall": lambda t, p, _: sk.recall_score(t, p),
        "f1_binary": lambda t, p, _: sk.f1_score(t, p),
        "f1_weighted": lambda t, p, _: sk.f1_score(t, p, average="weighted"),
        "auc": lambda t, _, s: sk.roc_auc_score(t, s),
    }
    for metric, of in expected.items():
        values = [of(label[:, c], predicted[:, c], probability[:, c]) for c in range(3)]
        for name, value in zip(NAMES, values, strict=True):
            assert found["per_class"][name][metric] == value
        assert found["average"][metric] == pytest.approx(np.mean(values), abs=1e-12)


def test_thresholds_are_the_middle_of_the_best_on_the_grid() -> None:
    label = np.array([[0], [0], [1], [1]], dtype=np.uint8)
    probability = np.array([[0.10], [0.22], [0.61], [0.90]])
    # 0.25 to 0.60 divide them equally well, eight steps of the grid.
    assert fit_thresholds(label, probability).tolist() == [0.4]
    assert fit_thresholds(label, probability, "lowest").tolist() == [0.25]


@pytest.mark.parametrize("seed", range(3))
def test_no_threshold_of_the_grid_is_better(seed: int) -> None:
    label, probability = random_data(seed)
    chosen = fit_thresholds(label, probability)
    for c in range(3):
        best = max(sk.f1_score(label[:, c], probability[:, c] > t) for t in GRID)
        assert sk.f1_score(label[:, c], probability[:, c] > chosen[c]) == best


def test_the_grid_is_the_published_one() -> None:
    assert np.allclose(GRID, np.arange(0.05, 1, 0.05)[:19]) and len(GRID) == 19


def test_an_absent_class_is_null_and_out_of_the_average() -> None:
    label, probability = random_data()
    label[:, 1] = 0
    thresholds = fit_thresholds(label, probability)
    assert thresholds[1] == 0.5
    found = json.loads(json.dumps(measure(label, probability, thresholds, NAMES), allow_nan=False))
    sad = found["per_class"]["sad"]
    assert [name for name in METRICS if sad[name] is None] == [
        "balanced_accuracy",
        "precision",
        "recall",
        "f1_binary",
        "auc",
    ]
    assert found["absent_classes"] == ["sad"]
    others = [found["per_class"][name]["f1_binary"] for name in ("ang", "hap")]
    assert found["average"]["f1_binary"] == pytest.approx(np.mean(others))
    assert "no utterance has sad" in format_metrics(found)


def test_label_sets_worked_out_by_hand_and_equal_to_scikit_learns() -> None:
    # Equal; within; a common class and a wrong one; nothing in common; both empty; none predicted.
    truth = [(1, 0, 0), (1, 1, 0), (1, 0, 0), (1, 0, 0), (0, 0, 0), (0, 1, 0)]
    named = [(1, 0, 0), (1, 0, 0), (1, 0, 1), (0, 1, 0), (0, 0, 0), (0, 0, 0)]
    label, predicted = np.array(truth, np.uint8), np.array(named, np.uint8)
    found = label_sets(label, predicted, np.ones((1, 6)))
    assert {name: value.item() for name, value in found.items()} == pytest.approx(
        {
            "exact_match": 2 / 6,
            "within_truth": 3 / 6,
            "overlap": 4 / 6,
            "jaccard": (1 + 1 / 2 + 1 / 2 + 0 + 1 + 0) / 6,
            "precision_micro": 3 / 5,
            "recall_micro": 3 / 6,
            "f1_micro": 6 / 11,
        }
    )
    label, probability = random_data()
    predicted = (probability > 0.4).astype(np.uint8)
    weights = np.random.default_rng(1).integers(1, 4, (2, 60)).astype(float)
    found = label_sets(label, predicted, weights)
    for row, weight in enumerate(weights):
        averages = {"sample_weight": weight, "average": "micro"}
        expected = {
            "exact_match": sk.accuracy_score(label, predicted, sample_weight=weight),
            "jaccard": sk.jaccard_score(
                *(label, predicted), sample_weight=weight, average="samples", zero_division=1
            ),
            "precision_micro": sk.precision_score(label, predicted, **averages),
            "recall_micro": sk.recall_score(label, predicted, **averages),
            "f1_micro": sk.f1_score(label, predicted, **averages),
        }
        assert {name: found[name][row] for name in expected} == pytest.approx(expected, abs=1e-12)


def test_a_class_that_always_holds_has_no_balanced_accuracy_and_no_auc() -> None:
    label, probability = random_data()
    label[:, 0] = 1
    ang = measure(label, probability, np.full(3, 0.5), NAMES)["per_class"]["ang"]
    assert [name for name in METRICS if ang[name] is None] == ["balanced_accuracy", "auc"]


def test_a_class_never_predicted_has_precision_and_f1_zero() -> None:
    label, probability = random_data()
    ang = measure(label, probability * 0, np.full(3, 0.5), NAMES)["per_class"]["ang"]
    assert (ang["precision"], ang["recall"], ang["f1_binary"]) == (0, 0, 0)


def test_the_table_has_full_names_and_a_line_for_each_class() -> None:
    label, probability = random_data()
    measured = measure(label, probability, np.full(3, 0.5), NAMES)
    table = format_metrics(measured, wide=True).splitlines()
    assert table[0].split() == ["class", "support", "threshold", *METRICS]
    assert [line.split()[0] for line in table[2:5]] == list(NAMES)
    assert table[-1].split()[0] == "average"
    assert len({len(line) for line in table}) == 1
