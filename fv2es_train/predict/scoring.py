"""The model on one example: probabilities, and what each modality gave.

Owns the fusion of what is there. Leaves making examples to `parts`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from fv2es_prep.errors import TrainError
from fv2es_train.batch import collate
from fv2es_train.encoders.face import fused

if TYPE_CHECKING:
    from fv2es_prep.types import Example
    from fv2es_train.checkpoint import Checkpoint


@dataclass(frozen=True)
class Scores:
    """What the model says of one example.

    Attributes:
        probability: class -> probability.
        contribution: class -> letter of a modality -> its term of the fused logit.
    """

    probability: dict[str, float]
    contribution: dict[str, dict[str, float]]


class Scorer:
    """A checkpoint's model, ready to score.

    Args:
        checkpoint: the run's.
        fuse: whether the RepVGG blocks become single convolutions, in a copy.

    Attributes:
        model: the network, in eval mode.
        classes: in the order of the model.
        modalities: of the model, some of ``tva``, in the order of fusion.
    """

    def __init__(self, checkpoint: Checkpoint, fuse: bool = True) -> None:
        self.model = fused(checkpoint.model) if fuse else checkpoint.model.eval()
        self.classes = checkpoint.model.config.label_classes
        self.modalities = checkpoint.model.modalities
        self._pad_id = checkpoint.settings.text.pad_id
        self._device = next(checkpoint.model.parameters()).device

    @torch.no_grad()
    def score(self, example: Example, missing: Sequence[str] | dict[str, str] = ()) -> Scores:
        """Run the model on one example.

        The fusion is a weighted sum of the modalities' logits. The terms of those that are missing
        are left out, and the others weigh as much as all together would (a factor of sum of |w|
        over the sum of |w| of those used): the logits stay on the scale for which the thresholds
        were fitted.

        Args:
            example: as the shards hold it, or with stand-ins.
            missing: letters of the modalities that are not to be looked at.

        Raises:
            TrainError: a logit is not finite.
        """
        model = self.model
        used = [m for m in self.modalities if m not in missing]
        if not used:
            return Scores({}, {})
        batch = collate([example], self._pad_id, model.config.mel_rows)
        logits = model.modality_logits(batch.to(self._device))
        weights = self._weights(used)
        terms = {m: (weights[m] * logits[m][0]).double().cpu() for m in used}
        total = torch.stack(list(terms.values())).sum(0)
        if not bool(torch.isfinite(total).all()):
            raise TrainError(
                f"the model gives no finite logits for the utterance {example.utterance.id!r}",
                "the weights are spoilt: train again with a smaller --lr",
            )
        probability = torch.sigmoid(total).tolist()
        return Scores(
            dict(zip(self.classes, probability, strict=True)),
            {name: {m: float(terms[m][c]) for m in used} for c, name in enumerate(self.classes)},
        )

    def _weights(self, used: Sequence[str]) -> dict[str, float]:
        if len(self.modalities) == 1:
            return {self.modalities: 1.0}
        values = self.model.weighted_fusion.weight[0].tolist()
        weights = dict(zip(self.modalities, values, strict=True))
        there = sum(abs(weights[m]) for m in used)
        factor = sum(map(abs, values)) / there if there and len(used) < len(values) else 1.0
        return {m: factor * weights[m] for m in used}
