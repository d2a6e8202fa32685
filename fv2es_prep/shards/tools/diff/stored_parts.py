"""Reads digests and origins of the parts of a dataset from its shards.

The catalogue lacks them. A shard that both datasets have is not opened.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import REBUILD_HINT, ShardError
from fv2es_prep.shards.index import Index, ShardEntry
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import DIGEST_BYTES
from fv2es_prep.utils.processes import in_order

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SHARDS_OF_A_TASK = 50


@dataclass(frozen=True)
class StoredParts:
    """Stored digests of the parts of one dataset; zeros for shards that were not opened.

    Attributes:
        columns: ``digest/STAGE`` and ``origin/STAGE``, uint8 (N, 16); ``clamped``, uint8 (N,).
        media_hashes: recording id -> SHA-256 of its video and of its audio file.
    """

    columns: dict[str, NDArray[np.uint8]]
    media_hashes: dict[str, tuple[str, str]]


def read_stored_parts(
    directory: Path,
    index: Index,
    stages: Iterable[str],
    known: Container[str],
    report: Callable[[int], None],
    jobs: int,
) -> StoredParts:
    """Read the digests of some stages.

    Args:
        directory: the dataset.
        index: its index.
        stages: names of stages that the dataset has.
        known: SHA-256 of shards that need not be opened.
        report: called with the number of shards done.
        jobs: number of processes that read.

    Raises:
        ShardError: a shard is missing, damaged, foreign or of a newer format.
        WorkError: a process was killed.
    """
    paths = tuple(f"{kind}/{name}" for name in stages for kind in ("digest", "origin"))
    columns: dict[str, NDArray[np.uint8]] = {
        path: np.zeros((index.examples, DIGEST_BYTES), np.uint8) for path in paths
    }
    columns["clamped"] = np.zeros(index.examples, np.uint8)
    ends = np.cumsum([entry.examples for entry in index.shards], dtype=int).tolist()
    opened = [n for n, entry in enumerate(index.shards) if entry.sha256 not in known]
    report(len(index.shards) - len(opened))
    starts = range(0, len(opened), _SHARDS_OF_A_TASK)
    groups = [opened[start : start + _SHARDS_OF_A_TASK] for start in starts]
    # Other processes get only the head of the index: its list of shards may be long.
    head, names = replace(index, shards=()), (*columns,)
    tasks = [(directory, head, [index.shards[n] for n in group], names) for group in groups]
    media_hashes: dict[str, tuple[str, str]] = {}
    for group, (parts, hashes) in zip(groups, in_order(_read, tasks, jobs), strict=True):
        for number, part in zip(group, parts, strict=True):
            end = ends[number]
            for path, values in part.items():
                columns[path][end - index.shards[number].examples : end] = values
        media_hashes |= hashes
        report(len(group))
    return StoredParts(columns, media_hashes)


def _read(
    directory: Path, index: Index, entries: Sequence[ShardEntry], paths: Sequence[str]
) -> tuple[list[dict[str, Any]], dict[str, tuple[str, str]]]:
    """The columns of each shard, and the hashes of their recordings."""
    parts: list[dict[str, Any]] = []
    media_hashes: dict[str, tuple[str, str]] = {}
    for entry in entries:
        with ShardReader(directory / entry.name, index=index) as reader:
            if len(reader) != entry.examples:
                raise ShardError(
                    f"{reader.path} has {len(reader)} examples, expected {entry.examples} as in "
                    "its index",
                    REBUILD_HINT,
                )
            # Copies: the views would keep the file mapped.
            parts.append({path: np.array(reader.column(path)) for path in paths})
            media_hashes |= reader.media_hashes()
    return parts, media_hashes
