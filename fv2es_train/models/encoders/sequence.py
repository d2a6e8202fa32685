"""The vectors of an utterance to one vector: a transformer with a learned CLS token."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from fv2es_train.models.fv2es_config import FV2ESConfig


class SequenceEncoder(nn.Module):
    """torch's TransformerEncoder without positions, as published: it encodes a set.

    Args:
        config: the network's sizes.
    """

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            config.trans_dim,
            config.trans_heads,
            dim_feedforward=config.trans_ffn,
            dropout=config.dropout,
            batch_first=True,
        )
        # torch warns about nested tensors, which only save time on padding.
        self.encoder = nn.TransformerEncoder(layer, config.trans_layers, enable_nested_tensor=False)
        self.cls_emb = nn.Embedding(1, config.trans_dim)

    def forward(self, vectors: Tensor, counts: Sequence[int]) -> Tensor:
        """Encode the vectors of each utterance.

        Args:
            vectors: float32 (sum of counts, trans_dim), utterance after utterance.
            counts: number of vectors of each of the B utterances.

        Returns:
            float32 (B, trans_dim), the output at CLS.
        """
        padded = pad_sequence(list(torch.split(vectors, list(counts))), batch_first=True)
        cls = self.cls_emb.weight.expand(len(counts), 1, -1)
        lengths = torch.tensor(counts, device=vectors.device)
        places = torch.arange(padded.shape[1] + 1, device=vectors.device)
        encoded: Tensor = self.encoder(
            torch.cat([cls, padded], dim=1),
            src_key_padding_mask=places[None] > lengths[:, None],
        )
        return encoded[:, 0]
