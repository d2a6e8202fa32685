"""The zeros at the end of a file that was not written whole, through which ffmpeg would search."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

# One picture is smaller, so what is cut lies after the last one.
_KEPT_BYTES = 128 << 20
_BLOCK_BYTES = 1 << 20
# Containers in which ffmpeg searches for the next packet byte by byte. In others, e.g. WAV, zeros
# may be sound.
_SEARCHED = (b"\x1aE\xdf\xa3", b"\0\0\1\xba", b"FLV", b"ID3", b"G", b"nut/multimedia")


def end_of_data(path: Path) -> int | None:
    """The bytes to read of a file that ends with more than 128 MiB of zeros; None: all.

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
    """Where the hole that reaches to ``end`` begins; ``end`` without one."""
    low, high = 0, end
    # No data from `high` to `end`: the system tells where the next data lie, but not the last.
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
