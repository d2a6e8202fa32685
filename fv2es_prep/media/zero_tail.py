"""Skips the zeros at the end of an incomplete file, which ffmpeg would search byte by byte."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

# Larger than any picture, so that the cut lies after the last one.
_KEPT_BYTES = 128 << 20
_BLOCK_BYTES = 1 << 20
# Containers in which ffmpeg searches for the next packet byte by byte. In others, e.g. WAV, zeros
# may be sound.
_SEARCHED = (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"FLV", b"ID3", b"G", b"nut/multimedia")


def end_of_data(path: Path) -> int | None:
    """Number of bytes to read if a file ends with more than 128 MiB of zeros; None to read all.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size <= _KEPT_BYTES or not _is_searched(file):
            return None
        end = _before_zeros(file, size) + _KEPT_BYTES
    return end if end < size else None


def _is_searched(file: BinaryIO) -> bool:
    file.seek(0)
    head = file.read(16)
    return head.startswith(_SEARCHED) or (head[:4] == b"RIFF" and head[8:12] == b"AVI ")


def _before_zeros(file: BinaryIO, size: int) -> int:
    """Offset at which the trailing zeros begin, rounded up to whole blocks from the end."""
    end, zeros = size, bytes(_BLOCK_BYTES)
    while end > 0:
        begin = max(end - _BLOCK_BYTES, 0)
        file.seek(begin)
        if file.read(end - begin) != zeros[: end - begin]:
            break
        end = _before_hole(file, begin)
    return end


def _before_hole(file: BinaryIO, end: int) -> int:
    """Offset at which the hole up to ``end`` begins; ``end`` if there is no hole."""
    low, high = 0, end
    # Bisection: the system finds the next data, but not the last. From `high` to `end` is none.
    while low < high:
        middle = (low + high) // 2
        if _data_from(file, middle) < end:
            low = middle + 1
        else:
            high = middle
    return high


def _data_from(file: BinaryIO, offset: int) -> int:
    try:
        return os.lseek(file.fileno(), offset, os.SEEK_DATA)
    except OSError:  # ENXIO: only a hole is left
        return 1 << 63
