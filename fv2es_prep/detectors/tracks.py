"""Faces over the pictures of one utterance: which boxes belong to one person, and who speaks.

Faces are not recognised: a person who leaves the picture and returns starts a new track.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.detectors.detector import Face

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Least intersection over union of one person's boxes in neighbouring pictures.
_MIN_OVERLAP = 0.3
# A track survives this many pictures without its face.
_MAX_GAP = 2
# Another track belongs to the speaker if its nearest face is within this many sides of the
# speaker's, and their sizes differ by at most this factor.
_MAX_STEP, _MAX_GROWTH = 1.0, 1.5
# Probability at which a face has no weight, and the smallest doubt that counts.
_UNSURE, _LEAST_DOUBT = 0.7, 1e-4

Track = dict[int, Face]
"""Picture number -> face of one person."""


def find_tracks(pictures: Sequence[Sequence[Face]]) -> list[Track]:
    """Join each face with the track whose last face it overlaps most."""
    found: list[Track] = []
    for number, faces in enumerate(pictures):
        for face in faces:
            best = max(found, key=lambda track: _fit(track, number, face), default=None)
            if best is None or _fit(best, number, face) < _MIN_OVERLAP:
                best = {}
                found.append(best)
            best[number] = face
    return found


def speaker_track(pictures: Sequence[Sequence[Face]]) -> Track:
    """The faces of the person who is seen largest and most certainly over all pictures.

    Certainty is the negative logarithm of the detector's doubt: hands detected as a face with
    probability 0.72 do not outweigh a smaller face of 0.999, however many pictures show them.
    """
    tracks = sorted(find_tracks(pictures), key=_weight, reverse=True)
    speaker: Track = dict(tracks[0]) if tracks else {}
    for track in tracks[1:]:
        if not track.keys() & speaker.keys() and _continues(track, speaker):
            speaker |= track
    return speaker


def overlap(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Intersection over union of two boxes."""
    size = np.minimum(one[2:], other[2:]) - np.maximum(one[:2], other[:2])
    shared = float(np.prod(np.maximum(size, 0)))
    areas = sum(float((box[2] - box[0]) * (box[3] - box[1])) for box in (one, other))
    return shared / (areas - shared) if areas > shared else 0.0


def _fit(track: Track, number: int, face: Face) -> float:
    """The overlap of a face with the last one of a track; 0 if it cannot be the same person."""
    last = max(track)
    return overlap(track[last].box, face.box) if last < number <= last + _MAX_GAP else 0.0


def _side(face: Face) -> float:
    return float(max(face.box[2:] - face.box[:2]))


def _certainty(face: Face) -> float:
    doubt = max(1 - float(face.prob), _LEAST_DOUBT)
    return max(math.log((1 - _UNSURE) / doubt), 0)


def _weight(track: Track) -> float:
    return sum(_certainty(face) * _side(face) for face in track.values())


def _continues(track: Track, speaker: Track) -> bool:
    """Whether a track without common pictures can be the speaker's face after a move."""
    here, there = min(
        ((n, m) for n in track for m in speaker), key=lambda pair: abs(pair[0] - pair[1])
    )
    one, other = track[here], speaker[there]
    centres = [(face.box[:2] + face.box[2:]) / 2 for face in (one, other)]
    small, large = sorted((_side(one), _side(other)))
    near = float(np.abs(centres[0] - centres[1]).max()) <= _MAX_STEP * large
    return near and large <= _MAX_GROWTH * small
