"""A run decides as its task needs, with probabilities that are calibrated on valid."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fv2es_train.config import TrainConfig
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.training.calibration import Terms, fit_decision, fit_temperature, rule_of
from fv2es_train.training.loop import train
from tests.train.conftest import CLASSES, Corpus, options_of
from tests.train.test_missing import tiny

ONE_CLASS = np.eye(6, dtype=np.uint8)
SEVERAL = np.ones((2, 6), np.uint8)


def test_the_rule_follows_from_the_labels_unless_it_is_given() -> None:
    assert rule_of(TrainConfig(), ONE_CLASS) == ("largest", True)
    assert rule_of(TrainConfig(), SEVERAL) == ("thresholds", False)
    assert rule_of(TrainConfig(), np.ones((3, 1), np.uint8)) == ("thresholds", False)
    assert rule_of(TrainConfig(decision="thresholds"), ONE_CLASS) == ("thresholds", True)


def drawn(temperature: float, exclusive: bool) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and labels drawn with the probabilities of these logits / temperature."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(6000, 4, generator=generator, dtype=torch.float64) * 4
    if not exclusive:
        return logits, torch.bernoulli((logits / temperature).sigmoid(), generator=generator)
    places = torch.multinomial((logits / temperature).softmax(1), 1, generator=generator)
    return logits, torch.zeros_like(logits).scatter(1, places, 1.0)


@pytest.mark.parametrize("exclusive", [True, False])
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_temperature_of_the_labels_is_found(temperature: float, exclusive: bool) -> None:
    rule = "largest" if exclusive else "thresholds"
    found = fit_temperature(*drawn(temperature, exclusive), rule)
    assert found == pytest.approx(temperature, rel=0.08)


def test_a_few_utterances_move_the_temperature_little() -> None:
    logits, label = drawn(3.0, exclusive=True)
    few, many = (fit_temperature(logits[:n], label[:n], "largest") for n in (3, 3000))
    assert 1 / 1.5 < few < 1.5 < many
    assert fit_temperature(logits[:0], label[:0], "largest", start=1.7) == 1.7


def test_a_temperature_that_left_out_utterances_do_not_prefer_is_not_taken() -> None:
    """The labels fit the logits as they are: whatever a small subset would fit is chance."""
    logits, label = drawn(1.0, exclusive=True)
    parts = zip(logits.split(24), label.split(24), strict=True)
    found = [fit_temperature(*part, "largest") for part, _ in zip(parts, range(40), strict=False)]
    assert np.mean(np.array(found) == 1) > 0.75
    assert fit_temperature(logits, label, "largest", start=3.0) == pytest.approx(1, rel=0.08)


def test_each_set_of_modalities_is_calibrated_and_incomplete_utterances_too() -> None:
    model = tiny()
    terms = {m: torch.randn(40, 6, dtype=torch.float64) for m in "tva"}
    missing = ["", "t", "tav", "v"] * 10
    label = torch.eye(6, dtype=torch.float64).repeat(7, 1)[:40]
    found = fit_decision(model, Terms(terms, missing, label), "largest", True, CLASSES)
    assert set(found.temperature) == {"tav", "ta", "tv", "av", "t", "a", "v"}
    assert list(found.thresholds) == list(CLASSES)


def test_a_run_stores_its_decision_and_the_published_rule_is_not_calibrated(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    decision = load_checkpoint(run).decision
    assert decision.rule == "largest" and decision.exclusive
    assert len(decision.temperature) == 7
    options = options_of(corpus, tmp_path / "published", epochs=1, modalities="a")
    train(replace(options, decision="thresholds", unverified_faces="keep"))
    assert load_checkpoint(options.out).decision.rule == "thresholds"
    assert load_checkpoint(options.out).decision.temperature == {}
