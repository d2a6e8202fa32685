"""Finds utterances that nearly equal another in sound, pictures or words."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.suspects.neighbours import nearest
from fv2es_prep.shards.suspects.suspect import Suspect
from fv2es_prep.shards.suspects.traits import Traits, centred, grey_faces

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example

# Number of neighbours that are compared in full, and their least similarity.
_COMPARED, _ALIKE = 3, 0.7
# Correlation of two courses at the best shift; takes of one sentence reach 0.9.
_SAME_SOUND = 0.97
_SHIFT_S, _OVERLAP = 0.3, 0.7
# Mean difference of two pictures, in levels of 255; faces of one recording differ by 5 or more.
_SAME_PICTURES, _ALIKE_PICTURES = 3.0, 6.0
# Equal words of one speaker count if they are long and the corpus hardly repeats any.
_MIN_WORDS, _DISTINCT = 8, 0.9
_OPEN_SHARDS = 32


class _Examples:
    """Examples by position in the catalogue; keeps a few shards open."""

    def __init__(self, directory: Path, traits: Traits) -> None:
        self._directory, self._catalogue = directory, traits.catalogue
        self._readers: dict[int, ShardReader] = {}

    def __getitem__(self, place: int) -> Example:
        shard = int(self._catalogue.shard[place])
        if shard not in self._readers:
            if len(self._readers) >= _OPEN_SHARDS:
                self._readers.pop(next(iter(self._readers))).close()
            index = self._catalogue.index
            path = self._directory / index.shards[shard].name
            self._readers[shard] = ShardReader(path, index=index)
        return self._readers[shard].read(int(self._catalogue.row[place]))


def duplicates(directory: Path, traits: Traits) -> Iterator[Suspect]:
    """Yield a suspicion for each pair, about the later utterance."""
    examples, ids = _Examples(directory, traits), traits.ids
    pairs: dict[tuple[int, int], list[tuple[float, str]]] = {}
    for kind, found in (
        ("sound", _in_sound(examples, traits)),
        ("pictures", _in_pictures(examples, traits)),
        ("words", _in_words(traits)),
    ):
        for first, second, score in found:
            pairs.setdefault((first, second), []).append((score, kind))
    for (first, second), same in sorted(pairs.items()):
        shares = ", ".join(f"{kind} ({score:.3f})" for score, kind in same)
        sentence = f"the same as {ids[first]} in {shares}"
        yield Suspect("duplicate", ids[second], max(same)[0], sentence)


_Pairs = Iterator[tuple[int, int, float]]


def _in_sound(examples: _Examples, traits: Traits) -> _Pairs:
    courses = traits.vectors["course"]
    # Constant sound has no course to compare.
    known = np.flatnonzero(np.isfinite(courses[:, 0]) & (np.abs(courses).sum(1) > 0))
    near, distances = nearest(courses[known], _COMPARED)
    # For vectors of length 1.
    alike = 1 - np.square(distances) / 2 >= _ALIKE
    for first, second in _pairs(known, near, alike):
        one, other = examples[first].mel, examples[second].mel
        most = round(_SHIFT_S / one.hop_s)
        first_course, second_course = (
            centred(mel.log_power.astype(np.float32)) for mel in (one, other)
        )
        if (score := _correlation(first_course, second_course, most)) >= _SAME_SOUND:
            yield first, second, score


def _in_pictures(examples: _Examples, traits: Traits) -> _Pairs:
    faces = traits.vectors["face"]
    # Pictures of one colour are all similar.
    known = np.flatnonzero(np.isfinite(faces[:, 0]) & (faces.std(1) > _SAME_PICTURES))
    near, distances = nearest(faces[known], _COMPARED)
    alike = distances / np.sqrt(faces.shape[1]) <= _ALIKE_PICTURES
    for first, second in _pairs(known, near, alike):
        one, other = grey_faces(examples[first].faces), grey_faces(examples[second].faces)
        few, many = sorted((one, other), key=len)
        differences = [np.abs(many - picture).mean((1, 2)).min() for picture in few]
        if (difference := float(np.max(differences))) <= _SAME_PICTURES:
            yield first, second, 1 - difference / 255


def _in_words(traits: Traits) -> _Pairs:
    words = [" ".join(re.findall(r"\w+", t.casefold())) for t in traits.catalogue.texts.to_pylist()]
    counts = Counter(text for text in words if text)
    if len(counts) < _DISTINCT * counts.total():
        return
    before: dict[tuple[str, int], int] = {}
    speakers = traits.catalogue.speakers.codes.tolist()
    for place, key in enumerate(zip(words, speakers, strict=True)):
        if key[0].count(" ") >= _MIN_WORDS - 1 and before.setdefault(key, place) != place:
            yield before[key], place, 1.0


def _pairs(
    known: NDArray[np.int64], near: NDArray[np.int64], alike: NDArray[np.bool_]
) -> list[tuple[int, int]]:
    """Each pair of utterances once, the earlier first, in order."""
    places = zip(*np.nonzero(alike), strict=True)
    return sorted({_ordered(int(known[row]), int(known[near[row, k]])) for row, k in places})


def _ordered(one: int, other: int) -> tuple[int, int]:
    return min(one, other), max(one, other)


def _correlation(one: NDArray[np.float32], other: NDArray[np.float32], most: int) -> float:
    """The highest correlation of two courses (T, G) over all shifts of at most ``most`` rows."""
    best, enough = -1.0, _OVERLAP * max(len(one), len(other))
    for shift in range(-most, most + 1):
        first, second = one[max(shift, 0) :], other[max(-shift, 0) :]
        length = min(len(first), len(second))
        if length < max(enough, 2):
            continue
        a, b = (part[:length] - part[:length].mean(0) for part in (first, second))
        scale = float(np.linalg.norm(a) * np.linalg.norm(b))
        best = max(best, float((a * b).sum()) / max(scale, 1e-6))
    return best
