"""The digest of each part of an example, by which damage and sameness are known.

Owns how the four digests are computed. Leaves storing them to the writer, comparing to verify.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from fv2es_prep.shards.schema import COLUMNS, DIGEST_BYTES, LISTS

# The columns that each digest covers, in this order; the row's are all that are not ragged.
PARTS: dict[str, tuple[str, ...]] = {
    "row": tuple(
        column.path
        for column in COLUMNS
        if column.kind in ("text", "row")
        and column.path not in LISTS
        and not column.path.startswith("digest/")
    ),
    "faces": tuple(c.path for c in COLUMNS if c.path.startswith("faces/") and c.kind == "ragged"),
    "mel": ("mel/values",),
    "tokens": ("tokens/values",),
}
_DTYPES = {column.path: column.dtype for column in COLUMNS}


def digests_of(row: dict[str, Any]) -> dict[str, bytes]:
    """The digests of one example.

    Args:
        row: column path -> str for text, a number or an array else, without offsets.

    Returns:
        Name of the part -> 16 bytes, BLAKE2b over the bytes of its columns, for each part whose
        columns are all in ``row``; text is UTF-8, closed by a zero byte.
    """
    return {
        part: _digest(_bytes(path, row[path]) for path in paths)
        for part, paths in PARTS.items()
        if all(path in row for path in paths)
    }


def _bytes(path: str, value: Any) -> bytes:
    if isinstance(value, str):
        return value.encode() + b"\0"
    return np.ascontiguousarray(value, dtype=_DTYPES[path]).tobytes()


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()
