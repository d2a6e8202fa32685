"""Parquet with the feature types of the library ``datasets``, so that its viewer shows pictures.

Faces are PNG files, sound is WAV, spectra and other matrices are two-dimensional arrays. The types
are in the files' metadata; writing and reading the files does not need the library.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.shards.index import Index
from fv2es_prep.shards.tools.export.parquet_table import small_types, write_rows
from fv2es_prep.shards.tools.export.small_columns import small_fields, small_values
from fv2es_prep.shards.tools.export.source import (
    DATA,
    PARQUET_RECORDS,
    Export,
    ExportedField,
    ExportedFile,
    ExportFormat,
)
from fv2es_prep.shards.tools.show import Shown
from fv2es_prep.stages.base import Column, Stage
from fv2es_prep.stages.registry import load_stage, stages_of
from fv2es_prep.stages.waveform import WAVEFORM, wav_bytes

SPLIT_NAMES = {"valid": "validation"}
"""Subset -> the library's name for it, if different."""
_NAMES = {"bool": "bool", "float": "float32", "double": "float64", "halffloat": "float16"}
_PICTURE, _MATRIX = 3, 2
_MEDIA = "ImageObject", "AudioObject"
_LOAD = """\
import datasets

examples = datasets.load_dataset("DIR")
train = examples["train"].with_format("numpy")
train[0]["text"], train[0]["mel"].shape"""


@dataclass(frozen=True)
class _Hub:
    """A column: its Arrow type, its feature as the library writes it; the others as of a field."""

    arrow: Any
    feature: dict[str, Any]
    kind: str
    meaning: str = ""
    shape: str = ""


def _write(source: Export) -> list[ExportedFile]:
    import pyarrow as pa

    columns = _columns(source)
    features = {name: column.feature for name, column in columns.items()}
    fields = (pa.field(n, c.arrow, metadata=_extension(c.feature)) for n, c in columns.items())
    told = {"huggingface": json.dumps({"info": {"features": features}})}
    schema = pa.schema(fields, told)
    record = partial(_record, settings=source.index.settings, one_class=source.one_class)
    return source.write_files("parquet", partial(write_rows, schema=schema, record=record))


def _extension(feature: Mapping[str, Any]) -> dict[str, str]:
    """The Arrow metadata by which the library recognises a column of its array types."""
    kind = feature.get("_type", "")
    if not kind.startswith("Array"):
        return {}
    return {
        "ARROW:extension:name": f"datasets.features.features.{kind}ExtensionType",
        "ARROW:extension:metadata": json.dumps([feature["shape"], feature["dtype"]]),
    }


def _columns(source: Export) -> dict[str, _Hub]:
    import pyarrow as pa

    index = source.index
    classes = {"names": list(index.label_classes), "_type": "ClassLabel"}
    meaning = f"its class: {', '.join(index.label_classes)}"
    one = _Hub(pa.int64(), classes, "Integer", meaning)
    columns = {name: _value(kind) for name, kind in small_types(index).items()}
    columns["label"] = one if source.one_class else _several(one)
    if index.rating_names:
        columns["ratings"] = _ratings(index)
    for stage in stages_of(index.settings):
        for column in stage.plain_columns(index.settings):
            columns[_name(stage, column)] = _stage_column(stage, column, index.settings)
    return columns


def _name(stage: Stage, column: Column) -> str:
    return stage.name if column.path == stage.main else f"{stage.name}_{column.path}"


def _value(kind: Any, meaning: str = "") -> _Hub:
    name = _NAMES.get(str(kind), str(kind))
    family = {"string": "Text", "bool": "Boolean"}.get(name, "Float" if "float" in name else "")
    return _Hub(kind, {"dtype": name, "_type": "Value"}, family or "Integer", meaning)


def _several(one: _Hub) -> _Hub:
    import pyarrow as pa

    # Versions before 4 do not have "List"; later versions read "Sequence" as "List".
    feature = {"feature": one.feature, "length": -1, "_type": "Sequence"}
    return _Hub(pa.list_(one.arrow), feature, one.kind, one.meaning, "-1")


