"""Shards as WebDataset tar files or Parquet, to train elsewhere.

Equal shards give equal bytes with the same libraries: one file for each shard, and `dataset.json`
last of all: its presence means complete.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.config import MODALITIES, MODALITY_NAMES, PrepSettings
from fv2es_prep.errors import UsageError
from fv2es_prep.shards.index import Index, read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.show import Shown, example_values, file_stem
from fv2es_prep.stages.registry import load_stage, stages_of
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.utils.files import make_directory, whole_file, write_json

FORMATS = ("webdataset", "parquet")
DESCRIPTION_NAME = "dataset.json"
_ROWS_HELD = 64


def export(
    directory: Path, kind: str, out: Path, report: Callable[[int], None] = lambda _: None
) -> list[Path]:
    """Write a dataset in another form.

    A WebDataset file holds, for each example, ``KEY.json`` (all that is small) and
    ``KEY.STAGE.npy`` for the main array of each stage; KEY is `file_stem` of the id. A Parquet
    file holds one row for each example; arrays of two and more dimensions are bytes with their
    shape in a column beside them. A stage of a missing modality has no array, or null; the code of
    the reason is in ``missing`` of the JSON, or in ``missing_MODALITY``.

    Args:
        directory: the dataset directory.
        kind: one of `FORMATS`.
        out: a new directory.
        report: called with the number of examples done since the last call.

    Returns:
        The paths written.

    Raises:
        UsageError: an unknown format, or a directory that is not empty.
        ShardError: a shard is missing or damaged.
        OutputError: the directory cannot be written.
    """
    if kind not in FORMATS:
        raise UsageError(f"there is no format {kind!r}", f"name one of {', '.join(FORMATS)}")
    directory = dataset_directory(directory)
    index = read_index(directory)
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UsageError(f"{out} is not empty", "choose a new directory with --out")
    write, suffix = (_write_tar, "tar") if kind == "webdataset" else (_write_parquet, "parquet")
    make_directory(out)
    paths = []
    for entry in index.shards:
        paths.append(out / f"{Path(entry.name).stem}.{suffix}")
        with (
            ShardReader(directory / entry.name, "first", index) as reader,
            whole_file(paths[-1]) as temporary,
        ):
            write(temporary, _examples(reader, entry.name, index, report), index)
    description = {
        "format": kind,
        "corpus": index.corpus,
        "examples": index.examples,
        "label_classes": index.label_classes,
        "rating_names": index.rating_names,
        "settings": index.settings.to_json(),
        "files": {p.name: entry.examples for p, entry in zip(paths, index.shards, strict=True)},
    }
    write_json(out / DESCRIPTION_NAME, description)
    return [*paths, out / DESCRIPTION_NAME]


def _examples(
    reader: ShardReader, name: str, index: Index, report: Callable[[int], None]
) -> Iterator[Shown]:
    for row in range(len(reader)):
        yield Shown(reader.read(row), name, row, index.rating_names)
        report(1)


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
    label = dict(zip(index.label_classes, map(int, example.label), strict=True))
    values = {**example_values(shown), "label": label}
    yield "json", json.dumps(values, ensure_ascii=False, allow_nan=False).encode()
    for name, value in example.items():
        stage, file = load_stage(name), io.BytesIO()
        np.save(file, np.asarray(stage.arrays(value)[stage.main]), allow_pickle=False)
        yield f"{name}.npy", file.getvalue()


def _write_parquet(path: Path, examples: Iterator[Shown], index: Index) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    metadata = {
        "label_classes": index.label_classes,
        "rating_names": index.rating_names,
        "settings": index.settings.to_json(),
    }
    schema = _schema(index.settings).with_metadata({"fv2es": json.dumps(metadata)})
    held: list[dict[str, Any]] = []
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        for shown in examples:
            held.append(_record(shown))
            if len(held) == _ROWS_HELD:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, schema))


def _schema(settings: PrepSettings) -> Any:
    import pyarrow as pa

    texts = {name: pa.string() for name in ("id", "recording_id", "speaker", "session", "text")}
    fields = {
        **texts,
        "start_s": pa.float64(),
        "end_s": pa.float64(),
        "clamped": pa.bool_(),
        "label": pa.list_(pa.uint8()),
        "ratings": pa.list_(pa.float32()),
    }
    if settings.require != MODALITIES:
        fields |= {f"missing_{name}": pa.string() for name in MODALITY_NAMES.values()}
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
    record = {
        **example.utterance.to_json(),
        "text": values["text"],
        "clamped": values["clamped"],
        "label": example.label.tolist(),
        "ratings": list(values["ratings"].values()),
    }
    record |= {f"missing_{name}": code for name, code in values.get("missing", {}).items()}
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
