"""The dataset gives back what was written, also in worker processes."""

from __future__ import annotations

import pickle
import resource
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import DataLoader

from fv2es_prep.errors import ShardError, SplitError
from fv2es_prep.shards import reader
from fv2es_train.data.batches import collate
from fv2es_train.data.dataset import ShardDataset, _most_open
from tests import fork_server
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


@pytest.mark.parametrize(
    # Both others hand over a pickled dataset to a process that has nothing open.
    "method",
    ["fork", "forkserver", pytest.param("spawn", marks=pytest.mark.slow)],
)
def test_workers_read_the_same(corpus: Corpus, method: str) -> None:
    fork_server.context()
    dataset = ShardDataset(corpus.shards)
    dataset[0]  # a shard open in this process must not reach the workers
    here, one, two = (
        list(
            DataLoader(
                dataset,
                batch_size=9,
                collate_fn=collate,
                num_workers=workers,
                multiprocessing_context=method if workers else None,
            )
        )
        for workers in (0, 1, 2)
    )
    for batch, *others in zip(here, one, two, strict=True):
        assert_same(batch, *others)


def assert_same(batch: Any, *others: Any) -> None:
    for other in others:
        assert (batch.ids, batch.face_counts) == (other.ids, other.face_counts)
        for name in ("faces", "mel", "tokens", "attention_mask", "label"):
            ours, theirs = getattr(batch, name), getattr(other, name)
            assert ours.equal(theirs) and ours.stride() == theirs.stride()


def test_no_more_shards_are_open_than_a_process_may_have(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("fv2es_train.data.dataset._most_open", lambda _: 2)
    dataset = ShardDataset(corpus.shards)
    # The arrays of a shard that was closed again stay good.
    read = [dataset[n] for n in (0, 10, 20, 30, 0)]
    for example, n in zip(read, (0, 10, 20, 30, 0), strict=True):
        assert np.array_equal(example.faces.rgb, corpus.examples[n].faces.rgb)


def test_a_closed_shard_is_mapped_again_without_a_check_unless_it_has_changed(
    corpus: Corpus, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(corpus.shards, tmp_path / "shards")
    monkeypatch.setattr("fv2es_train.data.dataset._most_open", lambda _: 1)
    dataset = ShardDataset(tmp_path / "shards", verify_reads="first")
    asked: list[Path] = []
    plain = reader.open_shard
    monkeypatch.setattr(reader, "open_shard", lambda path: asked.append(path) or plain(path))
    first = dataset[0]
    for _ in range(2):
        dataset[35]
        again = dataset[0]
        assert np.array_equal(first.faces.rgb, again.faces.rgb)
        assert np.array_equal(first.mel.log_power, again.mel.log_power)
        assert np.array_equal(first.label, again.label) and first.utterance == again.utterance
    assert len(asked) == 2, "a shard was checked again"
    dataset[35]
    with asked[0].open("r+b") as file:
        file.truncate(asked[0].stat().st_size // 2)
    with pytest.raises(ShardError, match=f"{asked[0].name} cannot be read|is damaged"):
        dataset[0]
    assert len(asked) == 3


def test_the_limit_of_open_files_is_raised_as_far_as_needed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    limits, endless = [(1024, 4096)], resource.RLIM_INFINITY
    monkeypatch.setattr(resource, "getrlimit", lambda _: limits[-1])
    monkeypatch.setattr(resource, "setrlimit", lambda _, pair: limits.append(pair))
    most_open = _most_open.__wrapped__
    assert (most_open(100), limits) == (512, [(1024, 4096)])
    assert (most_open(2000), limits[-1]) == (2000, (2512, 4096))
    assert (most_open(9000), limits[-1]) == (3584, (4096, 4096))
    limits.append((1024, endless))
    assert (most_open(9000), limits[-1]) == (9000, (9512, endless))
    limits.append((endless, endless))
    assert most_open(9000) == most_open(10**6) == 32_768


def test_a_dataset_can_be_pickled_while_shards_are_open(corpus: Corpus) -> None:
    dataset = ShardDataset(corpus.shards)
    dataset[0]
    twin = pickle.loads(pickle.dumps(dataset))
    assert twin[35].utterance.id == "utt035"
    dataset.close()
    assert dataset[0].utterance.id == "utt000"
