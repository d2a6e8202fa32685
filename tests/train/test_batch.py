"""Examples become tensors of the published shapes, and nothing of them is lost."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fv2es_prep.types import Example, Faces, MelSpectrum
from fv2es_train.data.batches import Batch, chunk_count, collate, fill_chunks
from tests.train.conftest import make_examples


def test_shapes_and_counts_of_a_ragged_batch() -> None:
    examples = make_examples(3)
    batch = collate(examples, pad_id=7)
    assert batch.face_counts == tuple(len(e.faces.rgb) for e in examples)
    assert batch.chunk_counts == tuple(-(-len(e.mel.log_power) // 32) for e in examples)
    assert batch.faces.shape == (sum(batch.face_counts), 3, 48, 48)
    assert batch.mel.shape == (sum(batch.chunk_counts), 1, 128, 32)
    assert batch.label.dtype == batch.faces.dtype == batch.mel.dtype == torch.float32
    assert batch.ids == ("utt000", "utt001", "utt002")


def test_tokens_are_filled_with_the_pad_id_and_masked() -> None:
    examples = make_examples(4)
    batch = collate(examples, pad_id=7)
    for row, example in enumerate(examples):
        length = len(example.tokens)
        assert batch.tokens[row, :length].tolist() == example.tokens.tolist()
        assert set(batch.tokens[row, length:].tolist()) <= {7}
        assert batch.attention_mask[row].sum() == length


def test_faces_keep_their_pixels() -> None:
    example = make_examples(1)[0]
    faces = collate([example]).faces.permute(0, 2, 3, 1).numpy()
    assert np.array_equal(faces, example.faces.rgb)


@pytest.mark.parametrize(("rows", "chunks"), [(1, 1), (32, 1), (33, 2), (64, 2), (70, 3)])
def test_chunks_are_the_power_in_order_then_zeros(rows: int, chunks: int) -> None:
    log_power = np.random.default_rng(0).normal(-5, 2, (rows, 128)).astype(np.float16)
    mel = MelSpectrum(log_power, 0.0125)
    assert chunk_count(mel, 32) == chunks
    cut = np.full((chunks, 1, 128, 32), np.nan, np.float32)
    fill_chunks(mel, cut)
    whole = np.concatenate([chunk[0] for chunk in cut], axis=1)
    assert np.array_equal(whole[:, :rows], np.exp(log_power.astype(np.float32)).T)
    assert not whole[:, rows:].any()


def test_a_batch_refuses_counts_that_do_not_add_up() -> None:
    batch = collate(make_examples(2))
    with pytest.raises(ValueError, match="faces has"):
        Batch(**{**vars(batch), "face_counts": (1, 99)})


def test_a_batch_moves_to_a_device_as_a_copy() -> None:
    batch = collate(make_examples(2))
    moved = batch.to("meta")
    assert moved.faces.device.type == moved.label.device.type == "meta"
    assert batch.faces.device.type == "cpu"


def test_a_batch_is_a_copy_of_what_it_is_made_of() -> None:
    examples = make_examples(2)
    batch = collate(examples)
    before = batch.faces.clone(), batch.mel.clone()
    for example in examples:
        example.faces.rgb[:] = 0
        example.mel.log_power[:] = 0
    assert batch.faces.equal(before[0]) and batch.mel.equal(before[1])


def test_an_example_without_faces_or_spectrum_takes_no_room() -> None:
    full, empty = make_examples(2)
    faces = {name: getattr(empty.faces, name)[:0] for name in vars(empty.faces)}
    empty = empty.replace(faces=Faces(**faces), mel=MelSpectrum(np.zeros((0, 128), "f2"), 0.0125))
    batch = collate([empty, full])
    assert (batch.face_counts[0], batch.chunk_counts[0]) == (0, 0)
    assert batch.mel.equal(collate([full]).mel)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_pinned_batch_is_the_same_on_the_gpu() -> None:
    batch = collate(make_examples(2))
    pinned = batch.pin_memory()
    assert pinned.faces.is_pinned() and pinned.label.is_pinned()
    moved = pinned.to("cuda").to("cpu")
    assert moved.mel.equal(batch.mel) and moved.faces.equal(batch.faces)


def test_stages_that_the_shards_lack_are_empty() -> None:
    examples = [Example(e.utterance, e.label, mel=e.mel) for e in make_examples(2)]
    batch, whole = collate(examples), collate(make_examples(2))
    assert batch.mel.equal(whole.mel) and batch.chunk_counts == whole.chunk_counts
    assert batch.face_counts == (0, 0) and len(batch.faces) == 0
    assert batch.tokens.shape == (2, 0)
