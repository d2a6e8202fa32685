"""Writing one shard: rows are spooled to disk as they come, and laid down contiguously at the end.

Owns the bytes of a shard: equal examples give equal bytes. Leaves what is in it to `schema`.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, Self

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.schema import (
    DIGEST_BYTES,
    FORMAT,
    FORMAT_VERSION,
    LISTS,
    Column,
    columns_of,
    features_of,
    row_shape,
)
from fv2es_prep.stages.compact import JpegFaces, MelSteps
from fv2es_prep.stages.fingerprint import UNKNOWN, Origin
from fv2es_prep.types import Dropped, Example
from fv2es_prep.utils.files import cannot_write, sha256_of, whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

_COPIED_ROWS_BYTES = 8 << 20
_SPOOLED = ("ragged", "bytes")
# The column whose rows the offsets of a group count.
_COUNTED = {"faces": "faces/times_s", "mel": "mel/values", "tokens": "tokens/values"}


@dataclass(frozen=True)
class ShardHeader:
    """What the root of a shard says.

    Attributes:
        corpus: name of the corpus.
        label_classes: names of the label columns.
        rating_names: names of the rating columns.
        settings: the settings of every stage.
        sources: recording id -> SHA-256 of its video and of its audio file.
        task_digest: digest of what the shard is made from.
    """

    corpus: str
    label_classes: tuple[str, ...]
    rating_names: tuple[str, ...]
    settings: PrepSettings
    sources: dict[str, tuple[str, str]]
    task_digest: str

    def attributes(self) -> dict[str, str]:
        """The root attributes, as text."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "requires": json.dumps(features_of(self.settings.storage)),
            "corpus": self.corpus,
            "label_classes": json.dumps(self.label_classes),
            "rating_names": json.dumps(self.rating_names),
            "settings": json.dumps(self.settings.to_json(), sort_keys=True),
            "settings_digest": self.settings.digest(),
            "task_digest": self.task_digest,
        }


class ShardWriter:
    """One shard in the making; memory holds no more than the small columns.

    Args:
        path: where the finished shard will be.
        header: what its root says.

    Raises:
        OutputError: on any method, if the place cannot be written.
    """

    def __init__(self, path: Path, header: ShardHeader) -> None:
        self._path = path
        self._header = header
        self._columns = columns_of(header.settings.storage)
        self._small: dict[str, list[Any]] = {
            column.path: [] for column in self._columns if column.kind not in _SPOOLED
        }
        self._small["source"] = [
            json.dumps({"recording_id": name, "video": video, "audio": audio})
            for name, (video, audio) in header.sources.items()
        ]
        try:
            self._spools = {
                column.path: _Spool(column, path.parent, header.settings)
                for column in self._columns
                if column.kind in _SPOOLED
            }
        except OSError as error:
            raise cannot_write(path, error) from error

    def __len__(self) -> int:
        return len(self._small["id"])

    def append(self, example: Example, origin: Origin = UNKNOWN) -> None:
        """Add one example as the next row.

        Args:
            example: what is added.
            origin: digests of what its parts are made from.

        Raises:
            ValueError: a part of it has another shape, or another form, than the settings say.
            OutputError: the disk is full.
        """
        row = example_row(example)
        for part in ("faces", "mel", "tokens"):
            row[f"origin/{part}"] = np.frombuffer(getattr(origin, part), np.uint8)
        for part, digest in digests_of(row, self._header.settings.storage).items():
            row[f"digest/{part}"] = np.frombuffer(digest, np.uint8)
        for column in self._columns:
            if column.kind in _SPOOLED:
                try:
                    self._spools[column.path].append(row[column.path])
                except OSError as error:
                    raise cannot_write(self._path, error) from error
            elif column.path in row:
                self._small[column.path].append(row[column.path])
        for part, counted in _COUNTED.items():
            self._small[f"{part}/offsets"].append(self._spools[counted].rows)

    def rewind(self, rows: int) -> None:
        """Forget the examples that were appended after the first ``rows``."""
        for spool in self._spools.values():
            spool.rewind(rows)
        for path, values in self._small.items():
            if path not in LISTS:
                del values[rows:]

    def drop(self, dropped: Dropped) -> None:
        """Note an utterance that did not become an example."""
        self._small["dropped"].append(json.dumps(asdict(dropped), ensure_ascii=False))

    def close(self) -> tuple[str, int]:
        """Write the file under its name.

        Returns:
            SHA-256 of its bytes in hexadecimal, and its size in bytes.
        """
        with whole_file(self._path) as temporary:
            self._write(temporary)
            digest, size = sha256_of(temporary), temporary.stat().st_size
        self.discard()
        return digest, size

    def discard(self) -> None:
        """Let go of what was spooled, without writing a file."""
        for spool in self._spools.values():
            spool.file.close()
        self._spools = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.discard()

    def _write(self, path: Path) -> None:
        import h5py

        # Fixed bounds and no times: equal examples give equal bytes with any h5py.
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
        if column.kind == "text":
            data = [text.encode() for text in rows]
            length = max((len(text) for text in data), default=1) or 1
            return np.array(data, dtype=h5py.string_dtype("utf-8", length))
        if column.kind == "offsets":
            rows = [0, *rows]
        widths = {"label": len(self._header.label_classes)}
        widths["ratings"] = len(self._header.rating_names)
        widths |= {
            path: DIGEST_BYTES for path in self._small if path.startswith(("digest/", "origin/"))
        }
        shape = (len(rows), widths[column.path]) if column.path in widths else (len(rows),)
        return np.array(rows, dtype=column.dtype).reshape(shape)


class _Spool:
    """The rows of one ragged or byte column, in a nameless temporary file beside the shard."""

    def __init__(self, column: Column, directory: Path, settings: PrepSettings) -> None:
        self.file: IO[bytes] = tempfile.TemporaryFile(dir=directory)  # noqa: SIM115  # closed by the writer
        self.dtype = np.dtype(column.dtype)
        self._ends: list[int] = []
        self._path = column.path
        self._row_shape = row_shape(column, settings)
        self._row_bytes = self.dtype.itemsize * int(np.prod(self._row_shape, dtype=int))

    @property
    def rows(self) -> int:
        return self._ends[-1] if self._ends else 0

    def append(self, values: NDArray[Any]) -> None:
        if values.dtype.kind not in (self.dtype.kind, "b"):
            raise ValueError(
                f"{self._path} has the type {values.dtype}, expected {self.dtype}: it is in "
                "another form than settings.storage says"
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
    """The value of each column, but for offsets and digests, of one example.

    Faces and spectrum are in the form that the example has them in.
    """
    utterance, faces, mel = example.utterance, example.faces, example.mel
    files = {"faces/sizes": faces.sizes} if isinstance(faces, JpegFaces) else {}
    return {
        "id": utterance.id,
        "recording_id": utterance.recording_id,
        "speaker": utterance.speaker,
        "session": utterance.session,
        "start_s": utterance.start_s,
        "end_s": utterance.end_s,
        "text": utterance.transcript,
        "label": example.label,
        "ratings": utterance.ratings,
        "clamped": utterance.clamped,
        "faces/values": faces.files if isinstance(faces, JpegFaces) else faces.rgb,
        **files,
        "faces/times_s": faces.times_s,
        "faces/found": faces.found,
        "faces/box": faces.box,
        "faces/prob": faces.prob,
        "mel/values": mel.steps if isinstance(mel, MelSteps) else mel.log_power,
        "tokens/values": example.tokens,
    }
