"""Reading one shard: an example at a time, or a whole small column."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fv2es_prep.config import MODALITIES, PrepSettings
from fv2es_prep.errors import REBUILD_HINT, DropReason, SettingsError, ShardError
from fv2es_prep.shards.mapped import StoredColumn, map_columns
from fv2es_prep.shards.schema import (
    DAMAGE,
    FORMAT,
    MISSING,
    attributes_of,
    check_version,
    columns_of,
)
from fv2es_prep.stages.registry import modalities_of, stages_of
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.types import Dropped, Example, Utterance

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TEXTS = ("id", "recording_id", "text", "speaker", "session")
_NUMBERS = ("start_s", "end_s", "ratings", "clamped", "label")


class ShardReader:
    """One shard, opened on first use; pickling closes it. Do not fork while it is open.

    Small columns are read once. Other values are read-only views of the mapped file where its
    layout allows that (see `mapped`), else copies; both stay valid after `close`.

    Raises:
        ShardError: on first use, if the file is missing, damaged, foreign or from the future.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._small: dict[str, Any] = {}
        self._attributes: dict[str, str] = {}
        self._rows: _Rows | None = None

    def __len__(self) -> int:
        return len(self.column("id"))

    def read(self, row: int) -> Example:
        """One example; its arrays must not be written to.

        Raises:
            IndexError: there is no such row.
            ShardError: the file is damaged.
        """
        # This is called for each example of each epoch: no context manager, few calls.
        rows = self._rows
        if rows is None or not 0 <= row < len(rows.utterances):
            rows = self._rows_with(row)
        try:
            return rows.example(row)
        except DAMAGE as error:
            raise self._damaged(f"row {row}", error) from error

    def utterance(self, row: int) -> Utterance:
        """The utterance of one row; the view is not stored and comes back as the default.

        Raises:
            IndexError: there is no such row.
            ShardError: the file is damaged.
        """
        return self._rows_with(row).utterances[row]

    def fingerprints(self, row: int) -> dict[str, bytes]:
        """Stage -> digest of what its value is made from."""
        with self._parsing(f"the fingerprints of row {row}"):
            names = self.settings.stages
            return {name: self.column(f"origin/{name}")[row].tobytes() for name in names}

    def column(self, path: str) -> Any:
        """A whole small column: a list of str for text, else an array; read once."""
        if path not in self._small:
            file = self._open()
            try:
                data = file[path]
                text = data.dtype.kind == "S"
                self._small[path] = [v.decode() for v in data[()]] if text else data[()]
            except DAMAGE as error:
                raise ShardError(
                    f"{self.path} is damaged in /{path}: {error}", REBUILD_HINT
                ) from error
        return self._small[path]

    def stored_bytes(self, path: str) -> int:
        """Size of a column in bytes."""
        data = self._open()[path]
        return int(data.dtype.itemsize) * int(np.prod(data.shape, dtype=np.int64))

    def media_hashes(self) -> dict[str, tuple[str, str]]:
        """Recording id -> SHA-256 of its video and of its audio file."""
        with self._parsing("source"):
            entries = map(json.loads, self.column("source"))
            return {entry["recording_id"]: (entry["video"], entry["audio"]) for entry in entries}

    def dropped(self) -> list[Dropped]:
        """The utterances of the shard's task that could not be prepared."""
        with self._parsing("dropped"):
            entries = [json.loads(entry) for entry in self.column("dropped")]
            return [Dropped(**{**e, "reason": DropReason(e["reason"])}) for e in entries]

    @functools.cached_property
    def label_classes(self) -> tuple[str, ...]:
        """Names of the label columns."""
        with self._parsing("label_classes"):
            return tuple(json.loads(self.attribute("label_classes")))

    @functools.cached_property
    def settings(self) -> PrepSettings:
        """The settings that made the shard."""
        with self._parsing("settings"):
            return PrepSettings.from_json(json.loads(self.attribute("settings")))

    def attribute(self, name: str) -> str:
        """A root attribute as text."""
        if not self._attributes:
            self._open()
        return self._attributes[name]

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        self._rows = None
        self._close_file()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        return {"path": self.path}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["path"])  # type: ignore[misc]  # a fresh, unopened reader

    @contextlib.contextmanager
    def _parsing(self, name: str) -> Iterator[None]:
        try:
            yield
        except (*DAMAGE, SettingsError) as error:
            raise self._damaged(name, error) from error

    def _damaged(self, name: str, error: BaseException) -> ShardError:
        return ShardError(f"{self.path} is damaged in {name}: {error!r}", REBUILD_HINT)

    def _rows_with(self, row: int) -> _Rows:
        if self._rows is None:
            self._rows = self._read_rows()
        count = len(self._rows.utterances)
        if not 0 <= row < count:
            raise IndexError(f"{self.path.name} has no row {row}, only 0 to {count - 1}")
        return self._rows

    def _read_rows(self) -> _Rows:
        settings, classes = self.settings, self.label_classes
        ragged = [c for c in columns_of(settings) if c.kind in ("ragged", "bytes")]
        columns = map_columns(self.path, self._open(), ragged)
        columns |= {c.path: columns[c.path][0:].astype(np.bool_) for c in ragged if c.counted}

        def column(path: str) -> Any:
            return columns[path] if path in columns else self.column(path)

        with self._parsing("its small columns"):
            utterances = list(_utterances(self.column, classes))
            stages = [StageRows(stage, settings, column) for stage in stages_of(settings)]
            for rows in stages:
                if rows.ragged and len(rows.slices) != len(utterances):
                    raise ValueError(f"{rows.stage.name}/offsets is not one longer than id")
            found = _Rows(str(self.path), settings, utterances, self.column("label"), stages)
            if settings.require != MODALITIES:
                codes = zip(*(self.column(path) for path in MISSING.values()), strict=True)
                pairs = (zip(MISSING, row, strict=True) for row in codes)
                found.missing = [{letter: c for letter, c in row if c} for row in pairs]
        if not any(isinstance(column, StoredColumn) for column in columns.values()):
            self._close_file()
        return found

    def _open(self) -> Any:
        if self._file is None:
            import h5py

            try:
                file = h5py.File(self.path, "r")
            except OSError as error:
                raise ShardError(f"{self.path} cannot be read: {error}", REBUILD_HINT) from error
            try:
                self._attributes = _checked(self.path, file)
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file

    def _close_file(self) -> None:
        if self._file is not None:
            self._file.close()
        self._file = None


