"""Collate examples into the tensors of a batch: padding, chunking and axis order."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from fv2es_prep.config import ordered
from fv2es_prep.stages.registry import load_stage
from fv2es_train.config import STAGES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example, MelSpectrum

CHUNK_ROWS = 32
_TENSORS = ("faces", "mel", "tokens", "attention_mask", "label", "ratings")


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
        missing: for each utterance the letters of its missing modalities; it has no faces, no
            chunks or only padding for them.
        extras: name -> tensor, further inputs of a model: those that `models.families.ModelFamily`
            makes, and for each of `ModelConfig.columns` ``STAGE``, float32 (sum of R, D), the rows
            of all utterances, and ``STAGE/rows``, int64 (B,), the number of rows of each.
        ratings: float32 (B, R), ratings of the corpus; NaN for a missing one.
    """

    ids: tuple[str, ...]
    faces: Tensor
    face_counts: tuple[int, ...]
    mel: Tensor
    chunk_counts: tuple[int, ...]
    tokens: Tensor
    attention_mask: Tensor
    label: Tensor
    missing: tuple[str, ...] = ()
    extras: Mapping[str, Tensor] = field(default_factory=dict)
    ratings: Tensor = field(default_factory=lambda: torch.zeros(0, 0))

    def __post_init__(self) -> None:
        if not self.missing:
            object.__setattr__(self, "missing", ("",) * len(self.ids))
        for name, rows, expected in (
            ("faces", len(self.faces), sum(self.face_counts)),
            ("mel", len(self.mel), sum(self.chunk_counts)),
            ("tokens", len(self.tokens), len(self.ids)),
            ("attention_mask", self.attention_mask.shape, self.tokens.shape),
            ("label", len(self.label), len(self.ids)),
            ("missing", len(self.missing), len(self.ids)),
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
        """Move the batch to a device; copies from pinned memory to a GPU are asynchronous."""
        # A copy to the CPU must be synchronous: nothing would wait for it.
        behind = torch.device(device).type == "cuda"
        return self._each(lambda tensor: tensor.to(device, non_blocking=behind))

    def pin_memory(self) -> Batch:
        """Copy the batch to page-locked memory, for DataLoader's ``pin_memory``."""
        return self._each(Tensor.pin_memory)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Batch:
        changed: dict[str, Any] = {name: change(getattr(self, name)) for name in _TENSORS}
        return replace(self, **changed, extras={k: change(v) for k, v in self.extras.items()})


def shown_ids(ids: Sequence[str]) -> str:
    """Shorten a list of ids to the first two and the last."""
    return ", ".join(ids) if len(ids) < 4 else f"{ids[0]}, {ids[1]} ... {ids[-1]}"


def collate(
    examples: Sequence[Example],
    pad_id: int = 0,
    chunk_rows: int = CHUNK_ROWS,
    extras: Callable[[Sequence[Example]], dict[str, Tensor]] | None = None,
    unverified: str = "keep",
    reads: Mapping[str, Collection[str]] = {},
    columns: Collection[str] = (),
) -> Batch:
    """Collate one or more examples into a batch on the CPU; copies each value once.

    Args:
        examples: see `Batch`.
        pad_id: token id of padding, from the shards' text settings.
        chunk_rows: rows of time per mel chunk.
        unverified: see `TrainConfig.unverified_faces`.
        extras: makes tensors of `Batch.extras` from the examples.
        reads: see `ModelConfig.reads`; the batch omits faces, mel or tokens that are not read.
        columns: see `ModelConfig.columns`.
    """
    missing = tuple(missing_letters(example, unverified, reads) for example in examples)
    others = _columns(examples, columns)
    if extras:
        others |= extras(examples)
    read = {stage for stages in reads.values() for stage in stages} - {*columns}
    unread = {letter for letter, stage in STAGES.items() if reads and stage not in read}
    examples = [_completed(e, unread.union(m)) for e, m in zip(examples, missing, strict=True)]
    face_counts = [len(example.faces.rgb) for example in examples]
    chunk_counts = [chunk_count(example.mel, chunk_rows) for example in examples]
    longest = max(len(example.tokens) for example in examples)
    rgb = max((example.faces.rgb for example in examples), key=len)
    bands = max((example.mel.log_power for example in examples), key=len).shape[1]

    # Colour is the last axis in memory, as in the shards, and the second of the tensor.
    faces = torch.empty((sum(face_counts), *rgb.shape[1:]), dtype=torch.float32)
    mel = torch.empty((sum(chunk_counts), 1, bands, chunk_rows), dtype=torch.float32)
    tokens = torch.full((len(examples), longest), pad_id)
    attention_mask = torch.zeros_like(tokens)
    label = torch.empty((len(examples), len(examples[0].label)), dtype=torch.float32)

    places = (torch.split(faces, face_counts), torch.split(mel, chunk_counts))
    for line, (example, face_place, mel_place) in enumerate(zip(examples, *places, strict=True)):
        face_place.numpy()[:] = example.faces.rgb
        fill_chunks(example.mel, mel_place.numpy())
        length = len(example.tokens)
        tokens.numpy()[line, :length] = example.tokens
        # Attention needs one token; the model omits the term of a missing text.
        attention_mask[line, : max(1, length)] = 1
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
        missing=missing,
        extras=others,
        ratings=torch.tensor([e.utterance.ratings for e in examples], dtype=torch.float32),
    )


