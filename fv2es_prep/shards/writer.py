"""Writes one shard: spools rows to disk, and writes them contiguously at the end.

Equal examples give equal bytes.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from fv2es_prep.config import MODALITIES, PrepSettings
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.schema import (
    DIGEST_BYTES,
    FORMAT,
    FORMAT_VERSION,
    LISTS,
    MISSING,
    columns_of,
    features_of,
    row_shape,
)
from fv2es_prep.stages.base import Column
from fv2es_prep.stages.registry import load_stage, modalities_of
from fv2es_prep.types import Dropped, Example
from fv2es_prep.utils.files import cannot_write, sha256_of, whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COPIED_ROWS_BYTES = 8 << 20
_SPOOLED = ("ragged", "bytes")


@dataclass(frozen=True)
class ShardHeader:
    """The root attributes of a shard.

    Attributes:
        corpus: name of the corpus.
        label_classes: names of the label columns.
        rating_names: names of the rating columns.
        settings: the settings of every stage.
        media_hashes: recording id -> SHA-256 of its video and of its audio file.
        task_digest: digest of what the shard is made from.
    """

    corpus: str
    label_classes: tuple[str, ...]
    rating_names: tuple[str, ...]
    settings: PrepSettings
    media_hashes: dict[str, tuple[str, str]]
    task_digest: str

    def attributes(self) -> dict[str, str]:
        """The root attributes, as text."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "requires": json.dumps(features_of(self.settings)),
            "corpus": self.corpus,
            "label_classes": json.dumps(self.label_classes),
            "rating_names": json.dumps(self.rating_names),
            "stages": json.dumps(self.settings.stages),
            "settings": json.dumps(self.settings.to_json(), sort_keys=True),
            "settings_digest": self.settings.digest(),
            "task_digest": self.task_digest,
        }


class ShardWriter:
    """Writes one shard to ``path``; memory holds only the small columns.

    Raises:
        OutputError: from any method, if the shard cannot be written.
    """

    def __init__(self, path: Path, header: ShardHeader) -> None:
        self._path = path
        self._header = header
        self._columns = columns_of(header.settings)
        self._widths = len(header.label_classes), len(header.rating_names)
        self._small: dict[str, list[Any]] = {
            column.path: [] for column in self._columns if column.kind not in _SPOOLED
        }
        # Offsets -> the columns whose rows they count.
        self._counted: dict[str, list[str]] = {}
        for column in self._columns:
            if column.kind == "ragged":
                offsets = f"{column.path.partition('/')[0]}/offsets"
                self._counted.setdefault(offsets, []).append(column.path)
        try:
            self._spools = {
                column.path: _Spool(column, path.parent)
                for column in self._columns
                if column.kind in _SPOOLED
            }
        except OSError as error:
            raise cannot_write(path, error) from error

    def __len__(self) -> int:
        return len(self._small["id"])

    def append(self, example: Example, fingerprints: Mapping[str, bytes] = {}) -> None:
        """Add one example as the next row.

        Args:
            example: the example; a stage is absent if and only if one of its modalities is missing.
            fingerprints: stage -> digest of the inputs of its value; zeros where unknown.

        Raises:
            ValueError: a value is missing or does not have the shape and type of its columns.
            OutputError: the disk is full.
        """
        settings = self._header.settings
        row = {**self._absent(example), **example_row(example)}
        for name in settings.stages:
            known = fingerprints.get(name, bytes(DIGEST_BYTES))
            row[f"origin/{name}"] = np.frombuffer(known, np.uint8)
        for part, digest in digests_of(row, settings).items():
            row[f"digest/{part}"] = np.frombuffer(digest, np.uint8)
        try:
            for path, spool in self._spools.items():
                spool.append(row[path])
        except OSError as error:
            raise cannot_write(self._path, error) from error
        for path, values in self._small.items():
            if path in self._counted:
                rows = {self._spools[counted].rows for counted in self._counted[path]}
                if len(rows) > 1:
                    raise ValueError(
                        f"{', '.join(self._counted[path])} have different numbers of rows"
                    )
                values.append(rows.pop())
            elif path not in LISTS:
                values.append(row[path])

    def _absent(self, example: Example) -> dict[str, Any]:
        """Columns of missing modalities and of absent stages: no rows, or zeros."""
        settings, missing = self._header.settings, example.missing.keys()
        row: dict[str, Any] = {p: example.missing.get(key, "") for key, p in MISSING.items()}
        if (missing and settings.require == MODALITIES) or {*settings.require} & missing:
            raise ValueError(f"{example!r} lacks a modality of {settings.require}")
        for name in settings.stages:
            stage = load_stage(name)
            if bool({*modalities_of(stage)} & missing) == (name in example):
                raise ValueError(
                    f"{example!r}: the stage {name} contradicts the missing modalities"
                )
            for column in () if name in example else stage.columns(settings):
                rows = () if column.kind == "row" else (0,)
                row[f"{name}/{column.path}"] = np.zeros(
                    (*rows, *map(int, column.row)), column.dtype
                )
        return row

    def rewind(self, rows: int) -> None:
        """Discard the examples after the first ``rows``."""
        for spool in self._spools.values():
            spool.rewind(rows)
        for path, values in self._small.items():
            if path not in LISTS:
                del values[rows:]

    def made_from(self, media_hashes: dict[str, tuple[str, str]], task_digest: str) -> None:
        """Update the header after the worker has hashed the media files."""
        self._header = replace(self._header, media_hashes=media_hashes, task_digest=task_digest)

    def drop(self, dropped: Dropped) -> None:
        """Note an utterance that did not become an example."""
        self._small["dropped"].append(json.dumps(asdict(dropped), ensure_ascii=False))

    def close(self) -> tuple[str, int]:
        """Write the file, and return its SHA-256 in hexadecimal and its size in bytes."""
        with whole_file(self._path) as temporary:
            self._write(temporary)
            digest, size = sha256_of(temporary), temporary.stat().st_size
        self.discard()
        return digest, size

    def discard(self) -> None:
        """Discard the spooled rows without writing a file."""
        for spool in self._spools.values():
            spool.file.close()
        self._spools = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _write(self, path: Path) -> None:
        import h5py

        # Fixed bounds and no times, so that equal examples give equal bytes with any h5py.
        with h5py.File(path, "w", libver=("v110", "v110")) as file:
            for name, value in self._header.attributes().items():
                data = value.encode()
                kind = h5py.string_dtype("utf-8", max(len(data), 1))
                file.attrs.create(name, np.array(data, kind), dtype=kind)
            for column in self._columns:
                if column.kind in _SPOOLED:
                    self._spools[column.path].copy_to(file, column)
                else:
                    values = self._column(column)
                    file.create_dataset(column.path, data=values, track_times=False)

    def _column(self, column: Column) -> NDArray[Any]:
        import h5py

        rows = self._small[column.path]
        if column.path == "source":
            rows = [
                json.dumps({"recording_id": name, "video": video, "audio": audio})
                for name, (video, audio) in self._header.media_hashes.items()
            ]
        if column.kind == "text":
            data = [text.encode() for text in rows]
            length = max((len(text) for text in data), default=1) or 1
            return np.array(data, dtype=h5py.string_dtype("utf-8", length))
        if column.kind == "offsets":
            rows = [0, *rows]
        shape = row_shape(column, *self._widths)
        return np.array(rows, dtype=column.dtype).reshape(len(rows), *shape)