def _ratings(index: Index) -> _Hub:
    import pyarrow as pa

    one = _value(pa.float32())
    kind = pa.struct([pa.field(name, pa.float32()) for name in index.rating_names])
    return _Hub(kind, dict.fromkeys(index.rating_names, one.feature), "Float")


def _stage_column(stage: Stage, column: Column, settings: PrepSettings) -> _Hub:
    import pyarrow as pa

    file = pa.struct([pa.field("bytes", pa.binary()), pa.field("path", pa.string())])
    meaning = column.meaning + (f", {column.unit}" if column.unit else "")
    if _is_picture(column):
        return _several(
            _Hub(file, {"_type": "Image"}, "ImageObject", f"PNG files of {column.meaning}")
        )
    if stage is WAVEFORM:
        rate = WAVEFORM.settings_of(settings).rate_hz
        feature = {"sampling_rate": rate, "_type": "Audio"}
        return _Hub(file, feature, "AudioObject", f"WAV file of the speaker's sound, {rate} Hz")
    kind = pa.bool_() if column.counted else pa.from_numpy_dtype(np.dtype(column.dtype))
    found = _value(kind, meaning)
    shape = (*((None,) if column.kind == "ragged" else ()), *map(int, column.row))
    if len(shape) < _MATRIX:
        return _several(found) if shape else found
    array, dtype = found.arrow, found.feature["dtype"]
    for _ in shape:
        array = pa.list_(array)
    feature = {"shape": list(shape), "dtype": dtype, "_type": f"Array{len(shape)}D"}
    sizes = ",".join(str(size or -1) for size in shape)
    return _Hub(array, feature, found.kind, meaning, sizes)


def _is_picture(column: Column) -> bool:
    picture = np.dtype(column.dtype) == np.uint8 and len(column.row) == _PICTURE
    return picture and column.kind == "ragged" and column.row[-1] == _PICTURE


def _record(shown: Shown, settings: PrepSettings, one_class: bool) -> dict[str, Any]:
    example = shown.example
    holding = np.flatnonzero(example.label).tolist()
    record = {**small_values(shown), "label": holding[0] if one_class else holding}
    for name, value in example.items():
        stage = load_stage(name)
        arrays = stage.arrays(value)
        for column in stage.plain_columns(settings):
            array = np.asarray(arrays[column.path])
            record[_name(stage, column)] = _stored(stage, column, array, settings)
    return record


def _stored(stage: Stage, column: Column, array: Any, settings: PrepSettings) -> Any:
    if _is_picture(column):
        return [{"bytes": _png(picture), "path": None} for picture in array]
    if stage is WAVEFORM:
        rate = WAVEFORM.settings_of(settings).rate_hz
        return {"bytes": wav_bytes(array, rate), "path": None}
    # pyarrow takes rows that are arrays far faster than rows that are lists.
    return list(array) if array.ndim == _MATRIX else array.tolist()


def _png(rgb: Any) -> bytes:
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "png", compress_level=1)
    return file.getvalue()


def _front(files: list[ExportedFile]) -> dict[str, object]:
    subsets = list(dict.fromkeys(file.subset for file in files))
    chosen: list[dict[str, str]] = [
        {"split": SPLIT_NAMES.get(name, name), "path": f"{DATA}/{name}-*.parquet"}
        for name in subsets
        if name
    ] or [{"split": "train", "path": f"{DATA}/*.parquet"}]
    return {"configs": [{"config_name": "default", "data_files": chosen}]}


def _fields(source: Export) -> list[ExportedField]:
    fields = small_fields()
    known = {field.name for field in fields}
    for name, column in _columns(source).items():
        if name == "ratings":
            fields += (
                ExportedField(f"rating_{one}", "Float", "rating; null where unknown", "", name, one)
                for one in source.index.rating_names
            )
        elif name not in known:
            within = "bytes" if column.kind in _MEDIA else ""
            meaning = column.meaning or "why the modality is missing; null if it is present"
            fields.append(ExportedField(name, column.kind, meaning, column.shape, name, within))
    return fields


DATASETS = ExportFormat(
    "Parquet files with the feature types of the library datasets, for the Hugging Face hub",
    _LOAD,
    _write,
    _fields,
    PARQUET_RECORDS,
    _front,
)
