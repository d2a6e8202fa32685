"""Encode the sound of a whole utterance: convolutions over a normalized log spectrum.

Owns the normalization, which is fitted on train. The published encoder of chunks is in `encoders`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from fv2es_train.data.batches import chunk_count, fill_chunks
from fv2es_train.models.encoders import ConvNorm

if TYPE_CHECKING:
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.fv2es_config import FV2ESConfig

# Smallest divisor of a band, because some low bands are empty.
_FLOOR = 1e-3
# Added to a variance, so that the gradient of its root is finite at 0.
_SMALL = 1e-5


class SoundEncoder(nn.Module):
    """Convolutions over bands and time, then mean and deviation over the time of each utterance.

    The utterances of a batch are concatenated over time in a single picture, with a gap after each.
    So neither a result nor a batch norm depends on the length of the other utterances.
    """

    mean: Tensor
    deviation: Tensor

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__()
        self.merge, self.range = config.sound_merge, config.sound_range
        self.floor = config.mel_floor
        bands = config.mel_bands // self.merge[0]
        self.register_buffer("mean", torch.zeros(bands))
        self.register_buffer("deviation", torch.ones(bands))
        self.stack = _Stack(config.sound_dims, bands)
        self.dropout = nn.Dropout(config.sound_dropout)
        self.width = 2 * config.sound_dims[-1]

    def forward(self, mel: Tensor, counts: Sequence[int]) -> Tensor:
        """Encode the sound of B utterances to vectors, float32 (B, width).

        Args:
            mel: linear power, float32 (sum of counts, 1, M, R); all zero for padding rows.
            counts: number of chunks of each utterance; zero rows of mel may have any M.
        """
        unit = self.stack.unit
        parts, valid = [], []
        for chunks in torch.split(mel, list(counts)):
            steps, there = self.steps(chunks)
            normal = (steps - self.mean[:, None]) / self.deviation[:, None] * there
            blank = unit - steps.shape[1] % unit
            parts.append(functional.pad(normal, (0, blank)))
            valid.append(functional.pad(there.amax(0), (0, blank)))
        states, there = self.stack(torch.cat(parts, 1)[None, None], torch.cat(valid)[None, None])
        lengths = [part.shape[1] // unit for part in parts]
        pooled = []
        for rows, ones in zip(states.split(lengths, 1), there.split(lengths), strict=True):
            # States are zero without sound.
            count = ones.sum().clamp_min(1)
            mean = rows.sum(1) / count
            variance = ((rows - mean[:, None]) * ones).square().sum(1) / count
            pooled.append(torch.cat([mean, (variance + _SMALL).sqrt()]))
        vectors: Tensor = self.dropout(torch.stack(pooled))
        return vectors

    def steps(self, chunks: Tensor) -> tuple[Tensor, Tensor]:
        """Turn the chunks (K, 1, M, R) of an utterance into log power (bands, T), not normalized.

        Each value is the log of the mean power of some bands and rows, at most ``range`` below the
        highest. The second result has the same shape: 0 after the end and where `augment` masks,
        else 1.
        """
        # Not by len(), which would fix the number of chunks of an exported network.
        if not chunks.shape[0]:
            none = self.mean.new_zeros(len(self.mean), 0)
            return none, none
        whole = chunks[:, 0].permute(1, 0, 2).flatten(1)
        power = functional.avg_pool2d(whole[None], self.merge)[0]
        log_power = power.clamp_min(self.floor).log()
        return log_power.clamp_min(log_power.max() - self.range), (power > 0).float()

    def fit(self, dataset: ShardDataset) -> None:
        """Compute mean and deviation of each band over the utterances of a dataset with sound."""
        count, total = 0, torch.zeros(len(self.mean), dtype=torch.double)
        squares = torch.zeros_like(total)
        rows = self.merge[1] * self.stack.unit
        for example in (dataset[row] for row in range(len(dataset))):
            if "mel" not in example:
                continue
            bands = example.mel.log_power.shape[1]
            chunks = np.empty((chunk_count(example.mel, rows), 1, bands, rows), np.float32)
            fill_chunks(example.mel, chunks)
            found, there = self.steps(torch.from_numpy(chunks))
            values = found[:, there.amax(0) > 0].double()
            # Skip non-finite values here; training stops at them and names the utterance.
            if values.isfinite().all():
                count += values.shape[1]
                total, squares = total + values.sum(1), squares + values.square().sum(1)
        if count:
            mean = total / count
            self.mean.copy_(mean)
            deviation = (squares / count - mean.square()).clamp_min(0).sqrt()
            self.deviation.copy_(deviation.clamp_min(_FLOOR))


class _Stack(nn.Module):
    """3x3 convolutions with 2x2 max pooling between them; finally a step combines all bands.

    ``unit``: number of input steps per output step.
    """

    def __init__(self, dims: Sequence[int], bands: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            ConvNorm(i, o, 3) for i, o in zip((1, *dims), dims[:-1], strict=False)
        )
        self.unit = 2 ** (len(self.blocks) - 1)
        self.join = nn.Conv2d(dims[-2], dims[-1], (bands // self.unit, 1), bias=False)
        self.bn = nn.BatchNorm2d(dims[-1])

    def forward(self, x: Tensor, valid: Tensor) -> tuple[Tensor, Tensor]:
        """Map (1, 1, bands, T) and (1, 1, T) to (C, T / unit) and (T / unit,)."""
        x = x.contiguous(memory_format=torch.channels_last)
        for number, block in enumerate(self.blocks):
            if number:
                # Not max_pool1d, which would fix the length of an exported network.
                x, valid = functional.max_pool2d(x, 2), functional.max_pool2d(valid, (1, 2))
            assert isinstance(block, ConvNorm)
            # Gaps stay zero, so neither an utterance nor a batch norm sees the edge of its
            # neighbour.
            there = valid[:, :, None]
            x = functional.relu(block.bn(block.conv(x) * there)) * there
        x = functional.relu(self.bn(self.join(x) * there))[:, :, 0] * valid
        return x[0], valid[0, 0]
