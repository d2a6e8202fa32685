"""Digests of the parts of an example: they detect damage and compare examples."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.shards.schema import DIGEST_BYTES, LISTS, columns_of


@functools.lru_cache(maxsize=16)
def parts_of(settings: PrepSettings) -> dict[str, dict[str, str]]:
    """``row`` (columns of no stage) or stage -> columns of its digest, in order: path -> dtype."""
    parts: dict[str, dict[str, str]] = {"row": {}}
    for column in columns_of(settings):
        group = column.path.partition("/")[0]
        if group in settings.stages and column.kind != "offsets":
            parts.setdefault(group, {})[column.path] = column.dtype
        elif column.kind in ("text", "row") and group != "digest" and column.path not in LISTS:
            parts["row"][column.path] = column.dtype
    return parts


def digests_of(row: Mapping[str, Any], settings: PrepSettings) -> dict[str, bytes]:
    """The digests of one example.

    Args:
        row: column path -> str for text, otherwise a number or an array; without offsets.
        settings: settings of the shard.

    Returns:
        Name of the part -> 16 bytes, BLAKE2b over the bytes of its columns, for each part whose
        columns are all in ``row``; text is UTF-8, terminated by a zero byte.
    """
    return {
        part: hashlib.blake2b(
            b"".join(_bytes(row[path], dtype) for path, dtype in dtypes.items()),
            digest_size=DIGEST_BYTES,
        ).digest()
        for part, dtypes in parts_of(settings).items()
        if dtypes.keys() <= row.keys()
    }


def row_digests(columns: Mapping[str, Any], settings: PrepSettings) -> list[bytes]:
    """``digest/row`` of all examples of a shard, from its small columns."""
    parts: list[list[bytes]] = []
    for path, dtype in parts_of(settings)["row"].items():
        values = columns[path]
        if isinstance(values, list):
            parts.append([value.encode() + b"\0" for value in values])
        else:
            data = np.ascontiguousarray(values, dtype=dtype)
            parts.append([row.tobytes() for row in data])
    return [
        hashlib.blake2b(b"".join(row), digest_size=DIGEST_BYTES).digest()
        for row in zip(*parts, strict=True)
    ]


def _bytes(value: Any, dtype: str) -> bytes:
    if isinstance(value, str):
        return value.encode() + b"\0"
    return np.ascontiguousarray(value, dtype=dtype).tobytes()
