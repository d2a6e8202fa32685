"""Cross-modal attention over feature sequences: section 3 of Tsai et al. 2019, arXiv 1906.00295.

Each ordered pair of modalities has a transformer: its queries come from one, its keys and values
from the other. With a single modality, a plain transformer remains.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.sequences import Rows, beyond, fit_normalization, positions, rows_in

if TYPE_CHECKING:
    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.feature_config import MultConfig


class MulT(EmotionModel):
    """The multimodal transformer, see the module.

    A missing modality of an utterance is not read and does not reach the classifier; the others are
    scaled by the number of all modalities divided by the number of present ones.

    Args:
        config: the configuration.
        widths: see `FeatureConfig.widths`.
    """

    heads = ("classifier",)

    def __init__(self, config: MultConfig, widths: Mapping[str, int]) -> None:
        super().__init__(config)
        self.reads, size, letters = config.reads, config.hidden, config.modalities
        rows = {name: Rows(name, widths[name], config.pool) for name in config.columns}
        self.rows = nn.ModuleDict(rows)
        self.inward = nn.ModuleDict({name: nn.Linear(r.size, size) for name, r in rows.items()})
        self.crossed = nn.ModuleDict(
            {
                one + other: _CrossModal(config)
                for one in letters
                for other in letters
                if one != other
            }
        )
        width = size * max(1, len(letters) - 1)
        self.memory = nn.ModuleDict({letter: _transformer(config, width) for letter in letters})
        joined = width * len(letters)
        self.dropout = nn.Dropout(config.dropout)
        self.residual = nn.Sequential(
            nn.Linear(joined, joined),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(joined, joined),
        )
        self.classifier = nn.Linear(joined, config.outputs)

    def fit(self, dataset: ShardDataset) -> float:
        """Fit the normalization of each stage on the train subset."""
        fit_normalization(self.rows, dataset)
        return 0.0

    def forward(self, batch: Batch) -> Tensor:
        """See `EmotionModel`."""
        read = {letter: self._read(letter, batch) for letter in self.modalities}
        present = torch.tensor(
            [[float(m not in lacks) for m in self.modalities] for lacks in batch.missing]
        ).to(batch.label.device)
        here = dict(zip(self.modalities, present.T, strict=True))
        joined = torch.cat([self._memory(m, read, here) * here[m][:, None] for m in read], dim=1)
        count = present.sum(1, keepdim=True)
        joined = joined * (len(self.modalities) / count.clamp_min(1))
        logits: Tensor = self.classifier(self.dropout(joined + self.residual(joined)))
        return logits * (count > 0)

    def branch_of(self, name: str) -> str:
        """See `EmotionModel`; attention between modalities serves several."""
        part, _, rest = name.partition(".")
        if len(self.modalities) == 1 or part not in ("rows", "inward"):
            return super().branch_of(name)
        stage = rest.partition(".")[0]
        return next(letter for letter, stages in self.reads.items() if stage in stages)

    def _read(self, letter: str, batch: Batch) -> tuple[Tensor, Tensor]:
        """Concatenate its stages over time: (B, T, hidden), and bool (B, T), True for padding."""
        vectors, past = [], []
        for stage in self.reads[letter]:
            padded, lengths = self.rows[stage].padded(rows_in(stage, batch))  # type: ignore[operator]  # of Rows
            inward = self.inward[stage](padded)
            vectors.append(inward + positions(inward))
            past.append(beyond(padded, lengths))
        return torch.cat(vectors, dim=1), torch.cat(past, dim=1)

    def _memory(
        self, letter: str, read: Mapping[str, tuple[Tensor, Tensor]], here: Mapping[str, Tensor]
    ) -> Tensor:
        """Attend from one modality to the others and average over time: (B, hidden (M - 1))."""
        own, past = read[letter]
        others = [m for m in read if m != letter]
        parts = [self.crossed[letter + m](own, *read[m], here[m]) for m in others] or [own]
        states = self.memory[letter](torch.cat(parts, dim=2), src_key_padding_mask=past)
        kept = (~past)[:, :, None].to(states)
        pooled: Tensor = (states * kept).sum(1) / kept.sum(1)
        return pooled


class _CrossModal(nn.Module):
    """Layers in which one sequence attends to another one, which stays fixed."""

    def __init__(self, config: MultConfig) -> None:
        super().__init__()
        self.source_norm = nn.LayerNorm(config.hidden)
        self.layers = nn.ModuleList(_CrossLayer(config) for _ in range(config.layers))
        self.norm = nn.LayerNorm(config.hidden)

    def forward(self, own: Tensor, other: Tensor, past: Tensor, here: Tensor) -> Tensor:
        """Map (B, T, D) and (B, S, D) to (B, T, D); ``here`` (B,) is 0 if the other is missing."""
        source = self.source_norm(other)
        for layer in self.layers:
            own = layer(own, source, past, here)
        states: Tensor = self.norm(own)
        return states


class _CrossLayer(nn.Module):
    """Cross-attention and a feed-forward part, each with pre-norm and a residual."""

    def __init__(self, config: MultConfig) -> None:
        super().__init__()
        size, rate = config.hidden, config.dropout
        self.norm, self.second_norm = nn.LayerNorm(size), nn.LayerNorm(size)
        self.attention = nn.MultiheadAttention(size, config.heads, rate, batch_first=True)
        self.feed_forward = nn.Sequential(
            nn.Linear(size, 4 * size), nn.ReLU(), nn.Dropout(rate), nn.Linear(4 * size, size)
        )
        self.dropout = nn.Dropout(rate)

    def forward(self, own: Tensor, source: Tensor, past: Tensor, here: Tensor) -> Tensor:
        """See `_CrossModal`."""
        found, _ = self.attention(
            self.norm(own), source, source, key_padding_mask=past, need_weights=False
        )
        own = own + self.dropout(found) * here[:, None, None]
        states: Tensor = own + self.dropout(self.feed_forward(self.second_norm(own)))
        return states


def _transformer(config: MultConfig, width: int) -> nn.TransformerEncoder:
    layer = nn.TransformerEncoderLayer(
        *(width, config.heads, 4 * width, config.dropout), batch_first=True, norm_first=True
    )
    return nn.TransformerEncoder(
        layer, config.layers, nn.LayerNorm(width), enable_nested_tensor=False
    )
