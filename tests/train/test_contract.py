"""The numbers of a measurement against scikit-learn and against definitions written out by hand.

The data are random, full of ties, with absent classes; all through the road that `eval` takes.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as sk

from fv2es_train.evaluation.breakdown import by_group, decided
from fv2es_train.evaluation.measurement import (
    Bootstrap,
    draw,
    interval,
    measurement,
    p_value,
    weights_of,
)
from fv2es_train.evaluation.metrics import (
    GRID,
    METRICS,
    SINGLE_METRICS,
    calibration_error,
    fit_thresholds,
)
from fv2es_train.evaluation.predictions import Predictions
from fv2es_train.evaluation.tables import format_metrics
from fv2es_train.evaluation.vectorized_metrics import VectorizedMetrics, plain
from fv2es_train.models.decision import Decision

NO_INTERVALS = Bootstrap(resamples=0)


def rule_of(thresholds: Any) -> Decision:
    """Thresholds as a decision."""
    return Decision(thresholds={f"class{c}": float(t) for c, t in enumerate(thresholds)})


def made(
    rng: np.random.Generator, count: int, classes: int, absent: int = 0, single: bool = False
) -> Predictions:
    """Predictions of random truth with many equal logits; the last ``absent`` never hold."""
    present = classes - absent
    truth = np.zeros((count, classes), np.uint8)
    if single:
        truth[np.arange(count), rng.integers(present, size=count)] = 1
    else:
        truth[:, :present] = rng.random((count, present)) < rng.uniform(0.1, 0.9, present)
    logits = (np.round(2 * rng.normal(size=truth.shape) + truth) / 2).astype(np.float32)
    names = tuple(f"utt{n}" for n in range(count))
    speakers = tuple(f"spk{n % 4}" for n in range(count))
    nothing = np.zeros(truth.shape)
    classes_ = tuple(f"class{c}" for c in range(classes))
    empty = Predictions(
        classes_, names, speakers, speakers, speakers, truth, nothing.astype("u1"), nothing, logits
    )
    probability = decided(empty, logits, rule_of(np.full(classes, 0.5)), "tav").probability
    # Thresholds of the grid; some are values that probabilities have.
    thresholds = rng.choice([*GRID, *probability[:, 0]], classes)
    return decided(empty, logits, rule_of(thresholds), "tav")


cases = st.builds(
    made,
    st.integers(0, 2**32 - 1).map(np.random.default_rng),
    st.integers(2, 60),
    st.integers(2, 6),
    st.integers(0, 1),
    st.booleans(),
)


def reference(truth: np.ndarray, predicted: np.ndarray, score: np.ndarray) -> dict[str, Any]:
    """The definitions of the published evaluation, each count by hand."""
    pairs = list(zip(truth.tolist(), predicted.tolist(), strict=True))
    tp, fp, fn, tn = (pairs.count(pair) for pair in ((1, 1), (0, 1), (1, 0), (0, 0)))
    positives, negatives, n = tp + fn, tn + fp, len(pairs)
    f1 = 2 * tp / (2 * tp + fp + fn) if positives else None
    f1_no = 2 * tn / (2 * tn + fp + fn) if 2 * tn + fp + fn else 0.0
    yes, no = score[truth == 1], score[truth == 0]
    order = [1.0 if y > x else 0.5 if y == x else 0.0 for y in yes for x in no]
    return {
        "accuracy": (tp + tn) / n,
        # weighted_acc of the published CMU-MOSEI evaluation.
        "balanced_accuracy": (tp * (negatives / positives) + tn) / (2 * negatives)
        if positives and negatives
        else None,
        "precision": (tp / (tp + fp) if tp + fp else 0.0) if positives else None,
        "recall": tp / positives if positives else None,
        "f1_binary": f1,
        "f1_weighted": (positives * (f1 or 0.0) + negatives * f1_no) / n,
        "auc": sum(order) / len(order) if order else None,
    }


@settings(max_examples=40, deadline=None)
@given(cases)
def test_each_number_is_the_reference_definitions(found: Predictions) -> None:
    measured = json.loads(json.dumps(measurement(found, NO_INTERVALS), allow_nan=False))
    expected = [
        reference(found.truth[:, c], found.predicted[:, c], found.probability[:, c])
        for c in range(len(found.classes))
    ]
    for name, values in zip(found.classes, expected, strict=True):
        for metric in METRICS:
            assert measured["per_class"][name][metric] == pytest.approx(values[metric], abs=1e-6)
    for metric in METRICS:
        known = [values[metric] for values in expected if values[metric] is not None]
        mean = np.mean(known) if known else None
        assert measured["average"][metric] == pytest.approx(mean, abs=1e-6)


@settings(max_examples=30, deadline=None)
@given(cases)
def test_averages_are_scikit_learns_where_every_class_occurs(found: Predictions) -> None:
    holds = found.truth.any(axis=0) & ~found.truth.all(axis=0)
    average = measurement(found, NO_INTERVALS)["average"]
    if not holds.all():
        return
    how: dict[str, Any] = {"average": "macro", "zero_division": 0.0}
    truth, predicted = found.truth, found.predicted
    assert average["accuracy"] == pytest.approx(1 - sk.hamming_loss(truth, predicted), abs=1e-6)
    assert average["f1_binary"] == pytest.approx(sk.f1_score(truth, predicted, **how), abs=1e-6)
    assert average["recall"] == pytest.approx(sk.recall_score(truth, predicted, **how), abs=1e-6)
    assert average["auc"] == pytest.approx(sk.roc_auc_score(truth, found.probability), abs=1e-6)


@settings(max_examples=15, deadline=None)
@given(cases)
def test_thresholds_are_the_published_ones_with_the_published_choice(found: Predictions) -> None:
    chosen = fit_thresholds(found.truth, found.probability, "lowest")
    for c in np.flatnonzero(found.truth.any(axis=0)):
        truth, score = found.truth[:, c], found.probability[:, c]
        f1 = [reference(truth, (score > t).astype(int), score)["f1_binary"] for t in GRID]
        assert chosen[c] == GRID[int(np.argmax(f1))]


@settings(max_examples=30, deadline=None)
@given(cases)
def test_single_label_numbers_are_scikit_learns(found: Predictions) -> None:
    single = measurement(found, NO_INTERVALS)["single_label"]
    if not (found.truth.sum(axis=1) == 1).all():
        assert single is None
        return
    truth, chosen = found.truth.argmax(axis=1), found.logits.argmax(axis=1)
    how: dict[str, Any] = {"zero_division": 0.0}
    recalls = [np.mean(chosen[truth == c] == c) for c in np.unique(truth)]
    expected = {
        "accuracy": sk.accuracy_score(truth, chosen),
        "balanced_accuracy": np.mean(recalls),
        "f1_weighted": sk.f1_score(truth, chosen, average="weighted", **how),
        "f1_macro": sk.f1_score(truth, chosen, average="macro", **how),
    }
    for metric in SINGLE_METRICS:
        assert single[metric] == pytest.approx(expected[metric], abs=1e-6)
    assert np.trace(single["confusion"]["counts"]) == (truth == chosen).sum()


def test_why_there_are_no_single_label_numbers_is_said() -> None:
    found = made(np.random.default_rng(0), 20, 3)
    some = measurement(found, NO_INTERVALS)
    others = int((found.truth.sum(axis=1) != 1).sum())
    assert some["single_label_absent"].startswith(f"{others} of 20 utterances")
    assert some["single_label_absent"] in format_metrics(some)


@settings(max_examples=30, deadline=None)
@given(cases)
def test_equal_weights_give_the_numbers_of_the_measurement(found: Predictions) -> None:
    measured, weighted = measurement(found, NO_INTERVALS), VectorizedMetrics(found)
    every = np.ones((1, len(found)))
    assert plain(weighted.averages(every), 0) == pytest.approx(measured["average"], abs=1e-9)
    for name, value in plain(weighted.single_label(every), 0).items():
        assert value == pytest.approx(measured["single_label"][name], abs=1e-9)


@pytest.mark.parametrize("by", ["utterance", "recording"])
@pytest.mark.parametrize("single", [True, False])
def test_a_resample_is_measured_as_if_it_were_written_out(by: str, single: bool) -> None:
    found = made(np.random.default_rng(3), 40, 4, absent=1, single=single)
    bootstrap = Bootstrap(resamples=30, by=by, seed=7)
    codes = np.arange(40) if by == "utterance" else np.arange(40) % 4
    (weights,) = weights_of(codes, bootstrap)
    drawn = draw(found, bootstrap)
    assert drawn.units == (40 if by == "utterance" else 4)
    for row, counts in enumerate(weights.astype(int)):
        slow = measurement(found.take(np.repeat(np.arange(40), counts).tolist()), NO_INTERVALS)
        assert plain(drawn.average, row) == pytest.approx(slow["average"], abs=1e-9)
        for name, values in drawn.single_label.items():
            assert values[row] == pytest.approx(slow["single_label"][name], abs=1e-9)


def test_drawing_takes_as_many_units_as_there_are_and_whole_ones() -> None:
    codes = np.array([0, 0, 0, 1, 1, 2])
    (weights,) = weights_of(codes, Bootstrap(resamples=200))
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 3] == weights[:, 4]).all()
    assert (weights[:, [0, 3, 5]].sum(axis=1) == 3).all()


def test_an_interval_holds_the_number_and_is_as_wide_as_theory_says() -> None:
    rng = np.random.default_rng(0)
    truth = np.ones(400) * (rng.random(400) < 0.5)
    right = rng.random(400) < 0.8
    values = (truth == right)[:, None]
    label = np.ones((400, 1), np.uint8)
    found = made(rng, 400, 1)
    shown = decided(
        Predictions(**{**vars(found), "truth": label}),
        np.where(values, 1, -1).astype("f4"),
        rule_of([0.5]),
        "tav",
    )
    measured = measurement(shown, Bootstrap(resamples=2000))
    share = measured["average"]["accuracy"]
    low, high = measured["interval"]["accuracy"]
    assert low < share < high
    expected = 2 * 1.96 * np.sqrt(share * (1 - share) / 400)
    assert high - low == pytest.approx(expected, rel=0.1)


def test_equal_plans_draw_equal_intervals_and_dialogues_widen_them() -> None:
    rng = np.random.default_rng(1)
    found = made(rng, 200, 3, single=True)
    # Every utterance of a recording is equally hard: the recordings are what is drawn.
    logits = np.where((np.arange(200) % 4 < 2)[:, None], found.truth, 1 - found.truth)
    found = decided(found, logits.astype("f4"), rule_of([0.6, 0.6, 0.6]), "tav")
    first, again = (measurement(found, Bootstrap()) for _ in range(2))
    assert first == again
    wide = measurement(found, Bootstrap(by="recording"))
    assert wide["bootstrap"]["units"] == 4

    def width(of: dict[str, Any]) -> float:
        low, high = of["interval"]["accuracy"]
        return float(high - low)

    assert width(wide) > 3 * width(first)


def test_a_metric_without_a_value_has_no_interval() -> None:
    found = made(np.random.default_rng(0), 10, 2)
    nothing = Predictions(**{**vars(found), "truth": np.zeros((10, 2), np.uint8)})
    measured = measurement(nothing, Bootstrap(resamples=50))
    assert measured["interval"]["f1_binary"] is None and measured["average"]["f1_binary"] is None
    assert "no utterance has class0, class1" in format_metrics(measured)


def test_percentiles_and_p_values_worked_out_by_hand() -> None:
    values = np.array([np.nan, *range(101)], dtype=float)
    assert interval(values, 0.9) == pytest.approx([5, 95])
    assert interval(values[:1], 0.9) is None
    assert p_value(np.array([1.0, 2, 3, -1, 5, 6, 7, 8, 9])) == pytest.approx(2 * 2 / 10)
    assert p_value(np.zeros(99)) == 1
    assert p_value(np.ones(999)) == pytest.approx(2 / 1000)


def test_groups_are_measured_as_if_each_were_alone() -> None:
    found = made(np.random.default_rng(5), 50, 4, absent=1, single=True)
    rows = by_group(found, found.speakers)
    assert [row["group"] for row in rows] == ["spk0", "spk1", "spk2", "spk3"]
    for row in rows:
        members = [n for n, speaker in enumerate(found.speakers) if speaker == row["group"]]
        alone = measurement(found.take(members), NO_INTERVALS)
        assert row["n"] == len(members)
        assert row["average"] == pytest.approx(alone["average"])
        assert row["single_label"]["f1_macro"] == pytest.approx(alone["single_label"]["f1_macro"])


def test_the_calibration_error_is_that_of_its_definition() -> None:
    label = np.array([[1, 0], [0, 1], [1, 0], [1, 0]], np.uint8)
    probability = np.array([[0.9, 0.1], [0.9, 0.1], [0.7, 0.3], [0.2, 0.8]])
    # Tops: 0.9 right and wrong, 0.7 right, 0.8 wrong; 0.7 and 0.8 lie in different fifteenths.
    assert calibration_error(label, probability, "largest") == pytest.approx(
        (abs(1 - 1.8) + abs(1 - 0.7) + abs(0 - 0.8)) / 4
    )
    # Both classes mirror each other.
    expected = (abs(1 - 1.8) + abs(1 - 0.7) + abs(1 - 0.2)) / 4
    assert calibration_error(label, probability, "thresholds") == pytest.approx(expected)


def test_where_one_class_is_decided_it_is_right_as_often_as_the_largest_logit() -> None:
    found = made(np.random.default_rng(2), 60, 4, single=True)
    found = decided(found, found.logits, replace(rule_of([0.5] * 4), rule="largest"), "tav")
    assert (found.predicted.sum(axis=1) == 1).all()
    right = (found.predicted * found.truth).sum() / 60
    assert measurement(found, NO_INTERVALS)["single_label"]["accuracy"] == right
