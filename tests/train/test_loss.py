"""The loss against its formula, and the classes' weights."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fv2es_prep.errors import TrainError
from fv2es_train.training.loss import Loss, make_loss

LABEL = np.array([[1, 1], [0, 1], [0, 0], [0, 1]], dtype=np.uint8)
NAMES = ("x", "y")


def test_positives_weigh_negatives_over_positives() -> None:
    loss = make_loss(LABEL, NAMES)
    assert loss.positive.tolist() == pytest.approx([3.0, 1 / 3])
    assert loss.negative.tolist() == [1, 1]


def test_balanced_classes_weigh_the_same_on_both_sides() -> None:
    loss = make_loss(LABEL, NAMES, "balanced")
    for column in (0, 1):
        positives = int(LABEL[:, column].sum())
        assert loss.positive[column] * positives == pytest.approx(2)
        assert loss.negative[column] * (4 - positives) == pytest.approx(2)


def test_without_weights_all_weigh_one() -> None:
    loss = make_loss(LABEL, NAMES, "none")
    assert loss.positive.tolist() == loss.negative.tolist() == [1, 1]


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_the_loss_is_its_formula(smoothing: float) -> None:
    loss = Loss(torch.tensor([3.0, 0.5]), torch.tensor([0.7, 2.0]), smoothing)
    logits = torch.tensor([[0.3, -1.2], [2.0, 0.0]])
    label = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    chance = torch.sigmoid(logits)
    aim = label * (1 - smoothing) + smoothing / 2
    expected = -(
        loss.positive * aim * chance.log() + loss.negative * (1 - aim) * (1 - chance).log()
    )
    torch.testing.assert_close(loss.of_each(logits, label), expected.mean(1))


def test_valid_is_measured_against_labels_as_they_are() -> None:
    plain, smooth = Loss(torch.ones(2), torch.ones(2)), Loss(torch.ones(2), torch.ones(2), 0.5)
    logits, label = torch.randn(3, 2), torch.ones(3, 2)
    assert smooth.of_each(logits, label, plain=True).equal(plain.of_each(logits, label))


def test_a_class_without_positives_is_named() -> None:
    with pytest.raises(TrainError, match="has the class y"):
        make_loss(np.array([[1, 0], [0, 0]], dtype=np.uint8), NAMES)


def test_balancing_a_class_that_all_have_is_refused() -> None:
    with pytest.raises(TrainError, match="every utterance .* has the class x"):
        make_loss(np.array([[1, 0], [1, 1]], dtype=np.uint8), NAMES, "balanced")