class _Rows:
    """All that the examples of a shard are made of, looked up once."""

    def __init__(
        self,
        name: str,
        settings: PrepSettings,
        utterances: list[Utterance],
        label: NDArray[np.uint8],
        stages: list[StageRows],
    ) -> None:
        self.utterances, self._label, self._settings = utterances, list(label), settings
        self._places = [f"{name}, row {row}," for row in range(len(utterances))]
        # This is called for each example of each epoch: nothing is looked up twice.
        self._stages = [(rows.stage.name, rows.stage.decode, rows.row) for rows in stages]
        self._letters = {rows.stage.name: {*modalities_of(rows.stage)} for rows in stages}
        self.missing: list[dict[str, str]] = []

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


def _checked(path: Path, file: Any) -> dict[str, str]:
    """The root attributes of a shard; ShardError if this reader does not understand the file."""
    try:
        found, version = (_text(file.attrs.get(n, b"")) for n in ("format", "format_version"))
        attributes: dict[str, str] = {}
        if found == FORMAT:
            attributes = {name: _text(file.attrs[name]) for name in attributes_of(version)}
        requires = json.loads(attributes.get("requires", "[]"))
    except DAMAGE as error:
        raise ShardError(f"{path} is damaged: {error}", REBUILD_HINT) from error
    check_version(str(path), found, version, requires)
    try:
        settings = PrepSettings.from_json(json.loads(attributes["settings"]))
    except (*DAMAGE, SettingsError):
        # What needs the settings reports the damage; ids and dropped utterances can be read.
        settings = PrepSettings()
    try:
        missing = [column.path for column in columns_of(settings) if column.path not in file]
    except DAMAGE as error:
        raise ShardError(f"{path} is damaged: {error}", REBUILD_HINT) from error
    if missing:
        raise ShardError(f"{path} lacks the column(s) {', '.join(missing)}", REBUILD_HINT)
    return attributes


def _text(attribute: Any) -> str:
    return bytes(attribute).decode()
