"""Collate examples into the tensors of a batch: padding, chunking and axis order."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example, MelSpectrum

CHUNK_ROWS = 32
_TENSORS = ("faces", "mel", "tokens", "attention_mask", "label")


@dataclass(frozen=True, repr=False)
class Batch:
    """B utterances; faces and mel chunks are concatenated over the utterances.

    Attributes:
        ids: the B utterance ids.
        faces: float32 (sum of F, 3, S, S), colour order RGB, scale 0..255.
        face_counts: number of faces of each utterance.
        mel: float32 (sum of K, 1, M, R), linear power, M mel bands by R = 32 rows of time; the last
            chunk of each utterance is padded with zeros.
        chunk_counts: number of chunks K of each utterance.
        tokens: int64 (B, L), right-padded with the tokenizer's pad id.
        attention_mask: int64 (B, L), 1 where there is a token.
        label: float32 (B, C), 1 where the class holds.
        extras: name -> tensor, what a model reads beside these, see `models.families.ModelFamily`.
    """

    ids: tuple[str, ...]
    faces: Tensor
    face_counts: tuple[int, ...]
    mel: Tensor
    chunk_counts: tuple[int, ...]
    tokens: Tensor
    attention_mask: Tensor
    label: Tensor
    extras: Mapping[str, Tensor] = field(default_factory=dict)

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

    def __repr__(self) -> str:
        tensors = {name: getattr(self, name) for name in _TENSORS} | dict(self.extras)
        shapes = ", ".join(f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items())
        head = f"Batch of {len(self)} utterances on {self.label.device}: {shown_ids(self.ids)}"
        return f"{head}\n  {shapes}"

    def to(self, device: torch.device | str) -> Batch:
        """The batch on a device; copies from pinned memory to a GPU are asynchronous."""
        # A copy to the CPU is not: nothing there would wait for it.
        behind = torch.device(device).type == "cuda"
        return self._each(lambda tensor: tensor.to(device, non_blocking=behind))

    def pin_memory(self) -> Batch:
        """The same batch in page-locked memory, for DataLoader's ``pin_memory``."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in _TENSORS}
        return replace(self, **changed, extras={k: change(v) for k, v in self.extras.items()})


def shown_ids(ids: Sequence[str]) -> str:
    """The first and the last of some ids."""
    return ", ".join(ids) if len(ids) < 4 else f"{ids[0]}, {ids[1]} ... {ids[-1]}"


def collate(
    examples: Sequence[Example],
    pad_id: int = 0,
    chunk_rows: int = CHUNK_ROWS,
    extras: Callable[[Sequence[Example]], dict[str, Tensor]] | None = None,
) -> Batch:
    """Collate examples, at least one, into a batch on the CPU; each value is copied once.

    Args:
        examples: see `Batch`.
        pad_id: token id of padding, from the shards' text settings.
        chunk_rows: rows of time in one mel chunk.
        extras: makes `Batch.extras` of the examples.
    """
    examples = [_completed(example) for example in examples]
    face_counts = [len(example.faces.rgb) for example in examples]
    chunk_counts = [chunk_count(example.mel, chunk_rows) for example in examples]
    longest = max(len(example.tokens) for example in examples)
    first = examples[0]
    bands = first.mel.log_power.shape[1]

    # Colour comes last in memory, as in the shards, and second in the tensor.
    faces = torch.empty((sum(face_counts), *first.faces.rgb.shape[1:]), dtype=torch.float32)
    mel = torch.empty((sum(chunk_counts), 1, bands, chunk_rows), dtype=torch.float32)
    tokens = torch.full((len(examples), longest), pad_id)
    attention_mask = torch.zeros_like(tokens)
    label = torch.empty((len(examples), len(first.label)), dtype=torch.float32)

    places = (torch.split(faces, face_counts), torch.split(mel, chunk_counts))
    for line, (example, face_place, mel_place) in enumerate(zip(examples, *places, strict=True)):
        face_place.numpy()[:] = example.faces.rgb
        fill_chunks(example.mel, mel_place.numpy())
        length = len(example.tokens)
        tokens.numpy()[line, :length] = example.tokens
        attention_mask[line, :length] = 1
        label.numpy()[line] = example.label
    return Batch(
        ids=tuple(example.utterance.id for example in examples),
        faces=faces.permute(0, 3, 1, 2),
        face_counts=tuple(face_counts),
        mel=mel,
        chunk_counts=tuple(chunk_counts),
        tokens=tokens,
        attention_mask=attention_mask,
        label=label,
        extras=extras(examples) if extras else {},
    )


def chunk_count(mel: MelSpectrum, rows: int = CHUNK_ROWS) -> int:
    """Number of chunks of a spectrum: ceil(T / rows)."""
    return -(-len(mel.log_power) // rows)


def fill_chunks(mel: MelSpectrum, chunks: NDArray[np.float32]) -> None:
    """Write the linear power of a spectrum (T, M) into chunks (ceil(T / R), 1, M, R)."""
    _, _, bands, rows = chunks.shape
    whole, rest = divmod(len(mel.log_power), rows)
    # (K, rows, M) to (K, M, rows): frequency before time.
    blocks = mel.log_power[: whole * rows].reshape(whole, rows, bands).transpose(0, 2, 1)
    np.exp(blocks, out=chunks[:whole, 0], dtype=np.float32)
    if rest:
        np.exp(mel.log_power[whole * rows :].T, out=chunks[whole, 0, :, :rest], dtype=np.float32)
        chunks[whole, 0, :, rest:] = 0


def _completed(example: Example) -> Example:
    """The example with empty values for stages that the dataset does not have."""
    from fv2es_prep.types import Faces, MelSpectrum

    if example.keys() >= {"faces", "mel", "tokens"}:
        return example
    none = np.zeros(0)
    rgb, box = np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 4), np.float32)
    empty = {
        "faces": Faces(rgb, none, none.astype(np.bool_), box, none.astype(np.float32)),
        "mel": MelSpectrum(np.zeros((0, 1), np.float16), 1.0),
        "tokens": np.zeros(0, np.int32),
    }
    return example.replace(**{**empty, **example})
