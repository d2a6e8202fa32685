"""Reading shards: one example at a time, or the small columns of a whole dataset at once.

Owns going from bytes back to the same examples. Leaves splits and batches to others.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from fv2es_prep.errors import DropReason, SettingsError, ShardError
from fv2es_prep.origin import Origin
from fv2es_prep.settings import PrepSettings
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.schema import ATTRIBUTES, COLUMNS, DAMAGE, FORMAT, LISTS, check_version
from fv2es_prep.types import Dropped, Example, Faces, MelSpectrum, Utterance

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HINT = "run the `fv2es prep` command that made it again; it rebuilds what is damaged"


class ShardReader:
    """One shard held open for reading; opened when first used, so that it can be pickled.

    Args:
        path: the shard.

    Raises:
        ShardError: on first use, if the file is missing, damaged, foreign or from the future.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None
        self._small: dict[str, Any] = {}
        self._attributes: dict[str, str] = {}

    def __len__(self) -> int:
        return len(self.column("id"))

    def read(self, row: int) -> Example:
        """One example.

        Args:
            row: from 0 to ``len(self) - 1``.

        Raises:
            IndexError: there is no such row.
            ShardError: the file is damaged.
        """
        if not 0 <= row < len(self):
            raise IndexError(f"{self.path.name} has no row {row}, only 0 to {len(self) - 1}")
        with self._parsing(f"row {row}"):
            faces = Faces(
                rgb=self._part("faces", "values", row),
                times_s=self._part("faces", "times_s", row),
                found=self._part("faces", "found", row).astype(np.bool_),
                box=self._part("faces", "box", row),
                prob=self._part("faces", "prob", row),
            )
            mel = MelSpectrum(self._part("mel", "values", row), self.settings.mel.hop_s)
            tokens = self._part("tokens", "values", row)
            return Example(self.utterance(row), self.column("label")[row], faces, mel, tokens)

    def utterance(self, row: int) -> Utterance:
        """Who said it and when; the view is not stored and comes back as the default."""
        with self._parsing(f"row {row}"):
            return self._utterance(row)

    def _utterance(self, row: int) -> Utterance:
        label = self.column("label")[row]
        names = zip(self.label_classes, label, strict=True)
        return Utterance(
            id=self.column("id")[row],
            recording_id=self.column("recording_id")[row],
            start_s=float(self.column("start_s")[row]),
            end_s=float(self.column("end_s")[row]),
            transcript=self.column("text")[row],
            labels=tuple(name for name, holds in names if holds),
            speaker=self.column("speaker")[row],
            session=self.column("session")[row],
            ratings=tuple(float(value) for value in self.column("ratings")[row]),
            clamped=bool(self.column("clamped")[row]),
        )

    def origin(self, row: int) -> Origin:
        """What the parts of an example are made from."""
        with self._parsing(f"the origin of row {row}"):
            faces, mel, tokens = (
                self.column(f"origin/{part}")[row].tobytes() for part in ("faces", "mel", "tokens")
            )
            return Origin(faces, mel, tokens)

    def column(self, path: str) -> Any:
        """A whole small column: a list of str for text, else an array; read once."""
        file = self._open()
        if path not in self._small:
            try:
                data = file[path]
                text = data.dtype.kind == "S"
                self._small[path] = [v.decode() for v in data[()]] if text else data[()]
            except DAMAGE as error:
                raise ShardError(f"{self.path} is damaged in /{path}: {error}", _HINT) from error
        return self._small[path]

    def stored_bytes(self, path: str) -> int:
        """Bytes that a column takes."""
        data = self._open()[path]
        return int(data.dtype.itemsize) * int(np.prod(data.shape, dtype=np.int64))

    def sources(self) -> dict[str, tuple[str, str]]:
        """Recording id -> SHA-256 of its video and of its audio file."""
        with self._parsing("source"):
            entries = [json.loads(entry) for entry in self.column("source")]
            return {entry["recording_id"]: (entry["video"], entry["audio"]) for entry in entries}

    def dropped(self) -> list[Dropped]:
        """The utterances that were to be in the shard and could not be prepared."""
        with self._parsing("dropped"):
            entries = [json.loads(entry) for entry in self.column("dropped")]
            return [Dropped(**{**e, "reason": DropReason(e["reason"])}) for e in entries]

    @property
    def label_classes(self) -> tuple[str, ...]:
        """Names of the label columns."""
        with self._parsing("label_classes"):
            return tuple(json.loads(self.attribute("label_classes")))

    @property
    def settings(self) -> PrepSettings:
        """The settings that made the shard."""
        with self._parsing("settings"):
            return PrepSettings.from_json(json.loads(self.attribute("settings")))

    def attribute(self, name: str) -> str:
        """A root attribute as text."""
        self._open()
        return self._attributes[name]

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._file is not None:
            self._file.close()
        self._file = None

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
            raise ShardError(f"{self.path} is damaged in {name}: {error!r}", _HINT) from error

    def _part(self, group: str, name: str, row: int) -> NDArray[Any]:
        begin, end = self.column(f"{group}/offsets")[row : row + 2]
        part: NDArray[Any] = self._open()[f"{group}/{name}"][begin:end]
        return part

    def _open(self) -> Any:
        if self._file is None:
            import h5py

            try:
                file = h5py.File(self.path, "r")
            except OSError as error:
                raise ShardError(f"{self.path} cannot be read: {error}", _HINT) from error
            try:
                self._attributes = _checked(self.path, file)
            except BaseException:
                file.close()
                raise
            self._file = file
        return self._file


