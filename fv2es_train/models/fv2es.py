"""The network: three encoders, a head each, and a linear late fusion.

Owns how the parts are joined, which parts exist, and the first weights. Leaves each part to
`encoders`, sizes to `config`, and loss and learning to `train`.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fv2es_prep.errors import TrainError
from fv2es_train.models.encoders.face import FaceEncoder
from fv2es_train.models.encoders.mel import MelEncoder
from fv2es_train.models.encoders.sequence import SequenceEncoder

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_train.config import ModelConfig
    from fv2es_train.data.batches import Batch
    from fv2es_train.models.encoders.text import TextEncoder

# The published code stacks the logits in this order; the fusion weights follow it.
STACKED = "tva"


class FV2ES(nn.Module):
    """Emotion logits from faces, mel spectrum and words (Wei et al. 2022, arXiv 2209.10170).

    Only the parts of the chosen modalities exist. Published names map to ours by prefix: ``V`` is
    ``face.stack``, ``v_flatten`` is ``face.project``, ``A.0`` is ``mel.nest``, ``a_flatten`` is
    ``mel.project``, ``T`` is ``text``; the other names are the same.

    Args:
        config: the network's sizes.
        text: the text encoder, needed where the modalities hold ``t``.

    Attributes:
        at_a_time: so many faces or chunks of sound are encoded at a time; None: all of a batch.
            It bounds memory in inference and changes no number but by rounding.
    """

    def __init__(self, config: ModelConfig, text: TextEncoder | None = None) -> None:
        super().__init__()
        self.at_a_time: int | None = None
        classes, width = len(config.label_classes), config.trans_dim
        self.config = config
        self.modalities = "".join(m for m in STACKED if m in config.modalities)
        if "t" in self.modalities:
            assert text is not None, "the modality t needs a text encoder"
            self.text = text
            self.t_out = nn.Linear(text.width, classes)
        if "v" in self.modalities:
            self.face = FaceEncoder(config)
            self.v_transformer = SequenceEncoder(config)
            self.v_out = nn.Linear(width, classes)
        if "a" in self.modalities:
            self.mel = MelEncoder(config)
            self.a_transformer = SequenceEncoder(config)
            self.a_out = nn.Linear(width, classes)
        if len(self.modalities) > 1:
            self.weighted_fusion = nn.Linear(len(self.modalities), 1, bias=False)
            if config.fusion_init == "mean":
                nn.init.constant_(self.weighted_fusion.weight, 1 / len(self.modalities))

    def forward(self, batch: Batch) -> Tensor:
        """Logits of each class.

        Args:
            batch: B utterances.

        Returns:
            float32 (B, C), before the sigmoid.
        """
        logits = self.modality_logits(batch)
        if len(logits) == 1:
            return logits[self.modalities]
        stacked = torch.stack([logits[m] for m in self.modalities], dim=-1)
        joined: Tensor = self.weighted_fusion(stacked).squeeze(-1)
        return joined

    def modality_logits(self, batch: Batch, only: Collection[str] = STACKED) -> dict[str, Tensor]:
        """The logits of each modality before they are fused.

        Args:
            batch: B utterances.
            only: letters of the modalities that are computed, where the model has them.

        Returns:
            float32 (B, C) under the letter of each modality, in the order of fusion.
        """
        heads = {"t": self._text, "v": self._faces, "a": self._sound}
        return {m: heads[m](batch) for m in self.modalities if m in only}

    def _text(self, batch: Batch) -> Tensor:
        logits: Tensor = self.t_out(self.text(batch.tokens, batch.attention_mask))
        return logits

    def _faces(self, batch: Batch) -> Tensor:
        vectors = self._in_parts(self.face, batch.faces)
        logits: Tensor = self.v_out(self.v_transformer(vectors, batch.face_counts))
        return logits

    def _sound(self, batch: Batch) -> Tensor:
        vectors = self._in_parts(self.mel, batch.mel)
        logits: Tensor = self.a_out(self.a_transformer(vectors, batch.chunk_counts))
        return logits

    def _in_parts(self, encoder: nn.Module, pictures: Tensor) -> Tensor:
        if self.at_a_time is None or len(pictures) <= self.at_a_time:
            vectors: Tensor = encoder(pictures)
            return vectors
        return torch.cat([encoder(part) for part in torch.split(pictures, self.at_a_time)])


def build_model(config: ModelConfig, settings: PrepSettings) -> FV2ES:
    """The network before training: random, but for a pretrained text encoder.

    Args:
        config: the network's sizes.
        settings: of the shards.

    Returns:
        The network, whose ``config`` holds the text encoder's configuration too.

    Raises:
        SettingsError: the shards do not fit the network.
        TokenizerError: the text encoder cannot be loaded.
        TrainError: the text encoder does not know all token ids of the shards.
    """
    from fv2es_train.models.encoders import text as texts

    config.check(settings)
    if "t" not in config.modalities:
        return FV2ES(config)
    words = settings.text
    if config.text_encoder:
        text = texts.pretrained(config.text_encoder)
    else:
        text = texts.small(words.vocabulary_size, words.pad_id)
    if words.vocabulary_size > text.vocabulary_size:
        raise TrainError(
            f"the shards' tokenizer {words.tokenizer!r} has {words.vocabulary_size} token ids, "
            f"the text encoder knows {text.vocabulary_size}",
            "pass the text encoder that belongs to the tokenizer: --text-encoder NAME_OR_DIR",
        )
    # Only the directory's own name: where it lay on this machine is nobody's business.
    name = Path(config.text_encoder).name if Path(config.text_encoder).is_dir() else ""
    return FV2ES(replace(config, text=text.config, text_encoder=name or config.text_encoder), text)
