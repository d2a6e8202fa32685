"""The ragged columns of a shard as arrays: views of one memory map, or through h5py."""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import REBUILD_HINT, ShardError
from fv2es_prep.shards.schema import DAMAGE
from fv2es_prep.stages.base import Column

if TYPE_CHECKING:
    from numpy.typing import NDArray


def map_columns(path: Path, file: Any, columns: Sequence[Column]) -> dict[str, Any]:
    """Columns to take slices of, by their path.

    A contiguous column without filter and of the schema's type becomes a read-only view of the
    file, so that a slice copies nothing; others become `StoredColumn`. Views outlive the
    `h5py.File`. The file must not be written to while they are used; replacing it by renaming is
    safe.

    Raises:
        ShardError: a column cannot be read, or lies past the end of the file.
    """
    try:
        with path.open("rb") as handle:
            content = mmap.mmap(handle.fileno(), 0, access=mmap.ACCESS_READ)
        return {
            column.path: _column(path, file[column.path], column, content) for column in columns
        }
    except DAMAGE as error:
        raise ShardError(f"{path} is damaged: {error!r}", REBUILD_HINT) from error


class StoredColumn:
    """A column that cannot be mapped: h5py reads and copies slices, in the type ``dtype``."""

    def __init__(self, data: Any, dtype: np.dtype[Any]) -> None:
        self._data = data
        self._dtype = dtype

    def __len__(self) -> int:
        return len(self._data)

    def __getitem__(self, rows: slice) -> NDArray[Any]:
        # Only the byte order may differ: another type is damage.
        part: NDArray[Any] = self._data[rows].astype(self._dtype, casting="equiv", copy=False)
        return part


def _column(path: Path, data: Any, column: Column, content: mmap.mmap) -> Any:
    dtype = np.dtype(column.dtype)
    if data.shape[1:] != column.row:
        raise ValueError(f"{column.path} has rows of shape {data.shape[1:]}, not {column.row}")
    if not _is_plain(data) or data.dtype != dtype or not dtype.isnative:
        return StoredColumn(data, dtype.newbyteorder("="))
    count = int(np.prod([int(n) for n in data.shape], dtype=object))
    offset = data.id.get_offset() if count else 0
    if offset is None or offset + count * dtype.itemsize > len(content):
        raise ShardError(f"{path} is shorter than its column {column.path}", REBUILD_HINT)
    return np.ndarray(data.shape, dtype, content, offset)


def _is_plain(data: Any) -> bool:
    import h5py

    plan = data.id.get_create_plist()
    return bool(
        plan.get_layout() == h5py.h5d.CONTIGUOUS and not plan.get_nfilters() and not data.external
    )
