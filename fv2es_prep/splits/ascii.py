"""Normalising transcripts of ASCII alone, by the million.

Owns one compiled loop; it gives what `transcripts` gives by expressions. Import it only when it is
needed: it loads Numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.splits.near import bytes_of
from fv2es_prep.utils.jit import compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

_KEEP, _BLANK, _DROP = 0, 1, 2


def normalised_ascii(texts: Any) -> Any:
    """Lower case, no punctuation and symbols, blanks joined.

    Args:
        texts: `pyarrow.LargeStringArray` without a byte above 127 and without nulls.
    """
    import pyarrow as pa

    data, offsets = bytes_of(texts)
    out = np.empty(int(offsets[-1] - offsets[0]), np.uint8)
    places = np.zeros(len(texts) + 1, np.int64)
    _normalise(data, offsets, _kinds(), out, places)
    buffers = [pa.py_buffer(places), pa.py_buffer(out[: places[-1]])]
    return pa.LargeStringArray.from_buffers(len(texts), *buffers)


def _kinds() -> NDArray[np.uint8]:
    """What becomes of each of the 128 characters."""
    kinds = np.full(128, _KEEP, np.uint8)
    for character in map(chr, range(33, 127)):
        kinds[ord(character)] = _KEEP if character.isalnum() else _DROP
    kinds[[*range(9, 14), *range(28, 33)]] = _BLANK
    return kinds


@compiled
def _normalise(
    data: NDArray[np.uint8],
    offsets: NDArray[np.int64],
    kinds: NDArray[np.uint8],
    out: NDArray[np.uint8],
    places: NDArray[np.int64],
) -> None:
    """Fill ``out`` and where each text begins in it."""
    size = 0
    for text in range(len(offsets) - 1):
        begin, blank = size, False
        for i in range(offsets[text], offsets[text + 1]):
            byte = data[i]
            kind = kinds[byte]
            if kind == _BLANK:
                blank = True
            elif kind == _KEEP:
                if blank and size > begin:
                    out[size] = 32
                    size += 1
                blank = False
                out[size] = byte + 32 if 65 <= byte <= 90 else byte
                size += 1
        places[text + 1] = size
