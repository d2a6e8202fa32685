"""The dataset gives back what was written, also in worker processes."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
from torch.utils.data import DataLoader

from fv2es_prep.errors import SplitError
from fv2es_train.batch import collate
from fv2es_train.dataset import ShardDataset
from tests.train.conftest import Corpus


def test_all_examples_in_order(corpus: Corpus) -> None:
    dataset = ShardDataset(corpus.shards)
    assert dataset.ids == tuple(e.utterance.id for e in corpus.examples)
    for read, written in zip(dataset, corpus.examples, strict=False):
        assert read.utterance.id == written.utterance.id
        assert np.array_equal(read.faces.rgb, written.faces.rgb)
        assert np.array_equal(read.tokens, written.tokens)


def test_chosen_ids_in_the_chosen_order(corpus: Corpus) -> None:
    dataset = ShardDataset(corpus.shards, ["utt030", "utt002"])
    assert [dataset[n].utterance.id for n in range(len(dataset))] == ["utt030", "utt002"]
    expected = [corpus.examples[30].label, corpus.examples[2].label]
    assert np.array_equal(dataset.label, np.stack(expected))


def test_unknown_ids_are_counted_and_the_first_is_named(corpus: Corpus) -> None:
    with pytest.raises(SplitError, match=r"2 of 3 utterance ids .* the first is 'nobody'"):
        ShardDataset(corpus.shards, ["utt000", "nobody", "noone"])


def test_workers_read_the_same(corpus: Corpus) -> None:
    dataset = ShardDataset(corpus.shards)
    dataset[0]  # a shard open in this process must not reach the workers
    loaders = [
        DataLoader(dataset, batch_size=9, collate_fn=collate, num_workers=workers)
        for workers in (0, 2)
    ]
    for here, there in zip(*loaders, strict=True):
        assert here.ids == there.ids
        assert here.mel.equal(there.mel)


def test_a_dataset_can_be_pickled_while_shards_are_open(corpus: Corpus) -> None:
    dataset = ShardDataset(corpus.shards)
    dataset[0]
    twin = pickle.loads(pickle.dumps(dataset))
    assert twin[35].utterance.id == "utt035"
    dataset.close()
    assert dataset[0].utterance.id == "utt000"
