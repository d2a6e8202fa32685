"""Several faces in one utterance: which boxes of its pictures belong to one person.

Owns the tracks. A box joins the track whose last box it overlaps most; no face is recognised, so
that a person who leaves the picture comes back as another track.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.example import Stages
from fv2es_prep.stages.faces import Face, FaceDetector
from fv2es_prep.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Overlap, as a share of the union, from which two boxes of neighbouring pictures are one person's.
_OVERLAP = 0.3
# Pictures for which a face may be lost, and the share of pictures in which it must be found.
_PATIENCE, _LEAST = 2, 1 / 3


class RecordingDetector(FaceDetector):
    """A detector that gives the largest face and remembers all of the utterance.

    Args:
        detector: another one, whose networks are taken.

    Attributes:
        pictures: the faces of each picture since `forget`, the largest first.
    """

    def __init__(self, detector: FaceDetector) -> None:
        # The networks of a size of picture take tens of megabytes: they are not built again.
        self.settings, self._finder = detector.settings, detector._finder
        self.pictures: list[list[Face]] = []

    def forget(self) -> None:
        """Begin a new utterance."""
        self.pictures = []

    def largest(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Face]:
        """See `FaceDetector.largest`."""
        found = self.every(pictures)
        self.pictures += found
        return [
            faces[0] if faces else self.fallback(rgb)
            for faces, rgb in zip(found, pictures, strict=True)
        ]


@dataclass(frozen=True)
class RecordingStages(Stages):
    """Stages that remember all faces.

    Attributes:
        plain: the stages whose detector's networks are taken.
    """

    plain: Stages = field(kw_only=True)

    @functools.cached_property
    def detector(self) -> RecordingDetector:
        """See `Stages.detector`."""
        return RecordingDetector(self.plain.detector)


@dataclass
class _Track:
    """The faces of one person: (number of the picture, face)."""

    faces: list[tuple[int, Face]] = field(default_factory=list)

    def overlap(self, picture: int, face: Face) -> float:
        last, before = self.faces[-1]
        gone = picture - last > _PATIENCE or picture == last
        return 0.0 if gone else overlap(before.box, face.box)


def tracks(pictures: Sequence[Sequence[Face]], times_s: NDArray[np.float64]) -> list[Faces]:
    """The faces of an utterance, person by person, from left to right.

    Args:
        pictures: all faces of each picture.
        times_s: float64 (F,), when each was on screen.

    Returns:
        The faces of each one who was found in at least a third of the pictures.
    """
    found: list[_Track] = []
    for number, faces in enumerate(pictures):
        for face in faces:
            best = max(found, key=lambda track: track.overlap(number, face), default=None)
            if best is None or best.overlap(number, face) < _OVERLAP:
                best = _Track()
                found.append(best)
            best.faces.append((number, face))
    kept = [track for track in found if len(track.faces) >= _LEAST * len(pictures)]
    kept.sort(key=lambda track: float(np.mean([face.box[0] for _, face in track.faces])))
    return [_column(track, times_s) for track in kept]


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """What two boxes share, as a share of their union."""
    size = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(size, 0)))
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


def _column(track: _Track, times_s: NDArray[np.float64]) -> Faces:
    numbers = [number for number, _ in track.faces]
    faces = [face for _, face in track.faces]
    return Faces(
        rgb=np.stack([face.rgb for face in faces]),
        times_s=times_s[numbers],
        found=np.ones(len(faces), np.bool_),
        box=np.stack([face.box for face in faces]).astype(np.float32),
        prob=np.array([face.prob for face in faces], np.float32),
    )
