"""The catalogue of a dataset: the small columns of all shards, one row for each example.

Owns its columns in memory. If catalogue.parquet belongs to the shards of the index, columns are
read from it and no shard is opened; otherwise they are made from the shards. Leaves the file to
`catalogue_file`.
"""

from __future__ import annotations

import functools
import stat
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MODALITIES, MODALITY_NAMES
from fv2es_prep.errors import REBUILD_HINT, ShardError, words_of
from fv2es_prep.shards.catalogue_file import (
    COUNT,
    LABEL,
    RATING,
    TIMES,
    content_stages,
    is_current,
    read_column,
    table_from_shards,
    write_arrow,
)
from fv2es_prep.shards.index import CATALOGUE_NAME, Index, read_index
from fv2es_prep.shards.opening import regular_size
from fv2es_prep.shards.schema import MISSING
from fv2es_prep.stages.stage_rows import counted_columns
from fv2es_prep.store.shard_cache import dataset_directory, stored_size

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


@dataclass(frozen=True)
class Names:
    """A text column with repeated values, as numbers into a sorted list.

    Attributes:
        codes: int32 (N,), index into ``values``.
        values: distinct texts in order of code points.
    """

    codes: NDArray[np.int32]
    values: list[str]

    @functools.cached_property
    def known(self) -> NDArray[np.bool_]:
        """Bool (N,), whether the text is not empty."""
        known: NDArray[np.bool_] = self.codes != (0 if self.values[:1] == [""] else -1)
        return known

    def at(self, rows: Iterable[int]) -> list[str]:
        """The texts of some rows."""
        return [self.values[code] for code in self.codes[list(rows)]]


class Catalogue:
    """The columns of a catalogue, N rows each, read on first use.

    Args:
        index: index of the dataset.
        column: returns a column by its name in the file, as a `pyarrow.ChunkedArray`.
    """

    def __init__(self, index: Index, column: Callable[[str], Any]) -> None:
        self.index, self._column = index, column
        self.label_classes = index.label_classes

    def __len__(self) -> int:
        return self.index.examples

    @functools.cached_property
    def ids(self) -> Any:
        """Utterance ids, a `pyarrow.LargeStringArray`."""
        return self._text("id")

    @functools.cached_property
    def texts(self) -> Any:
        """Transcripts, a `pyarrow.LargeStringArray`."""
        return self._text("text")

    @functools.cached_property
    def recordings(self) -> Names:
        """The recordings of the utterances."""
        return names_of(self._text("recording_id"))

    @functools.cached_property
    def speakers(self) -> Names:
        """Their speakers; empty where unknown."""
        return names_of(self._text("speaker"))

    @functools.cached_property
    def sessions(self) -> Names:
        """Their sessions; empty where unknown."""
        return names_of(self._text("session"))

    @functools.cached_property
    def seconds(self) -> NDArray[np.float64]:
        """Length of each utterance, float64 (N,)."""
        start, end = (self._column(name).to_numpy() for name in TIMES)
        seconds: NDArray[np.float64] = end - start
        return seconds

    @functools.cached_property
    def spans_us(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Start and end in microseconds, int64 (N,) each, so that sums are exact."""
        start, end = (np.rint(self._column(name).to_numpy() * 1e6) for name in TIMES)
        return start.astype(np.int64), end.astype(np.int64)

    @functools.cached_property
    def label(self) -> NDArray[np.uint8]:
        """uint8 (N, C)."""
        label = np.zeros((len(self), len(self.label_classes)), np.uint8)
        for place, name in enumerate(self.label_classes):
            label[:, place] = self._column(LABEL + name).to_numpy()
        return label

    @functools.cached_property
    def ratings(self) -> dict[str, NDArray[np.float32]]:
        """Name -> float32 (N,), NaN where the corpus has none."""
        names = self.index.rating_names
        return {name: self._column(RATING + name).to_numpy() for name in names}

    @functools.cached_property
    def counts(self) -> dict[str, NDArray[np.int64]]:
        """Stage -> rows per example, int64 (N,); ``STAGE/COLUMN`` -> ones in a counted column."""
        names = counted_columns(self.index.settings)
        return {name: self._column(COUNT + name).to_numpy() for name in names}

    def count(self, name: str) -> NDArray[np.int64]:
        """One of ``counts``; zeros if the dataset does not have that stage."""
        return self.counts.get(name, np.zeros(len(self), np.int64))

    @functools.cached_property
    def missing(self) -> dict[str, Names]:
        """Letter of a modality -> code of why it is missing, empty where it is present."""
        if self.index.settings.require == MODALITIES:
            return dict.fromkeys(MISSING, Names(np.zeros(len(self), np.int32), [""]))
        return {letter: names_of(self._text(path)) for letter, path in MISSING.items()}

    def missing_counts(self) -> dict[str, dict[str, int]]:
        """Modality, e.g. ``video`` -> code -> number of utterances without it, if any."""
        found = {}
        for letter, codes in self.missing.items():
            numbers = np.bincount(codes.codes, minlength=len(codes.values)).tolist()
            counts = dict(zip(codes.values, numbers, strict=True))
            counts.pop("", None)
            if counts:
                found[MODALITY_NAMES[letter]] = counts
        return found

    @functools.cached_property
    def shard(self) -> NDArray[np.int64]:
        """int64 (N,), position of the shard in the index."""
        sizes = [entry.examples for entry in self.index.shards]
        return np.repeat(np.arange(len(sizes)), sizes)

    @functools.cached_property
    def row(self) -> NDArray[np.int64]:
        """int64 (N,), row in that shard."""
        parts = [np.arange(entry.examples) for entry in self.index.shards]
        return np.concatenate([np.zeros(0, np.int64), *parts])

    def content(self, stage: str) -> NDArray[np.int32]:
        """Ids of the stored values, int32 (N,): equal if the digests are equal.

        All differ if the dataset does not have the stage.
        """
        if stage not in content_stages(self.index.settings):
            return np.arange(len(self), dtype=np.int32)
        encoded = _whole(self._column(stage)).dictionary_encode()
        codes: NDArray[np.int32] = encoded.indices.to_numpy()
        return codes

    def rows_of(self, ids: Sequence[str]) -> NDArray[np.int64]:
        """int64, the row of each id; -1 where it is unknown."""
        import pyarrow as pa
        import pyarrow.compute as pc

        found = pc.index_in(pa.array(ids, pa.large_string()), value_set=self.ids)
        rows: NDArray[np.int64] = found.fill_null(-1).to_numpy().astype(np.int64)
        return rows

    def _text(self, name: str) -> Any:
        import pyarrow as pa

        return _whole(self._column(name).cast(pa.large_string()))


def names_of(texts: Any) -> Names:
    """Encode a text column as numbers.

    Args:
        texts: a `pyarrow.Array` of text, N rows, or a list of str.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    encoded = column.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary)
    place = np.empty(len(order), np.int32)
    place[order.to_numpy()] = np.arange(len(order), dtype=np.int32)
    codes = place[encoded.indices.to_numpy()] if len(order) else np.zeros(0, np.int32)
    return Names(codes, encoded.dictionary.take(order).to_pylist())


