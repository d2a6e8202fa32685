"""WebDataset: one tar file per shard, with the members of each example together.

Each example has ``KEY.json`` (all small columns) and ``KEY.STAGE.npy`` for the main array of each
stage; KEY is `file_stem` of the id. A stage of a missing modality has no array; ``missing`` in the
JSON has the code of the reason.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np

from fv2es_prep.shards.index import Index
from fv2es_prep.shards.tools.export.small_columns import small_fields
from fv2es_prep.shards.tools.export.source import (
    Export,
    ExportedField,
    ExportedFile,
    ExportFormat,
    Records,
)
from fv2es_prep.shards.tools.show import Shown, example_values, file_stem
from fv2es_prep.stages.registry import load_stage

_LOAD = """\
import glob
import webdataset

tars = sorted(glob.glob("DIR/data/*.tar"))
examples = webdataset.WebDataset(tars, shardshuffle=False).decode()
for example in examples:
    example["json"]["text"], example["mel.npy"].shape"""


def _write(source: Export) -> list[ExportedFile]:
    return source.write_files("tar", partial(_write_tar, index=source.index))


def _write_tar(path: Path, examples: Iterator[Shown], index: Index) -> None:
    keys: set[str] = set()
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for shown in examples:
            # Readers take the part before the first dot as the key of an example.
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


def _fields(_: Export) -> list[ExportedField]:
    return [
        *small_fields(),
        ExportedField("labels", "Text", "names of the classes that hold", "-1"),
    ]


_RECORDS = Records("*.json", "application/json", "content", "application/x-tar")
WEBDATASET = ExportFormat("tar files of WebDataset", _LOAD, _write, _fields, _RECORDS)
