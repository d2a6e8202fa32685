"""A training refuses shards that are not those of their index, or not those that it began with."""

from __future__ import annotations

import random
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from fv2es_prep.errors import ShardError, UsageError
from fv2es_prep.shards.index import read_index
from fv2es_prep.types import Example
from fv2es_prep.utils.files import sha256_of
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.training import shard_hashes
from fv2es_train.training.distributed import World
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import resumed
from tests.flips import flipped_bit
from tests.train.conftest import Corpus, options_of, write_shards
from tests.train.test_resume import BreakAt, BrokenOffError


@pytest.fixture
def shards(corpus: Corpus, tmp_path: Path) -> Path:
    return Path(shutil.copytree(corpus.shards, tmp_path / "shards"))


@pytest.fixture
def check(corpus: Corpus, shards: Path, tmp_path: Path) -> Callable[..., shard_hashes.Hashes]:
    """The check of a training of all utterances, begun or resumed."""

    def run(resume: bool = False) -> shard_hashes.Hashes:
        config = replace(options_of(corpus, tmp_path / "run"), shards=shards, resume=resume)
        world = World(0, 1, "cpu")  # type: ignore[arg-type]  # no device is asked for
        return shard_hashes.check([ShardDataset(shards), None], config, world)

    return run


@pytest.mark.parametrize("rewritten", [True, False])
def test_a_run_does_not_continue_with_inverted_labels(
    rewritten: bool, corpus: Corpus, shards: Path, tmp_path: Path
) -> None:
    run, index = tmp_path / "run", (shards / "index.json").read_bytes()
    with pytest.raises(BrokenOffError):
        train(options_of(replace(corpus, shards=shards), run, modalities="t"), BreakAt(2))
    inverted = [Example(e.utterance, 1 - e.label, **e) for e in corpus.examples]
    write_shards(shards, inverted)
    if rewritten:
        with pytest.raises(UsageError, match="the run began with other shards"):
            train(resumed(run))
        return
    (shards / "index.json").write_bytes(index)
    with pytest.raises(ShardError, match="other bytes than its index says"):
        train(resumed(run))


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_every_flipped_bit_is_found_before_the_first_epoch(
    count: int, shards: Path, check: Callable[..., shard_hashes.Hashes]
) -> None:
    chance = random.Random(5)
    paths = sorted(shards.glob("*.h5"))
    for _ in range(count):
        path = chance.choice(paths)
        with flipped_bit(path, chance), pytest.raises(ShardError):
            check()
    check()


def test_a_shard_is_hashed_once_while_it_is_untouched(
    shards: Path,
    tmp_path: Path,
    check: Callable[..., shard_hashes.Hashes],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    hashed: list[str] = []

    def noted(path: Path) -> str:
        hashed.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr(shard_hashes, "sha256_of", noted)
    run = tmp_path / "run"
    run.mkdir()
    shard_hashes.remember(run, check())
    names = [entry.name for entry in read_index(shards).shards]
    assert sorted(hashed) == names
    assert check(resume=True).keys() == {*names}
    assert len(hashed) == len(names)
    (shards / names[1]).touch()
    check(resume=True)
    assert hashed[len(names) :] == [names[1]]
    (run / shard_hashes.NAME).write_text("{")
    check(resume=True)
    assert len(hashed) == 2 * len(names) + 1


def test_the_digests_of_an_example_are_checked_where_asked(shards: Path, corpus: Corpus) -> None:
    path = shards / read_index(shards).shards[0].name
    whole = path.read_bytes()
    pixel = corpus.examples[3].faces.rgb[0].tobytes()
    place = whole.index(pixel)

    def flip() -> None:
        with path.open("r+b") as file:
            file.seek(place)
            (before,) = file.read(1)
            file.seek(place)
            file.write(bytes([before ^ 1]))

    datasets = {name: ShardDataset(shards, None, name) for name in ("never", "first", "always")}
    for dataset in datasets.values():
        assert np.array_equal(dataset[3].faces.rgb, corpus.examples[3].faces.rgb)
    flip()
    # The file is mapped, so all of them see the change.
    assert datasets["never"][3].faces.rgb[0, 0, 0, 0] == datasets["first"][3].faces.rgb[0, 0, 0, 0]
    with pytest.raises(ShardError, match="damaged in row 3: its faces do not match their digest"):
        datasets["always"][3]
    with pytest.raises(ShardError, match="damaged in row 3"):
        ShardDataset(shards, None, "first")[3]
    assert ShardDataset(shards, None, "first")[4].utterance.id == "utt004"
