"""Augmentation: off by default, decided by seed, epoch and id, and the shards' arrays stay."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fv2es_prep.errors import UsageError
from fv2es_train.config import TrainConfig
from fv2es_train.data.augmentation import augment
from fv2es_train.data.batches import collate
from fv2es_train.training.loop import train
from tests.train.conftest import Corpus, make_examples, options_of

EXAMPLES = make_examples(12)
BATCH = collate(EXAMPLES)


def test_it_is_off_by_default() -> None:
    assert TrainConfig().augment == ()
    assert augment(BATCH, (), 0, 1) is BATCH


def test_all_faces_of_some_utterances_are_mirrored() -> None:
    after = augment(BATCH, ("flip",), 0, 1)
    parts = zip(
        after.faces.split(list(BATCH.face_counts)),
        BATCH.faces.split(list(BATCH.face_counts)),
        strict=True,
    )
    kinds = []
    for new, old in parts:
        assert new.equal(old) or new.equal(old.flip(-1))
        kinds.append(new.equal(old))
    assert 2 < sum(kinds) < 10
    assert after.mel.equal(BATCH.mel)


def test_bands_and_times_of_a_spectrum_are_masked() -> None:
    after = augment(BATCH, ("spec",), 0, 1)
    assert after.mel.shape == BATCH.mel.shape and after.faces.equal(BATCH.faces)
    for new, old in zip(
        *(b.mel.split(list(BATCH.chunk_counts)) for b in (after, BATCH)), strict=True
    ):
        changed = (new != old)[:, 0].permute(1, 0, 2).reshape(128, -1)
        real = (old != 0)[:, 0].permute(1, 0, 2).reshape(128, -1)
        assert bool((new[new != old] == 0).all())
        bands = changed.sum(1) == real.sum(1)
        times = changed.sum(0) == real.sum(0)
        # What is masked is whole bands and whole times, and nothing else.
        assert changed.equal((bands[:, None] | times[None]) & real)
        assert float(bands.float().mean()) < 0.68
    assert not after.mel.equal(BATCH.mel)


@pytest.mark.parametrize("kinds", [("flip",), ("spec",), ("flip", "spec")])
def test_an_utterance_is_changed_alike_in_any_batch(kinds: tuple[str, ...]) -> None:
    before = torch.get_rng_state()
    whole, again = augment(BATCH, kinds, 5, 2), augment(BATCH, kinds, 5, 2)
    part = augment(collate(EXAMPLES[4:7]), kinds, 5, 2)
    faces, chunks = sum(BATCH.face_counts[:4]), sum(BATCH.chunk_counts[:4])
    assert whole.faces.equal(again.faces) and whole.mel.equal(again.mel)
    assert part.faces.equal(whole.faces[faces:][: len(part.faces)])
    assert part.mel.equal(whole.mel[chunks:][: len(part.mel)])
    other = augment(BATCH, kinds, 5, 3)
    assert not (other.faces.equal(whole.faces) and other.mel.equal(whole.mel))
    assert torch.get_rng_state().equal(before)


def test_shards_are_left_alone(corpus: Corpus, tmp_path: Path) -> None:
    before = [path.read_bytes() for path in sorted(corpus.shards.glob("*.h5"))]
    train(options_of(corpus, tmp_path / "run", modalities="av", epochs=1, augment=("flip", "spec")))
    assert [path.read_bytes() for path in sorted(corpus.shards.glob("*.h5"))] == before


def test_an_unknown_augmentation_is_refused() -> None:
    with pytest.raises(UsageError, match=r"augment is .*'blur'.*, expected list\[flip \| spec\]"):
        TrainConfig(augment=("flip", "blur"))  # type: ignore[arg-type]  # wrong on purpose
