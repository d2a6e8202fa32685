"""The interface between a network and the code that trains, evaluates and runs it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, ClassVar

import torch
from torch import Tensor, nn

from fv2es_prep.errors import UsageError

if TYPE_CHECKING:
    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.branches import Branch, BranchInput
    from fv2es_train.models.families import ModelConfig
    from fv2es_train.models.text_encoder import TextEncoder


class EmotionModel(nn.Module):
    """A network that computes the logits of a batch. A family only needs to implement `forward`.

    The constructor must not read values of tensors: it also runs on PyTorch's meta device, to
    compare the shapes of a checkpoint.

    Attributes:
        config: the configuration, stored in every checkpoint.
        modalities: letters of the modalities that the network reads.
        closed_form: whether `fit` computes all weights, so no optimizer step follows.
        max_rows: maximum number of faces or mel chunks to encode at a time in inference; None
            encodes all of a batch. A network may ignore it.
        heads: names of the layers that compute the logits of the classes.
    """

    closed_form: ClassVar[bool] = False
    heads: ClassVar[tuple[str, ...]] = ()

    def __init__(self, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.modalities = config.modalities
        self.max_rows: int | None = None

    def forward(self, batch: Batch) -> Tensor:
        """Compute the logits of a batch of B utterances, float32 (B, C), before the sigmoid."""
        raise NotImplementedError

    def fit(self, dataset: ShardDataset) -> float:  # noqa: ARG002  # not every network does
        """Compute weights and statistics from the train subset before the first step.

        Returns:
            The mean loss per utterance, if this computes all weights.
        """
        return 0.0

    def modality_logits(
        self, batch: Batch, only: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """Compute the logits of each modality before late fusion: letter -> float32 (B, C).

        Empty for a network that fuses its modalities earlier; ``eval --by modality`` and prediction
        reject such a network. ``only`` names the modalities to compute; None computes all.
        """
        if not self.fusion_weights() or (only is not None and self.modalities not in only):
            return {}
        return {self.modalities: self(batch)}

    def fusion_weights(self) -> dict[str, float]:
        """The weight of each modality in the sum of logits that `forward` returns."""
        return {self.modalities: 1.0} if len(self.modalities) == 1 else {}

    def fuse(self, logits: Mapping[str, Tensor], missing: Sequence[str]) -> Tensor:
        """Fuse the output of `modality_logits` into that of `forward`; ``missing``: see `Batch`."""
        if len(logits) == 1:
            return next(iter(logits.values()))
        weights = torch.tensor(list(self.fusion_weights().values()))
        stacked = torch.stack(list(logits.values()), dim=1)
        factors = (self.term_factors(missing) * weights).to(stacked)
        return (stacked * factors[:, :, None]).sum(1)

    def scale(self, letters: Collection[str]) -> float:
        """The factor of the terms of ``letters`` if the other modalities are missing.

        It is sum(abs(w)) over the fusion weights of all modalities, divided by the same sum over
        ``letters``, so the logits stay on the scale for which the decision was fitted.
        """
        weights = self.fusion_weights()
        left = sum(abs(weights[m]) for m in weights if m in letters)
        if all(m in letters for m in weights):
            return 1.0
        return sum(map(abs, weights.values())) / left if left else 1.0

    def used(self, missing: Collection[str]) -> str:
        """Letters of the modalities that the network reads and that are not missing."""
        return "".join(letter for letter in self.modalities if letter not in missing)

    def term_factors(self, missing: Sequence[str]) -> Tensor:
        """Factors of the terms of B utterances, float32 (B, M): `scale`, or 0 if missing.

        ``missing``: see `Batch`. The M modalities are in the order of `fusion_weights`.
        """
        letters = tuple(self.fusion_weights())
        rows = [[m for m in letters if m not in lacks] for lacks in missing]
        scales = [self.scale(row) for row in rows]
        return torch.tensor(
            [[s * (m in row) for m in letters] for row, s in zip(rows, scales, strict=True)]
        )

    def export_branches(self) -> dict[str, Branch]:
        """The network of each modality, from one utterance to logits, for export.

        Empty for a network that cannot be exported.
        """
        return {}

    def row_encoders(self) -> dict[str, tuple[BranchInput, ...]]:
        """Attribute -> inputs of the encoders whose rows do not depend on each other.

        Prediction may replace them by others that give the same vectors.
        """
        return {}

    def check_late_fusion(self) -> None:
        """Raise UsageError unless the network reports logits by modality."""
        if not self.fusion_weights():
            raise UsageError(
                f"the model {self.config.name} does not report logits by modality",
                "implement modality_logits and fusion_weights, see EmotionModel",
            )

    @property
    def text_encoder(self) -> TextEncoder | None:
        """The pretrained text encoder, which can be frozen and has a separate learning rate."""
        return None

    def parameter_groups(self) -> dict[str, list[nn.Parameter]]:
        """All parameters by learning rate: ``main``, and ``text`` for the text encoder."""
        text = list(self.text_encoder.parameters()) if self.text_encoder else []
        theirs = {id(parameter) for parameter in text}
        main = [parameter for parameter in self.parameters() if id(parameter) not in theirs]
        return {"main": main, "text": text}

    def branch_of(self, name: str) -> str:  # noqa: ARG002  # not every network has branches
        """The letter of the modality that a weight belongs to; empty if it serves several."""
        return self.modalities if len(self.modalities) == 1 else ""

    def in_head(self, name: str) -> bool:
        """Whether a weight belongs to one of `heads`."""
        return any(part in self.heads for part in name.split("."))

    def encoders(self) -> list[nn.Module]:
        """The modules that ``--compile`` compiles."""
        return [self]

    def for_inference(self) -> EmotionModel:
        """Return the network in eval mode, possibly a faster copy with the same outputs."""
        return self.eval()


class MeanFusion(EmotionModel):
    """Late fusion by the mean over the modalities. A family only implements `logits_of`."""

    def logits_of(self, letter: str, batch: Batch) -> Tensor:
        """Compute the logits of one modality, float32 (B, C); ignored for a missing modality."""
        raise NotImplementedError

    def forward(self, batch: Batch) -> Tensor:
        """See `EmotionModel`."""
        return self.fuse(self.modality_logits(batch), batch.missing)

    def fuse(self, logits: Mapping[str, Tensor], missing: Sequence[str]) -> Tensor:
        """See `EmotionModel`."""
        stacked = torch.stack(list(logits.values()), dim=1)
        factors = self.term_factors(missing).to(stacked)
        return (stacked * factors[:, :, None]).sum(1) / len(self.modalities)

    def modality_logits(
        self, batch: Batch, only: Collection[str] | None = None
    ) -> dict[str, Tensor]:
        """See `EmotionModel`."""
        chosen = [m for m in self.modalities if only is None or m in only]
        return {m: self.logits_of(m, batch) for m in chosen}

    def fusion_weights(self) -> dict[str, float]:
        """See `EmotionModel`."""
        return {m: 1 / len(self.modalities) for m in self.modalities}
