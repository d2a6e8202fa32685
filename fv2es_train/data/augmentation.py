"""Augmentation of a batch: mirrored faces, masked spectra.

The augmentation of an utterance depends only on the seed, the epoch and its id.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import TYPE_CHECKING

import torch
from torch import Tensor

if TYPE_CHECKING:
    from fv2es_train.data.batches import Batch

# SpecAugment (Park et al. 2019, arXiv 1904.08779): two masks along each axis. Time masks are as
# wide as theirs, 100 frames of 10 ms; band masks are half as wide, which was better on few
# utterances.
_MASKS = 2
_BANDS = 20
_ROWS = 80
# Largest share of the length of an utterance that a mask may cover.
_SHARE = 0.15


def augment(batch: Batch, kinds: tuple[str, ...], seed: int, epoch: int) -> Batch:
    """Return an augmented copy of a batch on the CPU; the batch itself if ``kinds`` is empty.

    ``flip`` mirrors all faces of an utterance with probability 1/2; ``spec`` masks bands and time
    spans of the spectrum (SpecAugment).
    """
    if "flip" in kinds:
        batch = _flip(batch, _keys(batch.ids, seed, epoch, "flip"))
    if "spec" in kinds:
        batch = _spec(batch, _keys(batch.ids, seed, epoch, "spec"))
    return batch


def _flip(batch: Batch, keys: list[int]) -> Batch:
    mirrored = torch.tensor([key % 2 == 0 for key in keys])
    chosen = torch.repeat_interleave(mirrored, torch.tensor(batch.face_counts))
    faces = torch.where(chosen[:, None, None, None], batch.faces.flip(-1), batch.faces)
    return replace(batch, faces=faces)


def _spec(batch: Batch, keys: list[int]) -> Batch:
    split = torch.split(batch.mel, list(batch.chunk_counts))
    # torchaudio draws masks from torch's generator.
    with torch.random.fork_rng(devices=[]):
        parts = [_masked(chunks, key) for chunks, key in zip(split, keys, strict=True)]
    return replace(batch, mel=torch.cat(parts))


def _masked(chunks: Tensor, key: int) -> Tensor:
    """Mask the chunks (K, 1, M, R) of an utterance as one spectrum (M, K * R)."""
    if not chunks.numel():
        # The utterance has no sound, or the model reads none.
        return chunks
    from torchaudio.transforms import FrequencyMasking, TimeMasking

    torch.default_generator.manual_seed(key)
    count, _, bands, rows = chunks.shape
    whole = chunks[:, 0].permute(1, 0, 2).reshape(1, bands, count * rows)
    for _ in range(_MASKS):
        whole = FrequencyMasking(min(_BANDS, bands))(whole)
        whole = TimeMasking(_ROWS, p=_SHARE)(whole)
    return whole.reshape(bands, count, 1, rows).permute(1, 2, 0, 3).contiguous()


def _keys(ids: Sequence[str], seed: int, epoch: int, use: str) -> list[int]:
    """A signed 64-bit seed for each utterance."""
    texts = (f"{seed}/{epoch}/{use}/{name}".encode() for name in ids)
    return [int.from_bytes(blake2b(t, digest_size=8).digest(), "big", signed=True) for t in texts]
