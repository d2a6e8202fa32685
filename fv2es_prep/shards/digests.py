"""The digest of each part of an example, by which damage and sameness are known.

Owns how the four digests are computed. Leaves storing them to the writer, comparing to verify.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Iterable
from typing import Any

import numpy as np

from fv2es_prep.config import LOSSLESS, StorageSettings
from fv2es_prep.shards.schema import DIGEST_BYTES, LISTS, columns_of


@functools.cache
def parts_of(storage: StorageSettings) -> dict[str, tuple[str, ...]]:
    """The columns that each digest covers, in this order; the row's are all that are not ragged."""
    columns = columns_of(storage)
    ragged = [column.path for column in columns if column.kind in ("ragged", "bytes")]
    return {
        "row": tuple(
            column.path
            for column in columns
            if column.kind in ("text", "row")
            and column.path not in LISTS
            and not column.path.startswith("digest/")
        ),
        "faces": tuple(path for path in ragged if path.startswith("faces/")),
        "mel": ("mel/values",),
        "tokens": ("tokens/values",),
    }


def digests_of(row: dict[str, Any], storage: StorageSettings = LOSSLESS) -> dict[str, bytes]:
    """The digests of one example.

    Args:
        row: column path -> str for text, a number or an array else, without offsets.
        storage: the form in which faces and spectrum are stored.

    Returns:
        Name of the part -> 16 bytes, BLAKE2b over the bytes of its columns, for each part whose
        columns are all in ``row``; text is UTF-8, closed by a zero byte.
    """
    dtypes = {column.path: column.dtype for column in columns_of(storage)}
    return {
        part: _digest(_bytes(row[path], dtypes[path]) for path in paths)
        for part, paths in parts_of(storage).items()
        if all(path in row for path in paths)
    }


def _bytes(value: Any, dtype: str) -> bytes:
    if isinstance(value, str):
        return value.encode() + b"\0"
    return np.ascontiguousarray(value, dtype=dtype).tobytes()


def _digest(parts: Iterable[bytes]) -> bytes:
    digest = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        digest.update(part)
    return digest.digest()
