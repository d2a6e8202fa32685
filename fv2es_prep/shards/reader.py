"""Reading one shard: an example at a time, or a whole small column."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from fv2es_prep.config import MODALITIES, PrepSettings, VerifyReads
from fv2es_prep.errors import DAMAGE, REBUILD_HINT, ShardError, words_of
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.opening import OpenShard, open_shard
from fv2es_prep.shards.schema import MISSING, columns_of
from fv2es_prep.stages.registry import modalities_of, stages_of
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.types import Dropped, Example, Utterance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fv2es_prep.shards.index import Index

_TEXTS = ("id", "recording_id", "text", "speaker", "session")
_NUMBERS = ("start_s", "end_s", "ratings", "clamped", "label")


class ShardReader:
    """One shard, opened on first use; pickling closes it.

    The file may be of unknown origin, see `opening` for the checks. Arrays are read-only views of
    the mapped file and stay valid after `close`.

    Args:
        path: the file.
        verify_reads: check the digests of an example when it is ``first`` read, ``always`` or
            ``never``. The digests of small columns are checked when the shard is opened.
        index: index of its dataset; a shard with other settings or classes is refused.

    Raises:
        ShardError: on first use, if the file is missing, damaged, foreign or of a newer format.
    """

    def __init__(
        self, path: Path, verify_reads: VerifyReads = "never", index: Index | None = None
    ) -> None:
        self.path, self.verify_reads, self.index = path, verify_reads, index
        self._shard: OpenShard | None = None
        self._rows: _Rows | None = None
        # Both stay without the file, see `unmap`.
        self._unmapped: OpenShard | None = None
        self._known: _Rows | None = None

    def __len__(self) -> int:
        return len(self.column("id"))

    def read(self, row: int) -> Example:
        """Read one example; its arrays are read-only.

        Raises:
            IndexError: there is no such row.
            ShardError: the file is damaged.
        """
        # Called for each example of each epoch, so no context manager and few calls.
        rows = self._rows
        if rows is None or not 0 <= row < len(rows.utterances):
            rows = self._rows_with(row)
        try:
            if rows.unverified:
                rows.verify(row, self.verify_reads == "always")
            return rows.example(row)
        except DAMAGE as error:
            raise self._damaged(f"row {row}", error) from error

    def utterance(self, row: int) -> Utterance:
        """The utterance of one row; its view is not stored and is the default.

        Raises:
            IndexError: there is no such row.
            ShardError: the file is damaged.
        """
        return self._rows_with(row).utterances[row]

    def fingerprints(self, row: int) -> dict[str, bytes]:
        """Stage -> digest of the inputs of its value."""
        with self._parsing(f"the fingerprints of row {row}"):
            names = self.settings.stages
            return {name: self.column(f"origin/{name}")[row].tobytes() for name in names}

    def column(self, path: str) -> Any:
        """A whole column: a list of str for text, otherwise a read-only array."""
        columns = self._open().columns
        if path not in columns:
            raise ShardError(f"{self.path} has no column {path}", REBUILD_HINT)
        return columns[path]

    def stored_bytes(self, path: str) -> int:
        """Size of a column in bytes."""
        return self._open().layout.columns[path].size_bytes

    def media_hashes(self) -> dict[str, tuple[str, str]]:
        """Recording id -> SHA-256 of its video and of its audio file."""
        with self._parsing("source"):
            entries = map(json.loads, self.column("source"))
            return {entry["recording_id"]: (entry["video"], entry["audio"]) for entry in entries}

    def dropped(self) -> list[Dropped]:
        """The utterances of the shard's task that could not be prepared."""
        with self._parsing("dropped"):
            entries = [json.loads(entry) for entry in self.column("dropped")]
            return [*map(Dropped.from_json, entries)]

    @functools.cached_property
    def label_classes(self) -> tuple[str, ...]:
        """Names of the label columns."""
        with self._parsing("label_classes"):
            return tuple(json.loads(self.attribute("label_classes")))

    @property
    def settings(self) -> PrepSettings:
        """The settings that made the shard."""
        return self._open().settings

    def attribute(self, name: str) -> str:
        """A root attribute as text."""
        return self._open().layout.attributes[name]

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._rows = self._shard = self._unmapped = self._known = None

    def unmap(self) -> None:
        """Close the file, but keep the checks: an unchanged file is not checked again."""
        if self._shard is not None:
            self._unmapped, self._known = self._shard.unmapped(), self._rows
            self._rows = self._shard = None
            if self._known is not None:
                self._known.bind(None, ())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path, "verify_reads": self.verify_reads, "index": self.index}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]  # a fresh, unopened reader

    @contextlib.contextmanager
    def _parsing(self, name: str) -> Iterator[None]:
        try:
            yield
        except DAMAGE as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: BaseException) -> ShardError:
        return ShardError(f"{self.path} is damaged in {name}: {words_of(error)}", REBUILD_HINT)

    def _rows_with(self, row: int) -> _Rows:
        if self._rows is None:
            self._rows = self._read_rows()
        count = len(self._rows.utterances)
        if not 0 <= row < count:
            raise IndexError(f"{self.path.name} has no row {row}, only 0 to {count - 1}")
        return self._rows

    def _read_rows(self) -> _Rows:
        settings, classes = self.settings, self.label_classes
        columns = dict(self._open().columns)
        columns |= {c.path: columns[c.path].astype(bool) for c in columns_of(settings) if c.counted}
        with self._parsing("its small columns"):
            stages = [StageRows(s, settings, columns.__getitem__) for s in stages_of(settings)]
            if (known := self._known) is not None:
                known.bind(self.column("label"), stages)
                self._known = None
                return known
            utterances = list(_utterances(self.column, classes))
            found = _Rows(str(self.path), settings, utterances)
            found.bind(self.column("label"), stages)
            if self.verify_reads != "never":
                found.unverified = {*range(len(utterances))}
            if settings.require != MODALITIES:
                codes = zip(*(self.column(path) for path in MISSING.values()), strict=True)
                pairs = (zip(MISSING, row, strict=True) for row in codes)
                found.missing = [{letter: c for letter, c in row if c} for row in pairs]
        return found

    def _open(self) -> OpenShard:
        if self._shard is None and self._unmapped is not None:
            self._shard, self._unmapped = self._unmapped.mapped(self.path), None
        if self._shard is None:
            self._known = None
            self._shard, index = open_shard(self.path), self.index
            if index and (self.settings, self.label_classes) != (
                index.settings,
                index.label_classes,
            ):
                self._shard = None
                raise ShardError(
                    f"{self.path} has other settings or classes than the index of its dataset",
                    REBUILD_HINT,
                )
        return self._shard


