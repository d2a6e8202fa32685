"""The loss, by default weighted binary cross entropy of each class, with label smoothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from fv2es_prep.errors import TrainError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Loss:
    """A loss of logits (B, C) against labels of 0 and 1.

    Attributes:
        positive: float32 (C,), weight of each class where it holds.
        negative: float32 (C,), weight of each class where it does not.
        smoothing: label smoothing s: 1 becomes 1 - s/2, 0 becomes s/2.
        kind: see `TrainConfig.loss`; only ``bce`` has class weights. ``ce`` shares an utterance
            equally among its classes, and smooths it by s over all classes.
    """

    positive: Tensor
    negative: Tensor
    smoothing: float = 0.0
    kind: str = "bce"

    def of_each(self, logits: Tensor, label: Tensor, smooth: bool = True) -> Tensor:
        """The loss of each utterance, float32 (B,): the mean over its classes.

        ``logits`` and ``label`` are (B, C); ``smooth``: whether to smooth the labels.
        """
        share = self.smoothing if smooth else 0.0
        if self.kind == "ce":
            shares = label / label.sum(1, keepdim=True).clamp_min(1)
            return cross_entropy(logits.float(), shares, reduction="none", label_smoothing=share)
        if self.kind != "bce":
            apart = logits.float() - (label * (1 - share) + share / 2)
            return (apart.square() if self.kind == "mse" else apart.abs()).mean(dim=1)
        return binary_cross_entropy_with_logits(
            logits.float(),
            label * (1 - share) + share / 2,
            weight=self.negative.to(logits.device),
            pos_weight=(self.positive / self.negative).to(logits.device),
            reduction="none",
        ).mean(dim=1)


def make_loss(
    label: NDArray[np.uint8],
    names: tuple[str, ...],
    weights: str = "positives",
    smoothing: float = 0.0,
    kind: str = "bce",
) -> Loss:
    """The loss with class weights from the train subset.

    For n utterances of which p have the class, ``positives`` weights positives by (n - p) / p, as
    published; ``balanced`` weights positives by n / 2p and negatives by n / 2(n - p), so that rare
    classes count as much as others; ``none`` weights all by 1.

    Args:
        label: (N, C), 1 where the class holds.
        names: the C classes.
        weights: ``positives``, ``balanced`` or ``none``.
        smoothing: see `Loss`.
        kind: see `Loss`.

    Raises:
        TrainError: a class has no positive utterance or, with ``balanced``, no negative one.
    """
    count = len(label)
    positives = label.astype(np.int64).sum(axis=0)
    if absent := [name for name, p in zip(names, positives, strict=True) if p == 0]:
        raise TrainError(
            f"no utterance of the train subset has the class {', '.join(absent)}",
            "make a split whose train subset has every class, or prepare fewer classes: "
            "fv2es prep ... --labels",
        )
    positive, negative = np.ones(len(names)), np.ones(len(names))
    if weights == "positives":
        positive = (count - positives) / positives
    elif weights == "balanced":
        if full := [name for name, p in zip(names, positives, strict=True) if p == count]:
            raise TrainError(
                f"every utterance of the train subset has the class {', '.join(full)}",
                "pass --class-weights none, or make another split",
            )
        positive, negative = count / (2 * positives), count / (2 * (count - positives))
    return Loss(
        torch.from_numpy(positive).float(), torch.from_numpy(negative).float(), smoothing, kind
    )
