"""Examples put together into the tensors that the model reads.

Owns padding, chunking and axis order. Leaves reading examples to `dataset` and normalizing faces
and spectra to the encoders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example, MelSpectrum

CHUNK_ROWS = 32


@dataclass(frozen=True)
class Batch:
    """B utterances side by side; faces and chunks of all utterances follow one another.

    Attributes:
        ids: the B utterance ids.
        faces: float32 (sum of F, 3, S, S), colour order RGB, scale 0..255.
        face_counts: number of faces of each utterance.
        mel: float32 (sum of K, 1, M, R), linear power, M mel bands by R = 32 rows of time; each
            utterance's last chunk is filled with zeros on the right.
        chunk_counts: number of chunks K of each utterance.
        tokens: int64 (B, L), filled on the right with the tokenizer's pad id.
        attention_mask: int64 (B, L), 1 where there is a token.
        label: float32 (B, C), 1 where the class holds.
    """

    ids: tuple[str, ...]
    faces: Tensor
    face_counts: tuple[int, ...]
    mel: Tensor
    chunk_counts: tuple[int, ...]
    tokens: Tensor
    attention_mask: Tensor
    label: Tensor

    def __post_init__(self) -> None:
        for name, rows, expected in (
            ("faces", len(self.faces), sum(self.face_counts)),
            ("mel", len(self.mel), sum(self.chunk_counts)),
            ("tokens", len(self.tokens), len(self.ids)),
            ("attention_mask", self.attention_mask.shape, self.tokens.shape),
            ("label", len(self.label), len(self.ids)),
        ):
            if rows != expected:
                raise ValueError(f"the batch's {name} has {rows} rows, expected {expected}")

    def __len__(self) -> int:
        return len(self.ids)

    def to(self, device: torch.device | str) -> Batch:
        """The same batch with its tensors on a device."""
        tensors = ("faces", "mel", "tokens", "attention_mask", "label")
        return replace(self, **{name: getattr(self, name).to(device) for name in tensors})


def collate(examples: Sequence[Example], pad_id: int = 0, chunk_rows: int = CHUNK_ROWS) -> Batch:
    """Put examples into one batch.

    Args:
        examples: at least one.
        pad_id: token id that fills short sequences, from the shards' text settings.
        chunk_rows: rows of time in one mel chunk.

    Returns:
        The batch, on the CPU.
    """
    chunks = [mel_chunks(example.mel, chunk_rows) for example in examples]
    faces = np.concatenate([example.faces.rgb for example in examples])
    tokens, attention_mask = _pad([example.tokens for example in examples], pad_id)
    return Batch(
        ids=tuple(example.utterance.id for example in examples),
        faces=torch.from_numpy(faces).permute(0, 3, 1, 2).float(),
        face_counts=tuple(len(example.faces.rgb) for example in examples),
        mel=torch.from_numpy(np.concatenate(chunks)),
        chunk_counts=tuple(len(part) for part in chunks),
        tokens=tokens,
        attention_mask=attention_mask,
        label=torch.from_numpy(np.stack([example.label for example in examples])).float(),
    )


def mel_chunks(mel: MelSpectrum, rows: int = CHUNK_ROWS) -> NDArray[np.float32]:
    """Cut a spectrum into chunks of equal length, as the published loader does.

    Args:
        mel: log power (T, M).
        rows: rows of time in one chunk.

    Returns:
        float32 (ceil(T / rows), 1, M, rows), linear power; zeros fill the last chunk.
    """
    power = mel.power
    count = -(-len(power) // rows)
    padded = np.zeros((count * rows, power.shape[1]), dtype=np.float32)
    padded[: len(power)] = power
    # (K, rows, M) to (K, 1, M, rows): frequency before time.
    cut = padded.reshape(count, rows, power.shape[1]).transpose(0, 2, 1)
    return np.ascontiguousarray(cut[:, None])


def _pad(rows: list[NDArray[np.int32]], pad_id: int) -> tuple[Tensor, Tensor]:
    tokens = torch.full((len(rows), max(len(row) for row in rows)), pad_id, dtype=torch.long)
    mask = torch.zeros_like(tokens)
    for line, row in enumerate(rows):
        tokens[line, : len(row)] = torch.from_numpy(row.astype(np.int64))
        mask[line, : len(row)] = 1
    return tokens, mask
