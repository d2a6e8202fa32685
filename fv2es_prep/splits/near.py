"""Transcripts that are nearly the same: Jaccard similarity of their runs of five bytes.

Owns finding them among millions: candidates by MinHash (Broder 1997), each compared exactly. What
is told is therefore always true; of pairs at the bound about one in twenty is not found, at 0.8 one
in a thousand. Import it only when it is needed: it loads Numba.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.utils.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.splits.shared import Mask

# The least Jaccard similarity of the sets of runs of five bytes (UTF-8, normalised transcripts).
BOUND = 0.7
RUN_BYTES = 5
# Two transcripts are candidates if all hashes of a band agree: 1 - (1 - 0.7 ** 5) ** 16 is 0.95.
_BANDS, _ROWS = 16, 5
# In one band a transcript is compared with so many, of so many beside it: work stays in proportion
# where thousands are alike.
_MOST_COMPARED, _MOST_SEEN = 8, 64
_MIX = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def find_near(texts: Any, pairs: Sequence[tuple[Mask, Mask]]) -> NDArray[np.bool_]:
    """Which transcripts are near to one of another set.

    Args:
        texts: `pyarrow.LargeStringArray`, D transcripts, normalised, each once.
        pairs: P times two sets, bool (D,) each; transcripts of at least five bytes.

    Returns:
        bool (P, D): of the first set of each pair, those near to one of its second.
    """
    near = np.zeros((len(pairs), len(texts)), np.bool_)
    chosen = np.flatnonzero(np.any([mask for pair in pairs for mask in pair], axis=0))
    of = np.stack([pair[0][chosen] for pair in pairs])
    within = np.stack([pair[1][chosen] for pair in pairs])
    if not (of.any(axis=1) & within.any(axis=1)).any():
        return near
    data, offsets = bytes_of(texts)
    begin, end = offsets[chosen], offsets[chosen + 1]
    rng = np.random.default_rng(0)
    factors = rng.integers(0, 1 << 31, _BANDS * _ROWS).astype(np.uint32) * np.uint32(2)
    factors += np.uint32(1)
    terms = rng.integers(0, 1 << 32, _BANDS * _ROWS, np.uint32)
    keys = _band_keys(data, begin, end, factors, terms, _BANDS)
    found = np.zeros((len(pairs), len(chosen)), np.bool_)
    for band in range(_BANDS):
        packed = np.sort(
            (keys[band].astype(np.uint64) << _HALF) | np.arange(len(chosen), dtype="u8")
        )
        _compare(packed, data, begin, end, of, within, found, BOUND)
    near[:, chosen] = found
    return near


def bytes_of(texts: Any) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The bytes of all texts end to end, and where each begins; (D + 1,)."""
    _, places, data = texts.buffers()
    offsets = np.frombuffer(places, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return np.frombuffer(data, np.uint8), offsets


@compiled
def _band_keys(
    data: NDArray[np.uint8],
    begin: NDArray[np.int64],
    end: NDArray[np.int64],
    factors: NDArray[np.uint32],
    terms: NDArray[np.uint32],
    bands: int,
) -> NDArray[np.uint32]:
    """MinHash of each text, folded to one number for each band: uint32 (bands, D)."""
    rows = len(factors) // bands
    keys = np.empty((bands, len(begin)), np.uint32)
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
                hashed = np.uint32(value * factors[i] + terms[i])
                least[i] = min(least[i], hashed)
        for band in range(bands):
            key = np.uint64(0)
            for i in range(band * rows, (band + 1) * rows):
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
    bound: float,
) -> None:
    """Compare the texts that have the same key; mark in ``found`` what is near."""
    first = 0
    while first < len(packed):
        last = first + 1
        while last < len(packed) and packed[last] >> _HALF == packed[first] >> _HALF:
            last += 1
        for i in range(first, last):
            text = np.int64(packed[i] & np.uint64(0xFFFFFFFF))
            runs = np.empty(0, np.uint64)
            compared = 0
            for step in range(1, min(last - first, _MOST_SEEN)):
                j = first + (i - first + step) % (last - first)
                other = np.int64(packed[j] & np.uint64(0xFFFFFFFF))
                wanted = False
                for pair in range(len(of)):
                    wanted |= of[pair, text] and within[pair, other] and not found[pair, text]
                if not wanted or compared == _MOST_COMPARED:
                    continue
                compared += 1
                if not len(runs):
                    runs = _runs(data, begin[text], end[text])
                if _similarity(runs, _runs(data, begin[other], end[other])) >= bound:
                    for pair in range(len(of)):
                        found[pair, text] |= of[pair, text] and within[pair, other]
        first = last


@compiled
def _runs(data: NDArray[np.uint8], begin: int, end: int) -> NDArray[np.uint64]:
    """The set of a text's runs of five bytes, in order."""
    found = np.empty(max(end - begin - RUN_BYTES + 1, 0), np.uint64)
    run = np.uint64(0)
    for place in range(begin, end):
        run = ((run << np.uint64(8)) | np.uint64(data[place])) & np.uint64(0xFFFFFFFFFF)
        if place - begin >= RUN_BYTES - 1:
            found[place - begin - RUN_BYTES + 1] = run
    return np.unique(found)


@compiled
def _similarity(one: NDArray[np.uint64], other: NDArray[np.uint64]) -> float:
    """Jaccard similarity of two sets in order."""
    i, j, both = 0, 0, 0
    while i < len(one) and j < len(other):
        if one[i] == other[j]:
            both += 1
            i += 1
            j += 1
        elif one[i] < other[j]:
            i += 1
        else:
            j += 1
    return both / max(len(one) + len(other) - both, 1)
