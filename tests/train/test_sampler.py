"""The block shuffle: every example once, pool by pool, in an order that the seed decides."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch

from fv2es_train.config import preset
from fv2es_train.dataset import ShardDataset
from fv2es_train.model import build_model
from fv2es_train.passes import loader_of
from fv2es_train.sampler import BlockShuffle
from tests.train.conftest import CLASSES, SETTINGS, Corpus

# Seven shards of different sizes, as a split leaves them.
SHARD = np.repeat(np.arange(7), [5, 1, 9, 4, 4, 7, 3])


def order(pool: int, seed: int = 0) -> list[int]:
    return list(BlockShuffle(SHARD, pool, torch.Generator().manual_seed(seed)))


@pytest.mark.parametrize("pool", [1, 2, 3, 7, 99])
def test_every_example_comes_once(pool: int) -> None:
    assert sorted(order(pool)) == list(range(len(SHARD)))
    assert len(BlockShuffle(SHARD, pool, torch.Generator())) == len(SHARD)


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_only_a_pools_shards_are_read_at_a_time(pool: int) -> None:
    shards = [int(SHARD[row]) for row in order(pool)]
    seen = list(dict.fromkeys(shards))
    for begin in range(0, len(seen), pool):
        places = [place for place, shard in enumerate(shards) if shard in seen[begin:][:pool]]
        assert places == list(range(places[0], places[-1] + 1))


def test_within_a_pool_shards_are_mixed_and_out_of_order() -> None:
    shards = [int(SHARD[row]) for row in order(7)]
    assert shards != sorted(shards)
    assert sum(a != b for a, b in pairwise(shards)) > len(set(shards))


def test_the_seed_decides_the_order_and_each_pass_has_its_own() -> None:
    assert order(2) == order(2) != order(2, seed=1)
    sampler = BlockShuffle(SHARD, 2, torch.Generator().manual_seed(0))
    assert list(sampler) != list(sampler)


def test_the_examples_of_a_split_in_any_order_find_their_shards() -> None:
    mixed = np.random.default_rng(0).permutation(SHARD)
    sampler = BlockShuffle(mixed, 1, torch.Generator())
    shards = [int(mixed[row]) for row in sampler]
    assert sum(a != b for a, b in pairwise(shards)) == 6


def test_nothing_to_read_is_nothing() -> None:
    assert list(BlockShuffle(SHARD[:0], 2, torch.Generator())) == []


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_reads_pool_by_pool(corpus: Corpus, workers: int) -> None:
    config = replace(preset("fv2es-tiny")[0], label_classes=CLASSES, modalities="v")
    model = build_model(config, SETTINGS)
    dataset = ShardDataset(corpus.shards)

    def names(shuffle_shards: int) -> list[str]:
        generator = torch.Generator().manual_seed(3)
        loader = loader_of(dataset, model, 4, workers, generator, shuffle_shards)
        return [name for batch in loader for name in batch.ids]  # type: ignore[attr-defined]

    whole, pools = names(0), names(2)
    assert sorted(whole) == sorted(pools) == sorted(dataset.ids)
    shard = dict(zip(dataset.ids, dataset.shard.tolist(), strict=True))
    assert sorted({shard[name] for name in pools[:10]}) != [0, 1, 2, 3]
    assert len({shard[name] for name in whole[:16]}) == 4
    assert names(2) == pools
