"""Shards in other forms, for those who train elsewhere: WebDataset tar files, or Parquet.

Owns the two forms. Both give equal bytes for equal shards with the same libraries, one file for
each shard, and `dataset.json` last of all: its presence means complete.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import UsageError
from fv2es_prep.shards.index import Index, read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.show import Shown, example_values, file_stem
from fv2es_prep.stages.registry import load_stage, stages_of
from fv2es_prep.types import Example
from fv2es_prep.utils.files import make_directory, whole_file, write_json

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMATS = ("webdataset", "parquet")
DESCRIPTION_NAME = "dataset.json"
_ROWS_HELD = 64


def export(
    directory: Path, kind: str, out: Path, report: Callable[[int], None] = lambda _: None
) -> list[Path]:
    """Write a dataset in another form.

    A WebDataset file holds, for each example, ``KEY.json`` (text, labels, span and all else that is
    small) and ``KEY.STAGE.npy`` for the main array of each stage, e.g. ``KEY.faces.npy`` (uint8
    (F, 48, 48, 3)); KEY is the id with other than word characters as ``_``. A Parquet file holds
    one row for each example; arrays of two and more dimensions are bytes with their shape beside
    them.

    Args:
        directory: the dataset directory.
        kind: one of `FORMATS`.
        out: a new directory.
        report: called with the number of examples done since the last call.

    Returns:
        The paths written.

    Raises:
        UsageError: an unknown format, a directory that is not empty, or pyarrow is missing.
        ShardError: a shard is missing or damaged.
        OutputError: the directory cannot be written.
    """
    if kind not in FORMATS:
        raise UsageError(f"there is no format {kind!r}", f"name one of {', '.join(FORMATS)}")
    index = read_index(directory)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty", "choose a new directory with --out")
    write, suffix = (_write_tar, "tar") if kind == "webdataset" else (_parquet_writer(), "parquet")
    make_directory(out)
    paths = []
    for entry in index.shards:
        paths.append(out / f"{Path(entry.name).stem}.{suffix}")
        with ShardReader(directory / entry.name) as reader, whole_file(paths[-1]) as temporary:
            write(temporary, _examples(reader, entry.name, index, report), index)
    paths.append(out / DESCRIPTION_NAME)
    write_json(paths[-1], _description(index, kind, paths[:-1]))
    return paths


def _examples(
    reader: ShardReader, name: str, index: Index, report: Callable[[int], None]
) -> Iterator[Shown]:
    for row in range(len(reader)):
        yield Shown(reader.read(row), name, row, index.rating_names)
        report(1)


def _description(index: Index, kind: str, paths: Sequence[Path]) -> dict[str, Any]:
    return {
        "format": kind,
        "corpus": index.corpus,
        "examples": index.examples,
        "label_classes": index.label_classes,
        "rating_names": index.rating_names,
        "settings": index.settings.to_json(),
        "files": {
            path.name: entry.examples for path, entry in zip(paths, index.shards, strict=True)
        },
    }


def _write_tar(path: Path, examples: Iterator[Shown], index: Index) -> None:
    keys: set[str] = set()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for shown in examples:
            # Readers take what stands before the first dot as the key of an example.
            key = file_stem(shown.example.utterance.id)
            key = key if key not in keys else f"{key}-{shown.row}"
            keys.add(key)
            for suffix, content in _members(shown, index):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))


def _members(shown: Shown, index: Index) -> Iterator[tuple[str, bytes]]:
    example = shown.example
    values = {**example_values(shown), "label": _label(example, index)}
    yield "json", json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    for name, value in example.items():
        stage = load_stage(name)
        yield f"{name}.npy", _npy(np.asarray(stage.arrays(value)[stage.main]))


def _label(example: Example, index: Index) -> dict[str, int]:
    return dict(zip(index.label_classes, map(int, example.label), strict=True))


def _npy(values: NDArray[Any]) -> bytes:
    file = io.BytesIO()
    np.save(file, values, allow_pickle=False)
    return file.getvalue()


def _parquet_writer() -> Callable[[Path, Iterator[Shown], Index], None]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError:
        raise UsageError(
            "writing Parquet needs pyarrow, which is not installed", 'pip install "fv2es[export]"'
        ) from None

    def write(path: Path, examples: Iterator[Shown], index: Index) -> None:
        facts: dict[str, Any] = {
            "label_classes": index.label_classes,
            "rating_names": index.rating_names,
        }
        facts["settings"] = index.settings.to_json()
        schema = _schema(pa, index.settings).with_metadata({"fv2es": json.dumps(facts)})
        held: list[dict[str, Any]] = []
        with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
            for shown in examples:
                held.append(_record(shown))
                if len(held) == _ROWS_HELD:
                    writer.write_table(pa.Table.from_pylist(held, schema))
                    held.clear()
            writer.write_table(pa.Table.from_pylist(held, schema))

    return write


def _schema(pa: Any, settings: PrepSettings) -> Any:
    texts = {name: pa.string() for name in ("id", "recording_id", "speaker", "session", "text")}
    fields = {
        **texts,
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "clamped": pa.bool_(),
        "label": pa.list_(pa.uint8()),
        "ratings": pa.list_(pa.float32()),
    }
    for stage in stages_of(settings):
        for column in stage.plain_columns(settings):
            dimensions = len(column.row) + (column.kind == "ragged")
            kind = pa.bool_() if column.counted else pa.from_numpy_dtype(np.dtype(column.dtype))
            name = stage.name if column.path == stage.main else f"{stage.name}_{column.path}"
            if column.path == stage.main and dimensions > 1:
                fields |= {name: pa.binary(), f"{name}_shape": pa.list_(pa.int32())}
                continue
            for _ in range(dimensions):
                kind = pa.list_(kind)
            fields[name] = kind
    return pa.schema(fields)


def _record(shown: Shown) -> dict[str, Any]:
    example = shown.example
    values = example_values(shown)
    kept = ("id", "recording_id", "speaker", "session", "text", "start_s", "end_s", "clamped")
    record = {name: values[name] for name in kept}
    record |= {"label": example.label.tolist(), "ratings": list(values["ratings"].values())}
    for name, value in example.items():
        stage = load_stage(name)
        for column, values_of in stage.arrays(value).items():
            array = np.asarray(values_of)
            field = name if column == stage.main else f"{name}_{column}"
            if column == stage.main and array.ndim > 1:
                record |= {field: array.tobytes(), f"{field}_shape": array.shape}
            else:
                record[field] = array.tolist()
    return record
