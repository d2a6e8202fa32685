"""A list of ids as a few facts, by which it is known again and a changed line is found.

Owns the facts: count, SHA-256, and a sketch of a few kilobytes that is no list. The sketch is an
invertible Bloom lookup table (Goodrich and Mitzenmacher 2011): each id goes into three cells as a
64-bit hash, cells of two lists are subtracted, and what is left of few differences can be taken
apart into their hashes. Beside it are the least hashes, by which likeness is estimated where the
differences are too many (bottom-k sampling, Cohen and Kaplan 2007).
"""

from __future__ import annotations

import hashlib
import struct
from base64 import b64decode, b64encode
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

# About 60 differing ids of a subset can still be told one by one.
_CELLS, _PLACES = 96, 3
_LEAST = 64
_WORD = 1 << 64
_CELL = ">IQI"

# How many ids a cell holds, the sum of their hashes, the sum of the hashes of these.
_Cell = tuple[int, int, int]


@dataclass(frozen=True)
class Sketch:
    """The facts of one list.

    Attributes:
        count: its ids, each once.
        sha256: SHA-256 of the sorted ids, one on a line, hexadecimal.
        cells: the lookup table.
        least: the least hashes of all, in order.
    """

    count: int
    sha256: str
    cells: tuple[_Cell, ...]
    least: tuple[int, ...]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values; cells and hashes as the base64 of big-endian numbers."""
        cells = b"".join(struct.pack(_CELL, *cell) for cell in self.cells)
        least = struct.pack(f">{len(self.least)}Q", *self.least)
        told = {"count": self.count, "sha256": self.sha256}
        return told | {"cells": b64encode(cells).decode(), "least": b64encode(least).decode()}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Sketch:
        """The same back."""
        cells, least = b64decode(value["cells"]), b64decode(value["least"])
        hashes = struct.unpack(f">{len(least) // 8}Q", least)
        return cls(value["count"], value["sha256"], tuple(struct.iter_unpack(_CELL, cells)), hashes)


def sketch_of(ids: Iterable[str]) -> Sketch:
    """The facts of a list; an id that comes twice counts once."""
    every = sorted(set(ids))
    keys = sorted(map(hash_of, every))
    cells = [(0, 0, 0)] * _CELLS
    for key in keys:
        _put(cells, key, 1)
    digest = hashlib.sha256("\n".join(every).encode()).hexdigest()
    return Sketch(len(every), digest, tuple(cells), tuple(keys[:_LEAST]))


def hash_of(utterance: str) -> int:
    """The 64 bits that stand for an id: the first of its SHA-256."""
    return int.from_bytes(hashlib.sha256(utterance.encode()).digest()[:8], "big")


def differences(ours: Sketch, theirs: Sketch) -> tuple[set[int], set[int]] | None:
    """Hashes of the ids that only the first list has, and of those that only the second has.

    Returns:
        None where they are too many to be told.
    """
    cells = [
        (a - d, (b - e) % _WORD, (c - f) % (1 << 32))
        for (a, b, c), (d, e, f) in zip(ours.cells, theirs.cells, strict=True)
    ]
    found: dict[int, set[int]] = {1: set(), -1: set()}
    ready = list(range(_CELLS))
    while ready:
        sign, keys, checks = cells[ready.pop()]
        key = sign * keys % _WORD
        # A cell of one id alone is known by the hash of its hash.
        if abs(sign) == 1 and sign * checks % (1 << 32) == _check(key):
            found[sign].add(key)
            _put(cells, key, -sign)
            ready += _cells_of(key)
    return (found[1], found[-1]) if not any(map(any, cells)) else None


def likeness(ours: Sketch, theirs: Sketch) -> float:
    """Ids that both have, as a part of those that one of them has: an estimate, 0 to 1."""
    least = sorted({*ours.least, *theirs.least})[:_LEAST]
    return sum(key in ours.least and key in theirs.least for key in least) / max(len(least), 1)


def _put(cells: list[_Cell], key: int, sign: int) -> None:
    check = _check(key)
    for place in _cells_of(key):
        count, keys, checks = cells[place]
        cells[place] = (
            count + sign,
            (keys + sign * key) % _WORD,
            (checks + sign * check) % (1 << 32),
        )


def _cells_of(key: int) -> list[int]:
    """Three different cells: each from a part of the table of its own."""
    wide = _CELLS // _PLACES
    return [part * wide + (key >> (20 * part)) % (1 << 20) % wide for part in range(_PLACES)]


def _check(key: int) -> int:
    return int.from_bytes(hashlib.sha256(key.to_bytes(8, "big")).digest()[:4], "big")
