"""In which order a dataset that is larger than memory is read: shard by shard, yet shuffled.

Owns the block shuffle. Leaves the shuffle of a whole dataset to torch and reading to `dataset`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.utils.data import Sampler

if TYPE_CHECKING:
    from numpy.typing import NDArray


class BlockShuffle(Sampler[int]):
    """Every example once, shuffled within pools of a few shards.

    The shards are taken in random order, ``pool`` of them at a time, and the examples of each pool
    are shuffled among themselves. So only a pool's shards are read from at a time, and each is read
    once in a pass, where a shuffle of the whole dataset would come back to each shard all the time.

    It is less random than that. An example comes at any place within its pool and at none outside;
    so all examples of a pool are seen before the first of the next. A batch mixes the recordings
    and speakers of one pool only (of two, where one ends), and its gradient leans to them. The
    pools are drawn anew in each pass. Take as many shards as memory holds well.

    Args:
        shard: int64 (N,), the shard that each example of the dataset lies in.
        pool: shards in a pool, at least 1.
        generator: decides the order; the same state gives the same order.
    """

    def __init__(self, shard: NDArray[np.int64], pool: int, generator: torch.Generator) -> None:
        rows = np.argsort(shard, kind="stable")
        ends = np.flatnonzero(np.diff(shard[rows])) + 1
        self._blocks = [torch.from_numpy(block) for block in np.split(rows, ends) if len(block)]
        self._count = len(rows)
        self._pool = pool
        self._generator = generator

    def __len__(self) -> int:
        return self._count

    def __iter__(self) -> Iterator[int]:
        order = torch.randperm(len(self._blocks), generator=self._generator)
        for begin in range(0, len(order), self._pool):
            places = order[begin : begin + self._pool].tolist()
            rows = torch.cat([self._blocks[place] for place in places])
            yield from rows[torch.randperm(len(rows), generator=self._generator)].tolist()