def chunk_count(mel: MelSpectrum, rows: int = CHUNK_ROWS) -> int:
    """Number of chunks of a spectrum: ceil(T / rows)."""
    return -(-len(mel.log_power) // rows)


def fill_chunks(mel: MelSpectrum, chunks: NDArray[np.float32]) -> None:
    """Write the linear power of a spectrum (T, M) into chunks (ceil(T / R), 1, M, R)."""
    _, _, bands, rows = chunks.shape
    whole, rest = divmod(len(mel.log_power), rows)
    log_power = np.empty(chunks.shape, mel.log_power.dtype)
    # (K, rows, M) to (K, M, rows): frequency before time.
    blocks = mel.log_power[: whole * rows].reshape(whole, rows, bands)
    log_power[:whole, 0] = blocks.transpose(0, 2, 1)
    if rest:
        log_power[whole, 0, :, :rest] = mel.log_power[whole * rows :].T
        # The logarithm of zero.
        log_power[whole, 0, :, rest:] = -np.inf
    # torch converts float16 several times faster than NumPy.
    np.exp(torch.from_numpy(log_power).float().numpy(), out=chunks)


def _columns(examples: Sequence[Example], stages: Iterable[str]) -> dict[str, Tensor]:
    """See `Batch.extras`."""
    found = {}
    for stage in stages:
        values = [rows_of(e, stage) if stage in e else np.zeros((0, 0)) for e in examples]
        there = [value for value in values if len(value)]
        rows = np.concatenate(there, dtype=np.float32) if there else np.zeros((0, 0), np.float32)
        found[stage] = torch.from_numpy(rows)
        found[f"{stage}/rows"] = torch.tensor([len(value) for value in values])
    return found


def rows_of(example: Example, stage: str) -> NDArray[Any]:
    """Read the main column of a stage as vectors (R, D), without vectors that contain NaN.

    R is 1 if an example has one vector. Rows of points are flattened; D is 1 for token ids.
    """
    chosen = load_stage(stage)
    values: NDArray[Any] = np.asarray(chosen.arrays(example[stage])[chosen.main])
    if values.ndim == 1:
        return values[:, None] if stage == STAGES["t"] else values[None]
    rows: NDArray[Any] = values.reshape(len(values), math.prod(values.shape[1:]))
    # E.g. the landmarks of a picture without a face.
    return np.asarray(rows[~np.isnan(rows).any(axis=1)])


def missing_letters(
    example: Example, unverified: str = "keep", reads: Mapping[str, Collection[str]] = {}
) -> str:
    """Letters of ``tav`` that an utterance lacks; see `ModelConfig.reads`.

    With ``unverified="drop"``, it also lacks video if the detector found no face in any picture.
    """
    lacks = {*example.missing}
    for letter, stage in STAGES.items():
        if any(name not in example for name in reads.get(letter, (stage,))):
            lacks.add(letter)
    seen = "v" not in lacks and "faces" in example
    if unverified == "drop" and seen and not example.faces.found.any():
        lacks.add("v")
    return ordered(lacks)


def _completed(example: Example, missing: Collection[str]) -> Example:
    """Fill in empty tokens, mel or faces for the missing modalities of an example."""
    if not missing:
        return example
    from fv2es_prep.types import Faces, MelSpectrum

    none = np.zeros(0)
    rgb, box = np.zeros((0, 1, 1, 3), np.uint8), np.zeros((0, 4), np.float32)
    empty = {
        "v": Faces(rgb, none, none.astype(np.bool_), box, none.astype(np.float32)),
        "a": MelSpectrum(np.zeros((0, 1), np.float16), 1.0),
        "t": np.zeros(0, np.int32),
    }
    return example.replace(**{STAGES[letter]: empty[letter] for letter in missing})
