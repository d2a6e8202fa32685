"""Several faces in one utterance: the boxes of its pictures that belong to one person.

A box joins the track whose last box it overlaps most. Faces are not recognised: a person who leaves
the picture comes back as a new track.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.detectors.detector import Face, FaceDetector
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Intersection over union from which two boxes of neighbouring pictures are one person's.
_MIN_OVERLAP = 0.3
# A track survives this many pictures without its face, and is kept if it has this share of them.
_MAX_GAP, _MIN_SHARE = 2, 1 / 3

_Track = list[tuple[int, Face]]  # (number of the picture, face) of one person


class AllFacesDetector(FaceDetector):
    """A detector that returns the largest face and keeps all faces of the utterance.

    It shares the networks of another detector; they take tens of megabytes. ``pictures`` holds
    the faces of each picture since `forget`, the largest first.
    """

    def __init__(self, detector: FaceDetector) -> None:
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
class AllFacesStages(StageContext):
    """Stages whose detector keeps all faces and shares the networks of ``plain``."""

    plain: StageContext = field(kw_only=True)

    @functools.cached_property
    def detector(self) -> AllFacesDetector:
        """See `StageContext.detector`."""
        return AllFacesDetector(self.plain.detector)


def tracks(pictures: Sequence[Sequence[Face]], times_s: NDArray[np.float64]) -> list[Faces]:
    """The faces of each person found in at least a third of the pictures, from left to right.

    Args:
        pictures: all faces of each picture.
        times_s: float64 (F,), when each picture was on screen, in seconds.
    """
    found: list[_Track] = []
    for number, faces in enumerate(pictures):
        for face in faces:
            best = max(found, key=lambda track: _fit(track, number, face), default=None)
            if best is None or _fit(best, number, face) < _MIN_OVERLAP:
                best = []
                found.append(best)
            best.append((number, face))
    kept = [track for track in found if len(track) >= _MIN_SHARE * len(pictures)]
    kept.sort(key=lambda track: float(np.mean([face.box[0] for _, face in track])))
    return [_column(track, times_s) for track in kept]


def _fit(track: _Track, number: int, face: Face) -> float:
    """The overlap of a face with the last one of a track; 0 if it cannot be the same person."""
    last, before = track[-1]
    return overlap(before.box, face.box) if last < number <= last + _MAX_GAP else 0.0


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    size = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(size, 0)))
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


def _column(track: _Track, times_s: NDArray[np.float64]) -> Faces:
    numbers, faces = [number for number, _ in track], [face for _, face in track]
    return Faces(
        rgb=np.stack([face.rgb for face in faces]),
        times_s=times_s[numbers],
        found=np.ones(len(faces), np.bool_),
        box=np.stack([face.box for face in faces]).astype(np.float32),
        prob=np.array([face.prob for face in faces], np.float32),
    )