class _Rows:
    """The rows of a shard's examples, looked up once."""

    def __init__(self, name: str, settings: PrepSettings, utterances: list[Utterance]) -> None:
        self.utterances, self._settings = utterances, settings
        self._places = [f"{name}, row {row}," for row in range(len(utterances))]
        self.missing: list[dict[str, str]] = []
        self.unverified: set[int] = set()

    def bind(self, label: NDArray[np.uint8] | None, stages: Sequence[StageRows]) -> None:
        """Set the labels and columns of the mapped file, or release them."""
        # Called for each example of each epoch, so nothing is looked up twice.
        self._label = [] if label is None else list(label)
        self._stages = [(rows.stage.name, rows.stage.decode, rows.row) for rows in stages]
        self._digests = {s.stage.name: s.shard(f"digest/{s.stage.name}") for s in stages}
        self._letters = {rows.stage.name: {*modalities_of(rows.stage)} for rows in stages}

    def verify(self, row: int, again: bool) -> None:
        """Raise ValueError unless the digests of an example match its values."""
        if row not in self.unverified:
            return
        for name, _, of in self._stages:
            values = {f"{name}/{path}": value for path, value in of(row).items()}
            found = digests_of(values, self._settings)[name]
            if found != self._digests[name][row].tobytes():
                raise ValueError(f"its {name} do not match their digest")
        if not again:
            self.unverified.discard(row)

    def example(self, row: int) -> Example:
        settings, place = self._settings, self._places[row]
        missing, stages = self.missing[row] if self.missing else {}, self._stages
        if missing:
            stages = [s for s in stages if not self._letters[s[0]] & missing.keys()]
        parts = {}
        for name, decode, of in stages:
            parts[name] = decode(of(row), settings, place)
        return Example(self.utterances[row], self._label[row], missing, **parts)


def _utterances(column: Callable[[str], Any], classes: tuple[str, ...]) -> Iterator[Utterance]:
    columns = {name: column(name) for name in _TEXTS}
    columns |= {name: column(name).tolist() for name in _NUMBERS}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        label = zip(classes, row.pop("label"), strict=True)
        row["labels"] = tuple(name for name, holds in label if holds)
        row["transcript"] = row.pop("text")
        row["ratings"], row["clamped"] = tuple(row["ratings"]), bool(row["clamped"])
        yield Utterance(**row)
