"""Finds faces that are not the speaker's, by comparison with the speaker's other utterances.

Uses no face recognition network: it compares mean faces of utterances, as colours of few pixels and
in grey.
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

# Least number of a speaker's utterances, and neighbours whose distance counts. More neighbours of
# the own speaker, so that two utterances of one stranger do not confirm each other.
_ENOUGH, _NEIGHBOURS, _OWN = 8, 3, 5
# Thresholds: how many times closer another speaker's faces are; robust deviations from the own.
_NEARER, _FAR = 1.5, 3.0
# Shrinkage of the covariance within speakers, and share of outliers left out of it.
_SHRINKAGE, _OUTLIERS = 0.05, 0.1
# Deviation in levels of 255 below which a picture shows no face.
_FLAT = 5.0


def other_faces(traits: Traits) -> Iterator[Suspect]:
    """Find utterances with faces of another speaker, or far from the speaker's own faces.

    If few speakers are known, utterances are grouped by recording instead.
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
    # Not between recordings, since a person may be in many.
    if known_speakers and len(np.unique(groups)) > 1:
        nearer, whose = _nearer_to_another(traits.vectors["tint"][rows], groups)
    for place in np.flatnonzero((nearer >= _NEARER) | (far >= _FAR)):
        if nearer[place] >= _NEARER:
            other = names.values[whose[place]]
            sentence = f"its faces are {nearer[place]:.1f} times closer to those of {other!r}"
        else:
            of = "speaker" if known_speakers else "recording"
            sentence = (
                f"its faces differ from the others of the {of} {names.values[groups[place]]!r}"
            )
        score = max(nearer[place] / _NEARER, far[place] / _FAR)
        yield Suspect("face", traits.ids[int(rows[place])], float(score), sentence)


def _far_from_own(faces: NDArray[np.float32], groups: NDArray[np.int32]) -> NDArray[np.float32]:
    """Robust deviations (N,) of the distance to the nearest faces of the same speaker."""
    # Normalize the light, which differs between utterances.
    even = faces - faces.mean(1, keepdims=True)
    even /= even.std(1, keepdims=True) + _FLAT
    distances = nearest(even, _NEIGHBOURS, groups)[1].mean(1)
    return robust_z(np.log(np.maximum(distances, 1e-6)))


def _nearer_to_another(
    tints: NDArray[np.float32], groups: NDArray[np.int32]
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """How many times closer (N,) another speaker's faces are than the own, and that speaker.

    0 if the nearest faces of others do not mostly belong to one speaker.
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
    """Whiten vectors (N, D) by the covariance within speakers."""
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
