"""The decision of a run: from logits to probabilities to predicted classes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

import numpy as np

from fv2es_prep.config import ordered

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Rule = Literal["thresholds", "largest"]


@dataclass(frozen=True)
class Decision:
    """A calibrated decision rule.

    Attributes:
        rule: ``thresholds`` treats the classes as independent, and predicts each class whose
            probability is above its threshold. ``largest`` predicts the most probable class.
        exclusive: whether each utterance of the training data has exactly one class.
        temperature: letters of modalities, in the order of ``tav`` -> divisor of the logits from
            these modalities (Guo et al. 2017, arXiv 1706.04599); 1 for others.
        thresholds: class -> threshold, in the order of the logits.
    """

    rule: Rule = "thresholds"
    exclusive: bool = False
    temperature: Mapping[str, float] = field(default_factory=dict)
    thresholds: Mapping[str, float] = field(default_factory=dict)

    def probability(self, logits: ArrayLike, letters: str | Sequence[str]) -> NDArray[np.float64]:
        """Calibrated probabilities, in the shape of the logits.

        Args:
            logits: (C,) or (N, C), in the order of ``thresholds``.
            letters: letters of the modalities that the logits come from, for each row or for all
                rows.
        """
        import torch

        values = np.asarray(logits, np.float64)
        if isinstance(letters, str):
            letters = [letters] * len(np.atleast_2d(values))
        divisor = np.array([self._divisor(each) for each in letters])[:, None]
        scaled = torch.from_numpy((np.atleast_2d(values) / divisor).reshape(values.shape))
        found = torch.sigmoid(scaled) if self.rule == "thresholds" else scaled.softmax(-1)
        return found.numpy()

    def decided(self, probability: ArrayLike) -> NDArray[np.uint8]:
        """Predict classes: 1 or 0, in the shape of the probabilities."""
        values = np.asarray(probability, np.float64)
        if self.rule == "thresholds":
            return (values > np.array(list(self.thresholds.values()))).astype(np.uint8)
        largest = np.eye(values.shape[-1], dtype=np.uint8)
        return np.asarray(largest[values.argmax(-1)])

    def names(self, probability: Mapping[str, float]) -> tuple[str, ...]:
        """The predicted classes of one utterance; none without probabilities."""
        if not probability:
            return ()
        found = self.decided([probability[name] for name in self.thresholds])
        return tuple(name for name, one in zip(self.thresholds, found, strict=True) if one)

    def _divisor(self, letters: str) -> float:
        return self.temperature.get(ordered(letters), 1.0)
