"""The source of an export: a dataset, its subsets, and the writing of its files."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.shards.index import Index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.show import Shown
from fv2es_prep.utils.files import make_directory, whole_file


@dataclass(frozen=True)
class Subsets:
    """Named subsets of a dataset.

    Attributes:
        ids: name of a subset -> its utterance ids.
        described: how the subsets were made, in one sentence.
    """

    ids: Mapping[str, frozenset[str]] = field(default_factory=dict)
    described: str = ""


NO_SUBSETS = Subsets()
DATA = "data"
"""The folder of the files that hold examples."""


@dataclass(frozen=True)
class ExportedFile:
    """A file of an export: its path in the directory, its examples, the subset they belong to."""

    name: str
    examples: int
    subset: str = ""


@dataclass(frozen=True)
class ExportedField:
    """A field of an exported example.

    Attributes:
        name: its name.
        kind: what one value is, as schema.org calls it: Text, Float, Integer, Boolean,
            ImageObject or AudioObject.
        meaning: one sentence.
        shape: shape of its values, e.g. ``-1,128`` if only the second size is fixed; empty for a
            single value.
        column: the column that holds it, if it has another name.
        within: its place in a value of the column, where it is a part of it.
    """

    name: str
    kind: str
    meaning: str
    shape: str = ""
    column: str = ""
    within: str = ""


@dataclass(frozen=True)
class Records:
    """How the files of an export store examples.

    Attributes:
        pattern: glob pattern of what holds records: files, or members of archives.
        encoding: their media type.
        by: how a field is found: in a ``column``, or by a property of the file, e.g. ``content``.
        archive: media type of the archives; empty if the files themselves match the pattern.
    """

    pattern: str
    encoding: str
    by: str = "column"
    archive: str = ""

    @property
    def file_encoding(self) -> str:
        """Media type of the files."""
        return self.archive or self.encoding


PARQUET_RECORDS = Records(f"{DATA}/*.parquet", "application/x-parquet")


@dataclass(frozen=True)
class ExportFormat:
    """A form in which a dataset can be exported.

    Attributes:
        title: what it is, as a noun phrase.
        load: lines of Python that load it from the directory ``DIR``.
        write: writes its files and returns them, see `Export.write_files`.
        fields: the fields of an example.
        records: how its files store examples.
        front: additional entries of the card's YAML header, name -> value.
    """

    title: str
    load: str
    write: Callable[[Export], list[ExportedFile]]
    fields: Callable[[Export], list[ExportedField]]
    records: Records
    front: Callable[[list[ExportedFile]], Mapping[str, object]] = lambda _: {}


@dataclass(frozen=True)
class Export:
    """A running export of a dataset.

    Attributes:
        directory: the dataset directory.
        catalogue: its catalogue.
        out: the directory to write.
        report: called with the number of examples done.
        subsets: the subsets to write, each to files of its own.
    """

    directory: Path
    catalogue: Catalogue
    out: Path
    report: Callable[[int], None] = lambda _: None
    subsets: Subsets = NO_SUBSETS

    def __len__(self) -> int:
        return sum(map(len, self.rows.values()))

    @property
    def index(self) -> Index:
        """Index of the dataset."""
        return self.catalogue.index

    @cached_property
    def one_class(self) -> bool:
        """Whether each example has exactly one class."""
        return bool((self.catalogue.label.sum(axis=1) == 1).all())

    @cached_property
    def rows(self) -> dict[str, list[int]]:
        """Subset -> catalogue rows of its examples; a single unnamed subset if there are none.

        Raises:
            UsageError: no example is in any subset.
        """
        ids = self.catalogue.ids.to_pylist()
        if not self.subsets.ids:
            return {"": list(range(len(ids)))}
        chosen = self.subsets.ids.items()
        rows = {name: [row for row, i in enumerate(ids) if i in of] for name, of in chosen}
        if not any(rows.values()):
            raise UsageError(
                f"the split has no example of {self.directory}", "pass a split of these shards"
            )
        return rows

    def write_files(
        self, suffix: str, write: Callable[[Path, Iterator[Shown]], None]
    ) -> list[ExportedFile]:
        """Write a file per shard, or per subset of a shard, with ``write(path, examples)``."""
        make_directory(self.out / DATA)
        return [
            self._write_file(f"{DATA}/{name}.{suffix}", number, subset, rows, write)
            for number in range(len(self.index.shards))
            for subset, name, rows in self._parts(number)
        ]

    def _parts(self, number: int) -> Iterator[tuple[str, str, list[int]]]:
        """Subset, file name and rows of each non-empty part of a shard."""
        stem = Path(self.index.shards[number].name).stem
        for subset, places in self.rows.items():
            rows = [int(self.catalogue.row[p]) for p in places if self.catalogue.shard[p] == number]
            if rows or not subset:
                yield subset, f"{subset}-{stem.rpartition('-')[2]}" if subset else stem, rows

    def _write_file(
        self,
        name: str,
        number: int,
        subset: str,
        rows: list[int],
        write: Callable[[Path, Iterator[Shown]], None],
    ) -> ExportedFile:
        shard = self.index.shards[number].name
        with (
            ShardReader(self.directory / shard, "first", self.index) as reader,
            whole_file(self.out / name) as temporary,
        ):
            write(temporary, self._examples(reader, shard, rows))
        return ExportedFile(name, len(rows), subset)

    def _examples(self, reader: ShardReader, shard: str, rows: list[int]) -> Iterator[Shown]:
        for row in rows:
            yield Shown(reader.read(row), shard, row, self.index.rating_names)
            self.report(1)
