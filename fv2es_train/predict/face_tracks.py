"""Stages for the speaker's track and for all persons of an utterance, see `detectors.tracks`."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.detectors.detector import Face, FaceDetector
from fv2es_prep.detectors.tracks import Track, find_tracks
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.types import Faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A track is kept if it has this share of the pictures.
_MIN_SHARE = 1 / 3


class AllFacesDetector(FaceDetector):
    """A detector that returns the largest face and keeps all faces of the utterance.

    It shares the networks of another detector; they take tens of megabytes. ``pictures`` holds
    the faces of each picture since `forget`, the largest first.
    """

    def __init__(self, detector: FaceDetector) -> None:
        self.settings, self._finder = detector.settings, detector._finder
        self.pictures: list[list[Face]] = []

    def forget(self) -> None:
        """Start a new utterance."""
        self.pictures = []

    def every(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """See `FaceDetector.every`."""
        found = super().every(pictures)
        self.pictures += found
        return found

    def largest(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Face]:
        """See `FaceDetector.largest`."""
        return [
            faces[0] if faces else self.fallback(rgb)
            for faces, rgb in zip(self.every(pictures), pictures, strict=True)
        ]


@dataclass(frozen=True)
class SharedStages(StageContext):
    """Stages of other settings that share the detector of ``plain``."""

    plain: StageContext = field(kw_only=True)

    @functools.cached_property
    def detector(self) -> FaceDetector:
        """See `StageContext.detector`."""
        return self.plain.detector


@dataclass(frozen=True)
class AllFacesStages(StageContext):
    """Stages whose detector keeps all faces and shares the networks of ``plain``."""

    plain: StageContext = field(kw_only=True)

    @functools.cached_property
    def detector(self) -> AllFacesDetector:
        """See `StageContext.detector`."""
        return AllFacesDetector(self.plain.detector)


def tracks(pictures: Sequence[Sequence[Face]], times_s: NDArray[np.float64]) -> list[Faces]:
    """Find the faces of each person in at least a third of the pictures, from left to right.

    Args:
        pictures: all faces of each picture.
        times_s: float64 (F,), when each picture was on screen, in seconds.
    """
    kept = [t for t in find_tracks(pictures) if len(t) >= _MIN_SHARE * len(pictures)]
    kept.sort(key=lambda track: float(np.mean([face.box[0] for face in track.values()])))
    return [_column(track, times_s) for track in kept]


def _column(track: Track, times_s: NDArray[np.float64]) -> Faces:
    faces = list(track.values())
    return Faces(
        rgb=np.stack([face.rgb for face in faces]),
        times_s=times_s[list(track)],
        found=np.ones(len(faces), np.bool_),
        box=np.stack([face.box for face in faces]).astype(np.float32),
        prob=np.array([face.prob for face in faces], np.float32),
    )
