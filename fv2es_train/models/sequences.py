"""Late fusion of feature sequences: an RNN or transformer for each stage, then a mean.

Owns the padding of rows to sequences, also for `mult`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from fv2es_train.data.batches import rows_of
from fv2es_train.models.emotion_model import MeanFusion
from fv2es_train.models.feature_config import TOKENS

if TYPE_CHECKING:
    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.feature_config import SequenceConfig

# Smallest divisor of an input.
_FLOOR = 1e-3
# Length of token vectors.
_EMBEDDING = 32


class Sequences(MeanFusion):
    """Late fusion of sequences, see the module.

    Args:
        config: the configuration.
        widths: see `FeatureConfig.widths`.
    """

    heads = ("classifier",)

    def __init__(self, config: SequenceConfig, widths: Mapping[str, int]) -> None:
        super().__init__(config)
        self.reads = config.reads
        self.branches = nn.ModuleDict(
            {name: _Branch(config, name, widths[name]) for name in config.columns}
        )

    def logits_of(self, letter: str, batch: Batch) -> Tensor:
        """See `MeanFusion`; the mean over the stages of a modality."""
        return torch.stack([self._of(stage, batch) for stage in self.reads[letter]]).mean(0)

    def fit(self, dataset: ShardDataset) -> float:
        """Fit the normalization of each stage on the train subset."""
        fit_normalization(self.branches, dataset)
        return 0.0

    def branch_of(self, name: str) -> str:
        """See `EmotionModel`; no weight serves several modalities."""
        stage = name.split(".")[1]
        return next(letter for letter, stages in self.reads.items() if stage in stages)

    def _of(self, stage: str, batch: Batch) -> Tensor:
        logits: Tensor = self.branches[stage](rows_in(stage, batch))
        return logits


def rows_in(stage: str, batch: Batch) -> tuple[Tensor, ...]:
    """The rows of a stage in a batch, (R, D) for each utterance."""
    return torch.split(batch.extras[stage], batch.extras[f"{stage}/rows"].tolist())


class Rows(nn.Module):
    """Turn the rows of a stage into padded sequences of normalized and pooled vectors.

    Token ids become learned vectors, which are not pooled.

    Args:
        stage: the stage.
        width: see `FeatureConfig.widths`.
        pool: number of rows to average into one.

    Attributes:
        size: length of the vectors.
    """

    def __init__(self, stage: str, width: int, pool: int) -> None:
        super().__init__()
        self.pool, self.size = pool, width
        self.embedding: nn.Embedding | None = None
        if stage == TOKENS:
            self.size = _EMBEDDING
            self.embedding = nn.Embedding(width, _EMBEDDING)
        self.register_buffer("mean", torch.zeros(self.size))
        self.register_buffer("deviation", torch.ones(self.size))

    def padded(self, utterances: tuple[Tensor, ...]) -> tuple[Tensor, Tensor]:
        """Pad B utterances (R, D) to (B, T, size); also return their lengths, (B,), at least 1."""
        sequences = [self._pooled(rows) for rows in utterances]
        return pad_sequence(sequences, batch_first=True), torch.tensor([*map(len, sequences)])

    def _pooled(self, rows: Tensor) -> Tensor:
        """Average every ``pool`` rows; the last vector is the mean of the rest."""
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        if not len(rows):
            return torch.zeros(1, self.size, device=mean.device)
        if self.embedding is not None:
            vectors: Tensor = self.embedding(rows[:, 0].long())
            return vectors
        rows = (rows - mean) / deviation
        if self.pool == 1:
            return rows
        whole = len(rows) // self.pool * self.pool
        parts = [rows[:whole].reshape(-1, self.pool, self.size).mean(1)]
        if whole < len(rows):
            parts.append(rows[whole:].mean(0, keepdim=True))
        return torch.cat(parts)


def fit_normalization(stages: nn.ModuleDict, dataset: ShardDataset) -> None:
    """Compute mean and deviation of the vectors of each stage over all rows of a dataset."""
    vectors = {n: r for n, r in stages.items() if isinstance(r, Rows) and r.embedding is None}
    count = dict.fromkeys(vectors, 0)
    total = {name: np.zeros(rows.size) for name, rows in vectors.items()}
    squares = {name: np.zeros(rows.size) for name, rows in vectors.items()}
    for example in (dataset[row] for row in range(len(dataset))):
        for name in vectors:
            if name in example:
                rows = rows_of(example, name).astype(np.float64)
                count[name] += len(rows)
                total[name] += rows.sum(0)
                squares[name] += np.square(rows).sum(0)
    for name, number in count.items():
        if number:
            mean = total[name] / number
            deviation = np.sqrt(np.maximum(squares[name] / number - np.square(mean), 0))
            vectors[name].get_buffer("mean").copy_(torch.from_numpy(mean))
            floored = torch.from_numpy(np.maximum(deviation, _FLOOR))
            vectors[name].get_buffer("deviation").copy_(floored)


class _Branch(Rows):
    """Map the rows of each utterance to its logits."""

    def __init__(self, config: SequenceConfig, stage: str, width: int) -> None:
        super().__init__(stage, width, config.pool)
        size, between = config.hidden or self.size, config.dropout if config.layers > 1 else 0.0
        self.encoder: nn.Module
        if config.encoder == "transformer":
            self.inward: nn.Module = nn.Linear(self.size, size)
            layer = nn.TransformerEncoderLayer(
                size, config.heads, 4 * size, config.dropout, batch_first=True, norm_first=True
            )
            self.encoder = nn.TransformerEncoder(
                layer, config.layers, nn.LayerNorm(size), enable_nested_tensor=False
            )
        else:
            self.inward = nn.Identity()
            kind = nn.LSTM if config.encoder == "lstm" else nn.GRU
            self.encoder = kind(
                *(self.size, size, config.layers),
                batch_first=True,
                dropout=between,
                bidirectional=config.bidirectional,
            )
            size *= 1 + config.bidirectional
        self.dropout = nn.Dropout(config.dropout)
        # Number of last states, one per direction; 0 pools all states.
        self.last = 1 + config.bidirectional if config.summary == "last" else 0
        self.classifier: nn.Module = nn.Linear(2 * size, config.outputs)
        if self.last:
            half = nn.Linear(size, size // 2)
            out = nn.Linear(size // 2, config.outputs)
            self.classifier = nn.Sequential(half, nn.ReLU(), out)

    def forward(self, utterances: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, C) of B sequences (R, D); an empty one counts as one row of means."""
        padded, lengths = self.padded(utterances)
        past = beyond(padded, lengths)
        inputs = self.inward(padded)
        if isinstance(self.encoder, nn.TransformerEncoder):
            states = self.encoder(inputs + positions(inputs), src_key_padding_mask=past)
        else:
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            every, final = self.encoder(packed)
            if self.last:
                hidden = final[0] if isinstance(final, tuple) else final
                ends = hidden[-self.last :].transpose(0, 1).flatten(1)
                chosen: Tensor = self.classifier(self.dropout(ends))
                return chosen
            states, _ = pad_packed_sequence(every, batch_first=True)
        mean = states.masked_fill(past[:, :, None], 0).sum(1) / lengths[:, None].to(states)
        most = states.masked_fill(past[:, :, None], -torch.inf).amax(1)
        logits: Tensor = self.classifier(self.dropout(torch.cat([mean, most], dim=1)))
        return logits


def beyond(padded: Tensor, lengths: Tensor) -> Tensor:
    """Padding mask, bool (B, T): True after the end of each of B sequences (B, T, D)."""
    past = torch.arange(padded.shape[1])[None] >= lengths[:, None]
    return past.to(padded.device)


def positions(inputs: Tensor) -> Tensor:
    """Sinusoidal position encoding, (T, D): Vaswani et al. 2017, section 3.5."""
    _, length, width = inputs.shape
    place = torch.arange(length, device=inputs.device)[:, None]
    rate = 10_000 ** (-torch.arange(0, width, 2, device=inputs.device) / width)
    angle = place * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(inputs)
