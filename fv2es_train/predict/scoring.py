"""The model on one example: probabilities, and what each modality gave.

Owns the fusion of what is there. Leaves making examples to `parts`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fv2es_prep.errors import TrainError
from fv2es_train.data.batches import collate
from fv2es_train.models.families import extras_of

if TYPE_CHECKING:
    from fv2es_prep.types import Example
    from fv2es_train.models.checkpoint import Checkpoint


# Faces and chunks of sound that a CPU encodes at a time: more are no faster there and take more
# memory, the more the longer an utterance is.
_AT_A_TIME = 8


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
        self.model = checkpoint.model.for_inference() if fuse else checkpoint.model.eval()
        self._device = next(checkpoint.model.parameters()).device
        if self._device.type == "cpu":
            self.model.max_rows = _AT_A_TIME
        self.classes = checkpoint.model.config.label_classes
        self.modalities = checkpoint.model.modalities
        self._pad_id = checkpoint.settings.text.pad_id

    def score(self, example: Example, missing: Collection[str] = ()) -> Scores:
        """Run the model on one example; what is missing is not computed.

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
        used = [m for m in self.modalities if m not in missing]
        return self._joined(self._terms(example, used, self._factor(used)), example.utterance.id)

    def reword(
        self, before: Mapping[str, Mapping[str, float]], example: Example, worded: bool
    ) -> Scores:
        """What the model says where only the words are others: the text branch alone is run.

        Args:
            before: the terms of the same utterance, as `Scores.contribution` has them.
            example: the utterance with its words; its faces and sound are not looked at.
            worded: whether there are words now.

        Raises:
            TrainError: a logit is not finite.
        """
        letters = next(iter(before.values()), {})
        used = [m for m in self.modalities if (worded if m == "t" else m in letters)]
        factor = self._factor(used)
        terms = self._terms(example, [m for m in used if m == "t"], factor)
        # In double precision: there and back no digit is lost that counts.
        scale = factor / self._factor(list(letters))
        for m in used:
            if m != "t":
                kept = [scale * before[name][m] for name in self.classes]
                terms[m] = torch.tensor(kept, dtype=torch.double)
        return self._joined(terms, example.utterance.id)

    @torch.inference_mode()
    def _terms(self, example: Example, only: Sequence[str], factor: float) -> dict[str, Tensor]:
        """The terms of some modalities, float64 (C,) each."""
        if not only:
            return {}
        config = self.model.config
        batch = collate([example], self._pad_id, config.mel_rows, extras_of(config))
        logits = self.model.modality_logits(batch.to(self._device), only)
        weights = self._weights
        return {m: (factor * weights[m] * logits[m][0]).double().cpu() for m in only}

    def _joined(self, terms: dict[str, Tensor], name: str) -> Scores:
        if not terms:
            return Scores({}, {})
        total = torch.stack(list(terms.values())).sum(0)
        if not bool(torch.isfinite(total).all()):
            raise TrainError(
                f"the model gives no finite logits for the utterance {name!r}",
                "the weights are spoilt: train again with a smaller --lr",
            )
        probability = torch.sigmoid(total).tolist()
        return Scores(
            dict(zip(self.classes, probability, strict=True)),
            {
                label: {m: float(values[c]) for m, values in terms.items()}
                for c, label in enumerate(self.classes)
            },
        )

    @property
    def _weights(self) -> dict[str, float]:
        """The weight of each modality in the fusion."""
        return self.model.fusion_weights()

    def _factor(self, used: Collection[str]) -> float:
        """By how much those that are used weigh more, in place of those that are not."""
        weights = self._weights
        there = sum(abs(weights[m]) for m in used)
        whole = len(used) == len(weights)
        return sum(map(abs, weights.values())) / there if there and not whole else 1.0
