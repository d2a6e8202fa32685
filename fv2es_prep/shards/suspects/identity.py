"""Faces that are not the speaker's: compared with those of the speaker's other utterances.

No network for faces is asked: what is compared is the mean face of an utterance, as colours of few
pixels and in grey.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.shards.suspects.neighbours import nearest, robust_z
from fv2es_prep.shards.suspects.suspect import Suspect
from fv2es_prep.shards.suspects.traits import Traits

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Utterances of a speaker that can be compared, and neighbours whose distance counts. More of the
# speaker itself, so that two utterances of the same stranger do not vouch for each other.
_ENOUGH, _NEIGHBOURS, _OWN = 8, 3, 5
# How many times as near another speaker's faces are; robust deviations from one's own.
_NEARER, _FAR = 1.5, 3.0
# Share of the mean variance in the covariance within speakers, and of speakers' outliers.
_SHRINKAGE, _OUTLIERS = 0.05, 0.1
# Deviation in levels of 255 below which a face is no picture of anybody.
_FLAT = 5.0


def other_faces(traits: Traits) -> Iterator[Suspect]:
    """Utterances with faces of another speaker, or far from the speaker's own.

    Where few speakers are known, the utterances of a recording take the place of a speaker's.
    """
    catalogue = traits.catalogue
    known_speakers = np.count_nonzero(catalogue.speakers.known) > len(catalogue) / 2
    names = catalogue.speakers if known_speakers else catalogue.recordings
    faces = traits.vectors["face"]
    seen = np.isfinite(faces[:, 0]) & names.known
    seen[seen] = faces[seen].std(1) > _FLAT
    counts = np.bincount(names.codes[seen], minlength=len(names.values))
    rows = np.flatnonzero(seen & (counts[names.codes] >= _ENOUGH))
    if not len(rows):
        return
    groups = names.codes[rows]
    far = _far_from_own(faces[rows], groups)
    nearer, whose = np.zeros(len(rows)), groups
    # A person is in many recordings.
    if known_speakers and len(np.unique(groups)) > 1:
        nearer, whose = _nearer_to_another(traits.vectors["tint"][rows], groups)
    for place in np.flatnonzero((nearer >= _NEARER) | (far >= _FAR)):
        if nearer[place] >= _NEARER:
            other = names.values[whose[place]]
            sentence = f"its faces are {nearer[place]:.1f} times as near to those of {other!r}"
        else:
            of = "speaker" if known_speakers else "recording"
            sentence = (
                f"its faces are unlike the others of the {of} {names.values[groups[place]]!r}"
            )
        score = max(nearer[place] / _NEARER, far[place] / _FAR)
        yield Suspect("face", traits.ids[int(rows[place])], float(score), sentence)


def _far_from_own(faces: NDArray[np.float32], groups: NDArray[np.int32]) -> NDArray[np.float32]:
    """Robust deviations of the distance (N,) to the nearest faces of the same speaker."""
    # Light differs from one utterance to the next.
    even = faces - faces.mean(1, keepdims=True)
    even /= even.std(1, keepdims=True) + _FLAT
    distances = nearest(even, _NEIGHBOURS, groups)[1].mean(1)
    return robust_z(np.log(np.maximum(distances, 1e-6)))


def _nearer_to_another(
    tints: NDArray[np.float32], groups: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """How many times as near (N,) another speaker's faces are as one's own, and whose they are.

    0 where the nearest faces of others are not mostly of one speaker.
    """
    whitened = _whitened(tints, groups)
    own = nearest(whitened, _OWN, groups)[1].mean(1)
    others, distances = nearest(whitened, _NEIGHBOURS, groups, within=False)
    whose = groups[others]
    nearer = own / np.maximum(distances.mean(1), 1e-6)
    middle = np.sort(whose, axis=1)[:, whose.shape[1] // 2]
    nearer[np.count_nonzero(whose == middle[:, None], axis=1) * 2 <= whose.shape[1]] = 0
    return nearer.astype(np.float64), middle


def _whitened(vectors: NDArray[np.float32], groups: NDArray[np.int32]) -> NDArray[np.float32]:
    """Vectors (N, D), in which what differs within a speaker counts little."""
    away = vectors.astype(np.float64)
    order = np.argsort(groups, kind="stable")
    for part in np.split(order, np.flatnonzero(np.diff(groups[order])) + 1):
        away[part] -= np.median(away[part], axis=0)
    size = np.abs(away).mean(1)
    usual = away[size <= np.quantile(size, 1 - _OUTLIERS)]
    covariance = usual.T @ usual / len(usual)
    variance = max(np.trace(covariance) / len(covariance), 1e-3)
    mixed = (1 - _SHRINKAGE) * covariance + _SHRINKAGE * variance * np.eye(len(covariance))
    values, axes = np.linalg.eigh(mixed)
    whitened: NDArray[np.float32] = (vectors @ (axes / np.sqrt(values))).astype(np.float32)
    return whitened
