"""Near-identical transcripts: Jaccard similarity of their runs of five bytes.

MinHash (Broder 1997) finds candidates, which are then compared exactly. So every reported pair is
near; about one pair in twenty is missed at the threshold, and one in a thousand at 0.8. Imports
Numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.splits.shared import Mask
from fv2es_prep.splits.transcripts import bytes_of
from fv2es_prep.utils.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Minimum Jaccard similarity of the sets of runs of five bytes (UTF-8, normalised transcripts).
THRESHOLD = 0.7
RUN_BYTES = 5
# Candidates agree in all hashes of a band: 1 - (1 - 0.7 ** 5) ** 16 is 0.95.
_BANDS, _ROWS = 16, 5
# Comparisons per transcript and band, and neighbours considered for them.
_MAX_COMPARED, _MAX_SEEN = 8, 64
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def find_near(texts: Any, pairs: Sequence[tuple[Mask, Mask]]) -> NDArray[np.bool_]:
    """Mark transcripts of each pair's first set that are near to one of its second, bool (P, D).

    Args:
        texts: `pyarrow.LargeStringArray`, D distinct normalised transcripts.
        pairs: P pairs of sets, bool (D,) each, of transcripts of at least five bytes.
    """
    near = np.zeros((len(pairs), len(texts)), np.bool_)
    of, within = (np.stack(sets) for sets in zip(*pairs, strict=True))
    chosen = np.flatnonzero((of | within).any(axis=0))
    if not (of.any(axis=1) & within.any(axis=1)).any():
        return near
    data, offsets = bytes_of(texts)
    begin, end = offsets[chosen], offsets[chosen + 1]
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 1 << 31, _BANDS * _ROWS).astype(np.uint32) * np.uint32(2)
    terms = rng.integers(0, 1 << 32, _BANDS * _ROWS, np.uint32)
    found = near[:, chosen]
    for keys in _band_keys(data, begin, end, factors + np.uint32(1), terms):
        packed = np.sort((keys.astype(np.uint64) << _HALF) | np.arange(len(chosen), dtype="u8"))
        _compare(packed, data, begin, end, of[:, chosen], within[:, chosen], found)
    near[:, chosen] = found
    return near


@compiled
def _band_keys(
    data: NDArray[np.uint8],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    factors: NDArray[np.uint32],
    terms: NDArray[np.uint32],
) -> NDArray[np.uint32]:
    """The MinHash of each text, folded to one number for each band, uint32 (bands, D)."""
    keys = np.empty((_BANDS, len(begin)), np.uint32)
    least = np.empty(len(factors), np.uint32)
    for text in range(len(begin)):
        least[:] = np.uint32(0xFFFFFFFF)
        run = np.uint64(0)
        for place in range(begin[text], end[text]):
            run = ((run << np.uint64(8)) | np.uint64(data[place])) & np.uint64(0xFFFFFFFFFF)
            if place - begin[text] < RUN_BYTES - 1:
                continue
            value = np.uint32((run * _MIX) >> _HALF)
            for i in range(len(factors)):
                least[i] = min(least[i], np.uint32(value * factors[i] + terms[i]))
        for band in range(_BANDS):
            key = np.uint64(0)
            for i in range(band * _ROWS, (band + 1) * _ROWS):
                key = (key ^ np.uint64(least[i])) * _MIX
                key ^= key >> _HALF
            keys[band, text] = np.uint32(key >> _HALF)
    return keys


@compiled
def _compare(
    packed: NDArray[np.uint64],
    data: NDArray[np.uint8],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    of: NDArray[np.bool_],
    within: NDArray[np.bool_],
    found: NDArray[np.bool_],
) -> None:
    """Mark in ``found`` (P, D) the texts of ``of`` that are near to one of ``within``.

    ``packed`` holds sorted keys in the upper half and text numbers in the lower half; texts with
    the same key are compared.
    """
    first = 0
    while first < len(packed):
        last = first + 1
        while last < len(packed) and packed[last] >> _HALF == packed[first] >> _HALF:
            last += 1
        for i in range(first, last):
            text = np.int64(packed[i] & np.uint64(0xFFFFFFFF))
            compared = 0
            for step in range(1, min(last - first, _MAX_SEEN)):
                j = first + (i - first + step) % (last - first)
                other = np.int64(packed[j] & np.uint64(0xFFFFFFFF))
                open_pair = False
                for pair in range(len(of)):
                    open_pair |= of[pair, text] and within[pair, other] and not found[pair, text]
                if not open_pair or compared == _MAX_COMPARED:
                    continue
                compared += 1
                if _similarity(data, begin[text], end[text], begin[other], end[other]) < THRESHOLD:
                    continue
                for pair in range(len(of)):
                    found[pair, text] |= of[pair, text] and within[pair, other]
        first = last


@compiled
def _similarity(data: NDArray[np.uint8], begin: int, end: int, start: int, stop: int) -> float:
    """Jaccard similarity of the runs of two texts, given by their first and end bytes."""
    runs = _runs(data[begin:end])
    others = _runs(data[start:stop])
    both = len(runs) + len(others) - len(np.unique(np.concatenate((runs, others))))
    return both / (len(runs) + len(others) - both)


@compiled
def _runs(text: NDArray[np.uint8]) -> NDArray[np.uint64]:
    """The distinct runs of five bytes of a text of at least five bytes."""
    found = np.zeros(len(text) - RUN_BYTES + 1, np.uint64)
    for i in range(len(found)):
        for byte in text[i : i + RUN_BYTES]:
            found[i] = (found[i] << np.uint64(8)) | np.uint64(byte)
    return np.unique(found)
