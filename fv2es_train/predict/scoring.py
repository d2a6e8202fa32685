"""The model on one example: probabilities, ratings, and the contribution of each modality."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fv2es_prep.errors import TrainError, UsageError
from fv2es_train.engines.compiled import use_engine
from fv2es_train.models.families import collate_of
from fv2es_train.predict.outputs import TEXT

if TYPE_CHECKING:
    from fv2es_prep.types import Example
    from fv2es_train.engines.choice import Engine, Precision
    from fv2es_train.models.checkpoint import Checkpoint
    from fv2es_train.predict.outputs import UtterancePrediction


# Faces and audio chunks to encode at a time on a CPU; more are not faster and need more memory.
_CPU_BATCH = 8


@dataclass(frozen=True)
class Scores:
    """The scores of an utterance; fields as in `outputs.UtterancePrediction`."""

    probability: dict[str, float] = field(default_factory=dict)
    contribution: dict[str, dict[str, float]] = field(default_factory=dict)
    ratings: dict[str, float] = field(default_factory=dict)
    rating_contribution: dict[str, dict[str, float]] = field(default_factory=dict)


class Scorer:
    """A checkpoint's model, ready to score; its RepVGG blocks may be fused, in a copy.

    Attributes:
        model: the network, in eval mode.
        classes: class names in the order of the model's outputs.
        modalities: letters of the model's modalities, some of ``tva``, in the order of fusion.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        fuse: bool = True,
        engine: Engine = "torch",
        at_once: bool = False,
        precision: Precision = "float32",
    ) -> None:
        self.model = checkpoint.model.for_inference() if fuse else checkpoint.model.eval()
        self.model.check_late_fusion()
        if checkpoint.train.ratings and checkpoint.train.rating_share == 1:
            raise UsageError(
                "the run learned only ratings, so it has no classes to predict",
                "train a run with classes: pass --rating-share below 1",
            )
        self._device = next(checkpoint.model.parameters()).device
        if self._device.type == "cpu":
            self.model.max_rows = _CPU_BATCH
        if fuse:
            use_engine(self.model, engine, self._device, at_once, precision)
        self.classes, self.decision = checkpoint.model.config.label_classes, checkpoint.decision
        self.modalities = checkpoint.model.modalities
        config = checkpoint.model.config
        self._ratings = dict(zip(config.ratings, config.rating_scale, strict=True))
        self.unverified = checkpoint.train.unverified_faces
        self._collate = collate_of(self.model.config, checkpoint.settings.text.pad_id)

    def score(
        self,
        example: Example,
        missing: Collection[str] = (),
        known: Mapping[str, Tensor] = {},
    ) -> Scores:
        """Run the model on one example, without the branches of missing or known modalities.

        The fusion is a weighted sum of the modalities' logits. Without the terms of the missing
        ones, the others are scaled by sum(|w|) over all / sum(|w|) over those used: the logits
        stay on the scale for which the thresholds were fitted.

        Args:
            example: the utterance.
            missing: letters of the modalities that it lacks.
            known: letter -> outputs that were computed before, see `text_outputs`.

        Raises:
            TrainError: a logit is not finite.
        """
        used = self.model.used(missing)
        terms = self._terms(example, used, self.model.scale(used), known)
        return self._fused(terms, example.utterance.id)

    def reword(self, before: UtterancePrediction, example: Example, with_text: bool) -> Scores:
        """Score an example again with another text; only the text branch runs.

        Args:
            before: the same utterance with its earlier text.
            example: the utterance with its text; its faces and mel spectrum are ignored.
            with_text: whether the text is known now.

        Raises:
            TrainError: a logit is not finite.
        """
        letters = next(iter(before.contribution.values()), {})
        used = [m for m in self.modalities if (with_text if m == TEXT else m in letters)]
        factor = self.model.scale(used)
        terms = self._terms(example, [m for m in used if m == TEXT], factor)
        # Double precision, so that scaling back and forth loses no relevant digit.
        scale = factor / self.model.scale(letters)
        for m in used:
            if m != TEXT:
                kept = [before.contribution[name][m] for name in self.classes]
                for name, (_, deviation) in self._ratings.items():
                    kept.append(before.rating_contribution[name][m] / deviation)
                terms[m] = scale * torch.tensor(kept, dtype=torch.double)
        return self._fused(terms, example.utterance.id)

    def text_outputs(self, examples: Sequence[Example]) -> tuple[Tensor, ...]:
        """Run only the text branch on several examples at once: float32 (C + R,) for each."""
        return self._outputs(examples, TEXT)[TEXT].unbind()

    @torch.inference_mode()
    def _outputs(self, examples: Sequence[Example], only: Sequence[str]) -> dict[str, Tensor]:
        batch = self._collate(examples)
        return self.model.modality_logits(batch.to(self._device), only)

    @torch.inference_mode()
    def _terms(
        self,
        example: Example,
        only: Sequence[str],
        factor: float,
        known: Mapping[str, Tensor] = {},
    ) -> dict[str, Tensor]:
        """The terms of some modalities, float64 (C + R,) each."""
        outputs = dict(known)
        if rest := [m for m in only if m not in known]:
            outputs |= {m: rows[0] for m, rows in self._outputs([example], rest).items()}
        weights = self.model.fusion_weights()
        return {m: (factor * weights[m] * outputs[m]).double().cpu() for m in only}

    def _fused(self, terms: dict[str, Tensor], name: str) -> Scores:
        if not terms:
            return Scores()
        total = torch.stack(list(terms.values())).sum(0)
        if not bool(torch.isfinite(total).all()):
            raise TrainError(
                f"the logits of the utterance {name!r} are not finite",
                "the training diverged; train again with a smaller --lr",
            )
        size = len(self.classes)
        probability = self.decision.probability(total[:size].numpy(), "".join(terms)).tolist()
        ratings, rating_terms = {}, {}
        for column, (label, (mean, deviation)) in enumerate(self._ratings.items(), size):
            ratings[label] = mean + deviation * float(total[column])
            rating_terms[label] = {m: deviation * float(v[column]) for m, v in terms.items()}
        return Scores(
            dict(zip(self.classes, probability, strict=True)),
            {
                label: {m: float(values[c]) for m, values in terms.items()}
                for c, label in enumerate(self.classes)
            },
            ratings,
            rating_terms,
        )