class _Spool:
    """The rows of one ragged or byte column, in a nameless temporary file beside the shard."""

    def __init__(self, column: Column, directory: Path) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed by the writer
        self.dtype = np.dtype(column.dtype)
        self._ends: list[int] = []
        self._path = column.path
        self._row_shape = column.row
        self._row_bytes = column.row_bytes

    @property
    def rows(self) -> int:
        return self._ends[-1] if self._ends else 0

    def append(self, values: NDArray[Any]) -> None:
        if values.dtype.kind not in (self.dtype.kind, "b"):
            raise ValueError(
                f"{self._path} has the type {values.dtype}, expected {self.dtype} as "
                "settings.storage says"
            )
        if values.shape[1:] != self._row_shape:
            raise ValueError(f"rows have the shape {values.shape[1:]}, expected {self._row_shape}")
        self.file.write(np.ascontiguousarray(values, self.dtype).tobytes())
        self._ends.append(self.rows + len(values))

    def rewind(self, examples: int) -> None:
        del self._ends[examples:]
        self.file.seek(self.rows * self._row_bytes)
        self.file.truncate()

    def copy_to(self, file: Any, column: Column) -> None:
        shape = (self.rows, *self._row_shape)
        dataset = file.create_dataset(column.path, shape, self.dtype, track_times=False)
        row_bytes = self._row_bytes
        step = max(_COPIED_ROWS_BYTES // row_bytes, 1)
        self.file.seek(0)
        for start in range(0, self.rows, step):
            count = min(step, self.rows - start)
            data = np.frombuffer(self.file.read(count * row_bytes), self.dtype)
            dataset[start : start + count] = data.reshape(count, *self._row_shape)


def example_row(example: Example) -> dict[str, Any]:
    """Column path -> value of one example in stored form, without offsets and digests."""
    utterance = example.utterance
    return {
        **utterance.to_json(),
        "text": utterance.transcript,
        "label": example.label,
        "ratings": utterance.ratings,
        "clamped": utterance.clamped,
        **{
            f"{name}/{column}": array
            for name, value in example.items()
            for column, array in load_stage(name).encode(value).items()
        },
    }
