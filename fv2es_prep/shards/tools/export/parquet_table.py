"""Parquet: one row per example, for pandas, Polars and DuckDB.

Arrays of two and more dimensions are bytes, with their shape in another column. The columns of a
stage of a missing modality are null.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.shards.index import Index
from fv2es_prep.shards.tools.export.small_columns import (
    TEXTS,
    TIMES,
    missing_columns,
    small_fields,
    small_values,
)
from fv2es_prep.shards.tools.export.source import (
    PARQUET_RECORDS,
    Export,
    ExportedField,
    ExportedFile,
    ExportFormat,
)
from fv2es_prep.shards.tools.show import Shown
from fv2es_prep.stages.registry import load_stage, stages_of

_ROWS_HELD = 64
_LOAD = """\
import numpy
import pandas

examples = pandas.read_parquet("DIR/data")
example = examples.iloc[0]
mel = numpy.frombuffer(example["mel"], "float16").reshape(example["mel_shape"])"""


def _write(source: Export) -> list[ExportedFile]:
    index = source.index
    told = {
        "label_classes": index.label_classes,
        "rating_names": index.rating_names,
        "settings": index.settings.to_json(),
    }
    schema = _schema(index).with_metadata({"fv2es": json.dumps(told)})
    return source.write_files("parquet", partial(write_rows, schema=schema, record=_record))


def write_rows(
    path: Path,
    examples: Iterator[Shown],
    schema: Any,
    record: Callable[[Shown], Mapping[str, Any]],
) -> None:
    """Write the records of examples to one Parquet file, a few at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    held: list[Mapping[str, Any]] = []
    with path.open("wb") as file, pq.ParquetWriter(file, schema) as writer:
        for shown in examples:
            held.append(record(shown))
            if len(held) == _ROWS_HELD:
                writer.write_table(pa.Table.from_pylist(held, schema))
                held.clear()
        writer.write_table(pa.Table.from_pylist(held, schema))


def small_types(index: Index) -> dict[str, Any]:
    """Name -> Arrow type of the small columns, without ratings and labels."""
    import pyarrow as pa

    return {
        **dict.fromkeys(TEXTS, pa.string()),
        **dict.fromkeys(TIMES, pa.float64()),
        "clamped": pa.bool_(),
        **dict.fromkeys(missing_columns(index), pa.string()),
    }


def _schema(index: Index) -> Any:
    import pyarrow as pa

    fields = small_types(index) | {
        "label": pa.list_(pa.uint8()),
        "ratings": pa.list_(pa.float32()),
    }
    settings = index.settings
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
    record = {**small_values(shown), "label": example.label.tolist()}
    record["ratings"] = list(record["ratings"].values())
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


def _fields(source: Export) -> list[ExportedField]:
    classes = ", ".join(source.index.label_classes)
    ratings = ", ".join(source.index.rating_names)
    return [
        *small_fields(),
        ExportedField("label", "Integer", f"1 where a class holds: {classes}", "-1"),
        ExportedField("ratings", "Float", f"null where unknown: {ratings}", "-1"),
    ]


PARQUET = ExportFormat(
    "Parquet files for tables",
    _LOAD,
    _write,
    _fields,
    PARQUET_RECORDS,
)
