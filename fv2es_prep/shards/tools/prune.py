"""Taking away what does not belong into a dataset directory: foreign shards, dead runs' leftovers.

Owns what may go. Never touches a file that the index lists, nor a directory without an index.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.shards.index import read_index
from fv2es_prep.utils.files import TEMPORARY_SUFFIX, cannot_write


@dataclass(frozen=True)
class Pruned:
    """A file that does not belong: its name, its bytes, and why."""

    name: str
    size_bytes: int
    reason: str


def prune(directory: Path, dry_run: bool = False) -> list[Pruned]:
    """Remove shards that the index does not list, and temporary files whose process is gone.

    Args:
        directory: the dataset directory.
        dry_run: only tell.

    Returns:
        What was removed, or would be.

    Raises:
        UsageError: the directory holds no finished dataset: nothing can be told apart.
        ShardError: the index is damaged.
        OutputError: a file cannot be removed.
    """
    listed = {entry.name for entry in read_index(directory).shards}
    found = []
    for path in sorted(directory.iterdir()):
        reason = _reason(path, listed)
        if reason and (path.is_symlink() or path.is_file()):
            found.append(Pruned(path.name, path.lstat().st_size, reason))
            if not dry_run:
                try:
                    path.unlink(missing_ok=True)
                except OSError as error:
                    raise cannot_write(path, error) from error
    return found


def _reason(path: Path, listed: set[str]) -> str:
    if path.suffix == ".h5" and not path.name.startswith(".") and path.name not in listed:
        return "no shard of the index"
    if path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX):
        process = path.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")[2]
        return "" if process.isdecimal() and _alive(int(process)) else "leftover of a dead run"
    return ""


def _alive(process: int) -> bool:
    """Whether a process of that number runs on this host."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return process > 0
