"""Rows of one stage in one shard: maps each example to its part of each column."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.stages.base import Stage
from fv2es_prep.stages.registry import stages_of

if TYPE_CHECKING:
    from numpy.typing import NDArray


class StageRows:
    """The columns of a stage in one shard; ``column`` returns them by path.

    A column is any object that slices like an array.

    Attributes:
        columns: column -> all of its rows.
        offsets: int64 (N+1,); empty where all columns have one row per example.
        ragged: (column, its rows) of the ragged columns.
        bytes: (column, its bytes) of the byte columns.
        shard: returns other columns of the shard, e.g. ``start_s``.
    """

    def __init__(self, stage: Stage, settings: PrepSettings, column: Callable[[str], Any]) -> None:
        self.stage, self.settings, self.shard = stage, settings, column
        listed = stage.columns(settings)
        self.columns = {c.path: column(f"{stage.name}/{c.path}") for c in listed}
        self._single, self.ragged, self.bytes = (
            [(c.path, self.columns[c.path]) for c in listed if c.kind == kind]
            for kind in ("row", "ragged", "bytes")
        )
        self._mixed = bool(self._single or self.bytes)
        self.offsets: NDArray[np.int64] = (
            column(f"{stage.name}/offsets") if self.ragged else np.zeros(0, np.int64)
        )

    def __getitem__(self, column: str) -> Any:
        return self.columns[column]

    def row(self, number: int) -> dict[str, Any]:
        """Column -> the rows of one example; raises ValueError if its offsets are out of range."""
        if not self.ragged:
            return {path: column[number] for path, column in self._single}
        if (place := self.slices[number]) is None:
            raise ValueError("its offsets lie outside the columns")
        values = {}
        # On Python 3.11 a loop is faster than a comprehension, which costs a call.
        for path, column in self.ragged:
            values[path] = column[place]
        if self._mixed:
            values |= {path: column[number] for path, column in self._single}
            for path, column in self.bytes:
                end = self.files[place.stop]
                if end > len(column):
                    raise ValueError(f"its files end at byte {end} of {len(column)}")
                values[path] = column[self.files[place.start] : end]
        return values

    @functools.cached_property
    def lengths(self) -> NDArray[np.int64]:
        """Rows of each example: int64 (N,)."""
        lengths: NDArray[np.int64] = np.diff(self.offsets)
        return lengths

    def any(self, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which examples have a bad row: bool (N,)."""
        found: NDArray[np.bool_] = sums_of(bad, self.offsets) > 0
        return found

    @functools.cached_property
    def files(self) -> list[int]:
        """Where each file of the byte columns begins, and where the last ends."""
        sizes = self.columns["sizes"][0:] if self.bytes else []
        return [0, *np.cumsum(sizes, dtype=np.int64).tolist()]

    @functools.cached_property
    def slices(self) -> list[slice | None]:
        """The rows of each example; None if some are missing."""
        # A slice past the end would be silently shorter.
        most = min(len(column) for _, column in self.ragged)
        return [
            slice(begin, end) if 0 <= begin <= end <= most else None
            for begin, end in itertools.pairwise(self.offsets.tolist())
        ]


def sums_of(values: NDArray[Any], offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sum over the rows of each example: int64 (N,)."""
    sums = np.concatenate([[0], np.cumsum(values, dtype=np.int64)])
    found: NDArray[np.int64] = np.diff(sums[offsets])
    return found


def counted_columns(settings: PrepSettings) -> dict[str, tuple[str, str]]:
    """Counts per example: name -> path of the offsets, path of the column of ones.

    A stage's name counts its rows (no column); ``STAGE/COLUMN`` counts the ones of a column.
    """
    found = {}
    for stage in stages_of(settings):
        columns = list(stage.stored_columns(settings))
        if columns[-1].kind == "offsets":
            found[stage.name] = columns[-1].path, ""
            found |= {c.path: (columns[-1].path, c.path) for c in columns if c.counted}
    return found
