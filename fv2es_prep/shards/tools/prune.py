"""Removes unlisted shards and leftovers of dead runs from a dataset directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.shards.index import read_index
from fv2es_prep.utils.files import TEMPORARY_SUFFIX, cannot_write, is_running, refuse_url


@dataclass(frozen=True)
class Pruned:
    """A file that does not belong to the dataset, its size in bytes, and why."""

    name: str
    size_bytes: int
    reason: str


def prune(directory: Path, dry_run: bool = False) -> list[Pruned]:
    """Remove shards that are not in the index, and temporary files of dead processes.

    Returns:
        The removed files; with ``dry_run``, the files that would be removed.

    Raises:
        UsageError: the directory holds no finished dataset.
        ShardError: the index is damaged.
        OutputError: a file cannot be removed.
    """
    refuse_url(directory)
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
        return "not in the index"
    if path.name.startswith(".") and path.name.endswith(TEMPORARY_SUFFIX):
        process = path.name.removesuffix(TEMPORARY_SUFFIX).rpartition(".")[2]
        return "" if process.isdecimal() and is_running(int(process)) else "leftover of a dead run"
    return ""