def read_catalogue(directory: Path) -> Catalogue:
    """Read the catalogue of a dataset from its file, or from the shards if it is missing or old.

    Writes nothing. A catalogue is read once and shared, see `ShardDataset.subset`.

    Raises:
        UsageError: the directory holds no finished dataset.
        ShardError: a shard is missing, has another size than in the index, or is damaged, if shards
            are read. A column of the file that cannot be read raises it on first use.
    """
    directory = dataset_directory(directory)
    index = read_index(directory)
    for entry in index.shards:
        # Sizes must match: they bound all counts. No shard is opened.
        path = directory / entry.name
        if not _has_size(path, entry.size_bytes):
            size = regular_size(path)
            raise ShardError(
                f"{path} has {size} bytes, expected {entry.size_bytes} as in its index",
                REBUILD_HINT,
            )
    if is_current(directory, index):
        return _from_file(directory, index)
    return Catalogue(index, table_from_shards(directory, index).column)


def _has_size(path: Path, size_bytes: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return stored_size(path) == size_bytes
    return stat.S_ISREG(found.st_mode) and found.st_size == size_bytes


def _from_file(directory: Path, index: Index) -> Catalogue:
    path = directory / CATALOGUE_NAME

    def column(name: str) -> Any:
        try:
            return read_column(path, name, index)
        except (OSError, ValueError, LookupError) as error:
            hint = "remove it; fv2es makes it again from the shards"
            raise ShardError(f"{path} is damaged: {words_of(error)}", hint) from error

    return Catalogue(index, column)


def write_catalogue(directory: Path, index: Index, rows: Mapping[str, bytes] = {}) -> Index:
    """Write catalogue.parquet for the shards of an index.

    Args:
        directory: the dataset.
        index: its index.
        rows: see `table_from_shards`.

    Returns:
        The index with the counts of missing modalities.

    Raises:
        ShardError: a shard is missing, damaged, foreign or of a newer format.
        OutputError: the file cannot be written.
    """
    table = table_from_shards(directory, index, rows)
    write_arrow(directory / CATALOGUE_NAME, table)
    return replace(index, missing=Catalogue(index, table.column).missing_counts())


def _whole(column: Any) -> Any:
    """A chunked column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
