"""Logits become probabilities and decided classes, as the run's rule says."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fv2es_train.models.checkpoint import load_checkpoint, save_checkpoint
from fv2es_train.models.decision import Decision

LOGITS = np.array([[2.0, 1.0, -3.0], [-1.0, 0.5, 0.0]])
THRESHOLDS = {"a": 0.5, "b": 0.7, "c": 0.1}


def test_thresholds_decide_each_class_for_itself() -> None:
    decision = Decision(thresholds=THRESHOLDS)
    found = decision.probability(LOGITS, "tav")
    assert found == pytest.approx(1 / (1 + np.exp(-LOGITS)))
    assert decision.decided(found).tolist() == [[1, 1, 0], [0, 0, 1]]
    assert decision.decided(found[1]).tolist() == [0, 0, 1]


def test_where_classes_exclude_each_other_the_largest_is_decided() -> None:
    decision = Decision("largest", exclusive=True, thresholds=THRESHOLDS)
    found = decision.probability(LOGITS, "tav")
    assert found.sum(1) == pytest.approx([1, 1])
    assert decision.decided(found).tolist() == [[1, 0, 0], [0, 1, 0]]
    assert decision.decided(found[0]).tolist() == [1, 0, 0]


def test_each_modality_set_has_its_temperature() -> None:
    decision = Decision(temperature={"ta": 2.0}, thresholds=THRESHOLDS)
    found = decision.probability(LOGITS, ["at", "a"])
    assert found[0] == pytest.approx(1 / (1 + np.exp(-LOGITS[0] / 2)))
    assert found[1] == pytest.approx(1 / (1 + np.exp(-LOGITS[1])))
    assert decision.probability(LOGITS[0], "at").tolist() == found[0].tolist()


def test_a_checkpoint_keeps_it_and_an_old_one_has_thresholds(run: Path, tmp_path: Path) -> None:
    trained = load_checkpoint(run)
    decision = Decision("largest", True, {"tav": 1.5}, trained.thresholds)
    place = save_checkpoint(tmp_path, replace(trained, decision=decision))
    assert load_checkpoint(tmp_path).decision == decision

    stored = json.loads((place / "config.json").read_text())
    del stored["decision"]
    (place / "config.json").write_text(json.dumps(stored))
    assert load_checkpoint(tmp_path).decision == Decision(thresholds=trained.thresholds)
