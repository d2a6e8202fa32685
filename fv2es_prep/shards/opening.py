"""Opens shards of unknown origin: the only way to open a shard.

Owns the checks before content is used: the file is regular, its layout is that of a shard
(`layout`), and its small columns are consistent. Data are read through a memory map; HDF5 only
tells where they are. Leaves all other invariants to `verify`.
"""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import DAMAGE, REBUILD_HINT, ShardError, words_of
from fv2es_prep.shards.layout import Layout, read_layout
from fv2es_prep.shards.verify.invariants import Columns, check_small, small_columns
from fv2es_prep.store.shard_cache import here
from fv2es_prep.utils.files import why_unreadable

# Findings of verify that a reader accepts.
_HARMLESS = ("I17", "stage")


@dataclass(frozen=True)
class OpenShard:
    """An opened and checked shard.

    Attributes:
        layout: its root attributes, and the locations of its columns.
        settings: the settings that made it.
        columns: path -> list of str for text, otherwise a read-only view of the mapped file.
        state: the file that was checked: device, inode, size and times.
    """

    layout: Layout
    settings: PrepSettings
    columns: Columns
    state: tuple[int, ...]

    def unmapped(self) -> OpenShard:
        """The shard without its file; keeps only texts."""
        texts = {name: column for name, column in self.columns.items() if isinstance(column, list)}
        return replace(self, columns=texts)

    def mapped(self, path: Path) -> OpenShard | None:
        """Map an unmapped shard again without new checks; None if the file has changed."""
        try:
            content, state = _map(path)
        except (OSError, ValueError):
            return None
        if state != self.state:
            return None
        lie = self.layout.columns.items()
        views = {name: at.of(content) for name, at in lie if name not in self.columns}
        return replace(self, columns={**self.columns, **views})


def open_shard(path: Path) -> OpenShard:
    """Open a shard of unknown origin.

    The file must not be written to while the columns are used; replacing it by renaming is safe.

    Raises:
        ShardError: the file is missing, not regular, damaged, foreign or of a newer format, has
            columns outside of it, or has invalid offsets, token ids or digests.
    """
    try:
        layout, content, state = map_shard(path)
    except DAMAGE as error:
        raise ShardError(f"{path} cannot be read: {words_of(error)}", REBUILD_HINT) from error
    if layout.refused is not None:
        raise layout.refused
    for code, sentence in layout.problems:
        if code not in _HARMLESS:
            raise ShardError(f"{path} is damaged: {sentence}", REBUILD_HINT)
    assert layout.settings is not None
    stored = {name: column.of(content) for name, column in layout.columns.items()}
    try:
        columns = small_columns(stored, layout.settings)
        for _, sentence in check_small(columns, layout.settings):
            raise ValueError(sentence)
    except DAMAGE as error:
        raise ShardError(f"{path} is damaged: {words_of(error)}", REBUILD_HINT) from error
    return OpenShard(layout, layout.settings, columns, state)


def map_shard(path: Path) -> tuple[Layout, Any, tuple[int, ...]]:
    """The layout of a shard, its content as a read-only buffer, and `OpenShard.state`.

    Raises:
        ShardError: it is not a regular file.
        Exception: one of `DAMAGE`, if HDF5 cannot read it.
    """
    import h5py

    size = regular_size(here(path))
    with h5py.File(path, "r") as file:
        layout = read_layout(str(path), file, size)
    content, state = _map(path)
    if len(content) < size:
        raise ValueError("it became shorter while it was opened")
    return layout, content, state


def _map(path: Path) -> tuple[mmap.mmap, tuple[int, ...]]:
    with path.open("rb") as handle:
        found = os.fstat(handle.fileno())
        content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
    times = found.st_mtime_ns, found.st_ctime_ns
    return content, (found.st_dev, found.st_ino, found.st_size, *times)


def regular_size(path: Path) -> int:
    """Size of a regular file in bytes; refuses a pipe, for example, which would block.

    Raises:
        ShardError: it is missing, cannot be opened, or is not a regular file.
    """
    if found := why_unreadable(path):
        raise ShardError(f"{path} cannot be read: {found[1]}", REBUILD_HINT)
    return path.stat().st_size
