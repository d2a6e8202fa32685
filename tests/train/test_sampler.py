"""The order of reading: every example once, in an order that seed and epoch decide."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain, pairwise
from typing import Any

import numpy as np
import pytest
import torch

from fv2es_train.config import TrainConfig
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.data.samplers import EpochBatches, block_shuffle
from fv2es_train.evaluation.inference import loader_of
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import build_model
from fv2es_train.training.distributed import World
from tests.train.conftest import CLASSES, SETTINGS, Corpus

ALONE = World(0, 1, torch.device("cpu"))
# Seven shards of different sizes, as a split leaves them.
SHARD = np.repeat(np.arange(7), [5, 1, 9, 4, 4, 7, 3])


def order(pool: int, seed: int = 0) -> list[int]:
    return block_shuffle(SHARD, pool, torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("pool", [1, 2, 3, 7, 99])
def test_every_example_comes_once(pool: int) -> None:
    assert sorted(order(pool)) == list(range(len(SHARD)))


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_only_a_pools_shards_are_read_max_rows(pool: int) -> None:
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
    generator = torch.Generator().manual_seed(0)
    assert block_shuffle(SHARD, 2, generator) != block_shuffle(SHARD, 2, generator)


def test_the_examples_of_a_split_in_any_order_find_their_shards() -> None:
    mixed = np.random.default_rng(0).permutation(SHARD)
    shards = [int(mixed[row]) for row in block_shuffle(mixed, 1, torch.Generator())]
    assert sum(a != b for a, b in pairwise(shards)) == 6


def test_nothing_to_read_is_nothing() -> None:
    assert block_shuffle(SHARD[:0], 2, torch.Generator()) == []


def batches_of(corpus: Corpus, world: World = ALONE, **changes: Any) -> EpochBatches:
    config = replace(TrainConfig(batch_size=4, seed=3), **changes)
    return EpochBatches(ShardDataset(corpus.shards), config, world)


def epoch_of(batches: EpochBatches, epoch: int, seen: int = 0) -> list[list[int]]:
    batches.begin(epoch, seen)
    return list(batches)


@pytest.mark.parametrize("changes", [{}, {"shuffle_shards": 2}, {"bucket": 2}, {"bucket": 99}])
def test_each_epoch_has_every_row_once_in_an_order_of_its_own(
    corpus: Corpus, changes: dict[str, int]
) -> None:
    first, second = (epoch_of(batches_of(corpus, **changes), epoch) for epoch in (1, 2))
    assert sorted(chain(*first)) == sorted(chain(*second)) == list(range(36))
    assert first != second
    assert epoch_of(batches_of(corpus, **changes), 1) == first
    assert epoch_of(batches_of(corpus, seed=4, **changes), 1) != first


def test_an_epoch_can_be_entered_at_any_batch(corpus: Corpus) -> None:
    batches = batches_of(corpus, bucket=3, shuffle_shards=2)
    whole = epoch_of(batches, 5)
    for seen in (0, 1, 8, 9):
        assert epoch_of(batches_of(corpus, bucket=3, shuffle_shards=2), 5, seen) == whole[seen:]
        assert len(batches) == 9


def test_buckets_put_utterances_of_like_length_together(corpus: Corpus) -> None:
    rows = ShardDataset(corpus.shards).mel_rows

    def padding(bucket: int) -> int:
        parts = epoch_of(batches_of(corpus, bucket=bucket), 1)
        return int(sum(rows[part].max() * len(part) - rows[part].sum() for part in parts))

    assert padding(9) < padding(3) < padding(0)


def test_processes_share_each_batch(corpus: Corpus) -> None:
    whole = epoch_of(batches_of(corpus, batch_size=5), 1)
    parts = [
        epoch_of(batches_of(corpus, World(rank, 2, torch.device("cpu")), batch_size=5), 1)
        for rank in (0, 1)
    ]
    for batch, one, other in zip(whole[:-1], *(part[:-1] for part in parts), strict=True):
        assert sorted(one + other) == sorted(batch)
    # One row is left for two processes: both compute it, and it counts half in each.
    assert parts[0][-1] == parts[1][-1] == whole[-1]
    assert World(0, 2, torch.device("cpu")).weight(1) == 0.5


def test_a_step_is_as_many_batches_as_are_accumulated(corpus: Corpus) -> None:
    batches = batches_of(corpus, batch_size=5, accumulate=3)
    batches.begin(1)
    steps = [batches.step_of(number) for number in range(1, 9)]
    assert steps == [(15, False), (15, False), (15, True)] * 2 + [(6, False), (6, True)]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_loader_reads_pool_by_pool(corpus: Corpus, workers: int) -> None:
    config = replace(preset("fv2es-tiny").model, label_classes=CLASSES, modalities="v")
    model = build_model(config, SETTINGS)
    dataset = ShardDataset(corpus.shards)

    def names(shuffle_shards: int) -> list[str]:
        batches = batches_of(corpus, shuffle_shards=shuffle_shards)
        batches.begin(1)
        loader = loader_of(dataset, model, 4, workers, batches=batches)
        return [name for batch in loader for name in batch.ids]  # type: ignore[attr-defined]

    whole, pools = names(0), names(2)
    assert sorted(whole) == sorted(pools) == sorted(dataset.ids)
    shard = dict(zip(dataset.ids, dataset.shard.tolist(), strict=True))
    assert sorted({shard[name] for name in pools[:10]}) != [0, 1, 2, 3]
    assert len({shard[name] for name in whole[:16]}) == 4
    assert names(2) == pools