def _checked(path: Path, file: Any) -> dict[str, str]:
    """The root attributes of a file that is a shard this reader understands.

    Raises:
        ShardError: it is none.
    """
    try:
        found = str(bytes(file.attrs.get("format", b"")).decode())
        if found == FORMAT:
            attributes = {name: bytes(file.attrs[name]).decode() for name in ATTRIBUTES}
            version, requires = attributes["format_version"], json.loads(attributes["requires"])
            missing = [column.path for column in COLUMNS if column.path not in file]
        else:
            attributes, version, requires, missing = {}, "", [], []
    except DAMAGE as error:
        raise ShardError(f"{path} is damaged: {error}", _HINT) from error
    check_version(str(path), found, version, requires)
    if missing:
        raise ShardError(f"{path} lacks the column(s) {', '.join(missing)}", _HINT)
    return attributes


@dataclass(frozen=True)
class Catalogue:
    """The small columns of all shards of a dataset, in the order of the index; N rows.

    Attributes:
        label_classes: names of the label columns.
        ids: utterance ids.
        recording_ids: their recordings.
        speakers: their speakers.
        sessions: their sessions.
        texts: their transcripts.
        start_s: float64 (N,), seconds.
        end_s: float64 (N,), seconds.
        label: uint8 (N, C).
        frames: int64 (N,), number of faces.
        found: int64 (N,), number of faces that were found.
        mel_rows: int64 (N,), rows of the spectrum.
        shard: int64 (N,), place of the shard in the index.
        row: int64 (N,), row in that shard.
    """

    label_classes: tuple[str, ...]
    ids: list[str]
    recording_ids: list[str]
    speakers: list[str]
    sessions: list[str]
    texts: list[str]
    start_s: NDArray[np.float64]
    end_s: NDArray[np.float64]
    label: NDArray[np.uint8]
    frames: NDArray[np.int64]
    found: NDArray[np.int64]
    mel_rows: NDArray[np.int64]
    shard: NDArray[np.int64]
    row: NDArray[np.int64]


def read_catalogue(directory: Path) -> Catalogue:
    """The small columns of a dataset.

    Raises:
        UsageError: the directory holds no finished dataset.
        ShardError: a shard is missing, damaged, foreign or from the future.
    """
    index = read_index(directory)
    parts = [_small_columns(directory / shard.name) for shard in index.shards]

    def text(name: str) -> list[str]:
        return [value for part in parts for value in part[name]]

    def numbers(name: str, dtype: str, width: tuple[int, ...] = ()) -> NDArray[Any]:
        return np.concatenate([np.zeros((0, *width), dtype), *(part[name] for part in parts)])

    return Catalogue(
        label_classes=index.label_classes,
        ids=text("id"),
        recording_ids=text("recording_id"),
        speakers=text("speaker"),
        sessions=text("session"),
        texts=text("text"),
        start_s=numbers("start_s", "f8"),
        end_s=numbers("end_s", "f8"),
        label=numbers("label", "u1", (len(index.label_classes),)),
        frames=numbers("frames", "i8"),
        found=numbers("found", "i8"),
        mel_rows=numbers("mel_rows", "i8"),
        shard=np.repeat(np.arange(len(parts)), [len(part["id"]) for part in parts]),
        row=numbers("row", "i8"),
    )


def _small_columns(path: Path) -> dict[str, Any]:
    with ShardReader(path) as reader:
        names = [c.path for c in COLUMNS if c.kind in ("text", "row") and c.path not in LISTS]
        columns = {name: reader.column(name) for name in names}
        faces = reader.column("faces/offsets")
        found = np.concatenate([[0], np.cumsum(reader.column("faces/found"), dtype=np.int64)])
        columns["frames"] = np.diff(faces)
        columns["found"] = np.diff(found[faces])
        columns["mel_rows"] = np.diff(reader.column("mel/offsets"))
        columns["row"] = np.arange(len(reader))
    return columns
