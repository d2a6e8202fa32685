"""The rows of one shard as examples, put together quickly: it is done for each of each epoch.

Owns what is worked out once for each shard so that an example costs a few slices. Leaves the open
file to the reader and the decoding of compact forms to `compact`.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.stages.compact import JpegFaces, MelSteps
from fv2es_prep.types import Example, Faces, MelSpectrum, Utterance

if TYPE_CHECKING:
    from numpy.typing import NDArray

GROUPS = ("faces", "mel", "tokens")
_TEXTS = ("id", "recording_id", "text", "speaker", "session")
_NUMBERS = ("start_s", "end_s", "ratings", "clamped", "label")


class Place(NamedTuple):
    """Where the faces, spectrum rows and tokens of an example lie in their columns."""

    faces: slice
    mel: slice
    tokens: slice


@dataclass(frozen=True)
class ShardRows:
    """All that the examples of a shard are made of.

    Attributes:
        name: the shard, for messages.
        settings: the settings that made it.
        utterances: one for each row.
        label: uint8 (N, C).
        places: one for each row; None where its offsets are damaged.
        columns: path -> ragged column.
        found: bool (ΣF,).
        files: where the file of each face begins in a compact shard, and where the last ends.
        hop_s: seconds between two rows of a spectrum.
    """

    name: str
    settings: PrepSettings
    utterances: list[Utterance]
    label: NDArray[np.uint8]
    places: list[Place | None]
    columns: dict[str, Any]
    found: NDArray[np.bool_]
    files: list[int]
    hop_s: float

    def example(self, row: int) -> Example:
        """One example.

        Raises:
            ValueError: a part of it does not lie within its columns, or has another shape.
        """
        place = self.places[row]
        if place is None:
            raise ValueError("its offsets lie outside the columns")
        return Example(
            utterance=self.utterances[row],
            label=self.label[row],
            faces=self._faces(place.faces, row),
            mel=self._mel(place.mel),
            tokens=self.columns["tokens/values"][place.tokens],
        )

    def _faces(self, place: slice, row: int) -> Faces:
        columns, values = self.columns, self.columns["faces/values"]
        times_s, found = columns["faces/times_s"][place], self.found[place]
        box, prob = columns["faces/box"][place], columns["faces/prob"][place]
        if self.settings.storage.faces == "raw":
            return Faces(values[place], times_s, found, box, prob)
        begin, end = self.files[place.start], self.files[place.stop]
        if end > len(values):
            raise ValueError(f"its faces end at byte {end} of {len(values)}")
        return JpegFaces(
            files=values[begin:end],
            sizes=columns["faces/sizes"][place],
            side_px=self.settings.faces.image_size_px,
            times_s=times_s,
            found=found,
            box=box,
            prob=prob,
            place=f"{self.name}, row {row},",
        )

    def _mel(self, place: slice) -> MelSpectrum:
        values = self.columns["mel/values"][place]
        if self.settings.storage.mel == "float16":
            return MelSpectrum(values, self.hop_s)
        return MelSteps(values, self.settings.mel)


def make_rows(
    name: str,
    settings: PrepSettings,
    label_classes: tuple[str, ...],
    small: Callable[[str], Any],
    columns: dict[str, Any],
) -> ShardRows:
    """Work out once what examples are made of.

    Args:
        name: the shard, for messages.
        settings: the settings that made it.
        label_classes: names of the label columns.
        small: gives the whole of a small column, by its path.
        columns: path -> ragged column.

    Raises:
        ValueError: columns that should be of one length are not; others of `schema.DAMAGE` where
            their types are damaged.
    """
    utterances = list(_utterances(small, label_classes))
    groups = [_slices(group, small, columns) for group in GROUPS]
    places = [
        None if None in place else Place(*place)
        for _, *place in zip(utterances, *groups, strict=True)
    ]
    sizes = columns["faces/sizes"][0:] if "faces/sizes" in columns else []
    return ShardRows(
        name=name,
        settings=settings,
        utterances=utterances,
        label=small("label"),
        places=places,
        columns=columns,
        found=columns["faces/found"][0:].astype(np.bool_),
        files=[0, *np.cumsum(sizes, dtype=np.int64).tolist()],
        hop_s=settings.mel.hop_s,
    )


def _utterances(small: Callable[[str], Any], label_classes: tuple[str, ...]) -> Iterator[Utterance]:
    """Who said it and when; the view is not stored and comes back as the default."""
    columns = {name: small(name) for name in _TEXTS}
    columns |= {name: small(name).tolist() for name in _NUMBERS}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        names = zip(label_classes, row["label"], strict=True)
        yield Utterance(
            id=row["id"],
            recording_id=row["recording_id"],
            start_s=float(row["start_s"]),
            end_s=float(row["end_s"]),
            transcript=row["text"],
            labels=tuple(name for name, holds in names if holds),
            speaker=row["speaker"],
            session=row["session"],
            ratings=tuple(map(float, row["ratings"])),
            clamped=bool(row["clamped"]),
        )


def _slices(
    group: str, small: Callable[[str], Any], columns: dict[str, Any]
) -> Iterator[slice | None]:
    """Where the rows of each example lie in a group; None where they are not all there."""
    counted = [path for path in columns if path.startswith(group)]
    if "faces/sizes" in counted:
        counted.remove("faces/values")
    # A slice that goes too far would be silently shorter.
    end = min(len(columns[path]) for path in counted)
    for begin, stop in itertools.pairwise(small(f"{group}/offsets").tolist()):
        yield slice(begin, stop) if 0 <= begin <= stop <= end else None
