"""Late fusion of feature sequences: an RNN or transformer for each stage, then a mean."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence, pad_sequence

from fv2es_train.data.batches import rows_of
from fv2es_train.models.emotion_model import MeanFusion

if TYPE_CHECKING:
    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.feature_config import SequenceConfig

# Smallest deviation that an input is divided by.
_FLOOR = 1e-3


class Sequences(MeanFusion):
    """See the module.

    Args:
        config: the configuration.
        widths: stage -> length of its vectors.
    """

    heads = ("classifier",)

    def __init__(self, config: SequenceConfig, widths: Mapping[str, int]) -> None:
        super().__init__(config)
        self.reads = config.reads
        classes = len(config.label_classes)
        self.branches = nn.ModuleDict(
            {name: _Branch(config, widths[name], classes) for name in config.columns}
        )

    def logits_of(self, letter: str, batch: Batch) -> Tensor:
        """See `MeanFusion`; the mean over the stages of a modality."""
        return torch.stack([self._of(stage, batch) for stage in self.reads[letter]]).mean(0)

    def fit(self, dataset: ShardDataset) -> float:
        """Take the normalization of each stage from the train subset."""
        none = torch.zeros((), dtype=torch.double)
        counts = dict.fromkeys(self.branches, 0)
        totals, squares = dict.fromkeys(self.branches, none), dict.fromkeys(self.branches, none)
        for example in (dataset[row] for row in range(len(dataset))):
            for stage in self.branches:
                if stage in example:
                    rows = torch.tensor(rows_of(example, stage)).double()
                    counts[stage] += len(rows)
                    totals[stage] = totals[stage] + rows.sum(0)
                    squares[stage] = squares[stage] + rows.square().sum(0)
        for stage, count in counts.items():
            if count:
                branch, mean = self.branches[stage], totals[stage] / count
                deviation = (squares[stage] / count - mean.square()).clamp_min(0).sqrt()
                branch.get_buffer("mean").copy_(mean)
                branch.get_buffer("deviation").copy_(deviation.clamp_min(_FLOOR))
        return 0.0

    def branch_of(self, name: str) -> str:
        """See `EmotionModel`; no weight is of several."""
        stage = name.split(".")[1]
        return next(letter for letter, stages in self.reads.items() if stage in stages)

    def _of(self, stage: str, batch: Batch) -> Tensor:
        rows = torch.split(batch.extras[stage], batch.extras[f"{stage}/rows"].tolist())
        logits: Tensor = self.branches[stage](rows)
        return logits


class _Branch(nn.Module):
    """From the rows of each utterance to its logits."""

    def __init__(self, config: SequenceConfig, width: int, classes: int) -> None:
        super().__init__()
        self.pool, self.width = config.pool, width
        self.register_buffer("mean", torch.zeros(width))
        self.register_buffer("deviation", torch.ones(width))
        size, between = config.hidden, config.dropout if config.layers > 1 else 0.0
        self.encoder: nn.Module
        if config.encoder == "transformer":
            self.inward: nn.Module = nn.Linear(width, size)
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
                *(width, size, config.layers),
                batch_first=True,
                dropout=between,
                bidirectional=config.bidirectional,
            )
            size *= 1 + config.bidirectional
        self.dropout = nn.Dropout(config.dropout)
        self.classifier = nn.Linear(2 * size, classes)

    def forward(self, utterances: tuple[Tensor, ...]) -> Tensor:
        """Logits (B, C) of B sequences (R, D); an empty one counts as a row of means."""
        pooled = [self._pooled(rows) for rows in utterances]
        lengths = torch.tensor([len(rows) for rows in pooled])
        padded = pad_sequence(pooled, batch_first=True)
        past = torch.arange(padded.shape[1])[None] >= lengths[:, None]
        past = past.to(padded.device)
        inputs = self.inward(padded)
        if isinstance(self.encoder, nn.TransformerEncoder):
            states = self.encoder(inputs + _positions(inputs), src_key_padding_mask=past)
        else:
            packed = pack_padded_sequence(inputs, lengths, batch_first=True, enforce_sorted=False)
            states, _ = pad_packed_sequence(self.encoder(packed)[0], batch_first=True)
        mean = states.masked_fill(past[:, :, None], 0).sum(1) / lengths[:, None].to(states)
        most = states.masked_fill(past[:, :, None], -torch.inf).amax(1)
        logits: Tensor = self.classifier(self.dropout(torch.cat([mean, most], dim=1)))
        return logits

    def _pooled(self, rows: Tensor) -> Tensor:
        """Normalized rows, each the mean of ``pool`` of them; the last of what is left."""
        mean, deviation = self.get_buffer("mean"), self.get_buffer("deviation")
        if not len(rows):
            return torch.zeros(1, self.width, device=mean.device)
        parts = torch.split((rows - mean) / deviation, self.pool)
        last = parts[-1].mean(0, keepdim=True)
        if len(parts) == 1:
            return last
        return torch.cat([torch.stack(parts[:-1]).mean(1), last])


def _positions(inputs: Tensor) -> Tensor:
    """Sines and cosines of the position, (T, D): Vaswani et al. 2017, section 3.5."""
    _, length, width = inputs.shape
    place = torch.arange(length, device=inputs.device)[:, None]
    rate = 10_000 ** (-torch.arange(0, width, 2, device=inputs.device) / width)
    angle = place * rate
    return torch.stack([angle.sin(), angle.cos()], dim=-1).flatten(1).to(inputs)
