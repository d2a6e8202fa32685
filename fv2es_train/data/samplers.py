"""The order of a dataset: shuffling within blocks of shards, and the batches of each epoch."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_train.config import TrainConfig
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.training.distributed import World


def block_shuffle(shard: NDArray[np.int64], pool: int, generator: torch.Generator) -> list[int]:
    """Return every example once, shuffled within pools of ``pool`` shards; the pools are shuffled.

    An epoch reads each shard once, whereas a full shuffle returns to every shard many times. The
    order is less random: a batch mixes recordings and speakers of one pool only (two at a border).

    Args:
        shard: int64 (N,), the shard of each example.
        pool: shards per pool, at least 1; use as many as fit in memory.
        generator: source of the random order.
    """
    rows = np.argsort(shard, kind="stable")
    ends = np.flatnonzero(np.diff(shard[rows])) + 1
    blocks = [torch.from_numpy(block) for block in np.split(rows, ends) if len(block)]
    order, shuffled = torch.randperm(len(blocks), generator=generator).tolist(), []
    for places in _cut(order, pool):
        mixed = torch.cat([blocks[place] for place in places])
        shuffled += mixed[torch.randperm(len(mixed), generator=generator)].tolist()
    return shuffled


class EpochBatches(Sampler[list[int]]):
    """The batches of an epoch, from any batch on; their order depends only on seed and epoch.

    Args:
        dataset: the train subset.
        config: batch size, seed and shuffling.
        world: the processes that share each batch.

    Attributes:
        batches: rows of the dataset for each batch of the whole current epoch.
        seen: number of batches to skip at the start.
    """

    def __init__(self, dataset: ShardDataset, config: TrainConfig, world: World) -> None:
        self._dataset, self._config, self._world = dataset, config, world
        self.batches: list[list[int]] = []
        self.seen = 0

    def begin(self, epoch: int, seen: int = 0) -> None:
        """Start an epoch after ``seen`` of its batches."""
        self.batches, self.seen = self._plan(epoch), seen

    def __len__(self) -> int:
        return len(self.batches) - self.seen

    def __iter__(self) -> Iterator[list[int]]:
        for rows in self.batches[self.seen :]:
            yield self._world.share(rows)

    def step_of(self, number: int) -> tuple[int, bool]:
        """Utterances in the optimizer step of batch ``number`` (from 1); whether it is the last."""
        width = self._config.accumulate
        first = (number - 1) // width * width
        together = self.batches[first : first + width]
        return sum(map(len, together)), number == first + len(together)

    def _plan(self, epoch: int) -> list[list[int]]:
        digest = blake2b(f"{self._config.seed}/{epoch}".encode(), digest_size=7).digest()
        generator = torch.Generator().manual_seed(int.from_bytes(digest, "big"))
        size, window = self._config.batch_size, self._config.bucket * self._config.batch_size
        rows = self._shuffled(generator)
        if not window:
            return _cut(rows, size)
        batches = []
        for part in _cut(rows, window):
            by_length = _cut(sorted(part, key=self._dataset.mel_rows.__getitem__), size)
            order = torch.randperm(len(by_length), generator=generator).tolist()
            batches += [by_length[place] for place in order]
        return batches

    def _shuffled(self, generator: torch.Generator) -> list[int]:
        if self._config.shuffle_shards:
            return block_shuffle(self._dataset.shard, self._config.shuffle_shards, generator)
        shuffled: list[int] = torch.randperm(len(self._dataset), generator=generator).tolist()
        return shuffled


def _cut(rows: list[int], size: int) -> list[list[int]]:
    return [rows[begin : begin + size] for begin in range(0, len(rows), size)]
