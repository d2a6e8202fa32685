"""lhotse: cuts of each shard as JSON lines, and an HDF5 file with their arrays.

A cut is one utterance from its beginning, with one supervision: words, speaker, and as ``custom``
the classes and all small columns. The log-mel spectrum is the cut's features; the main array of
each other stage is a custom array with the stage's name. Stages of a missing modality are left out.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from fv2es_prep.shards.tools.export.source import (
    DATA,
    Export,
    ExportedField,
    ExportedFile,
    ExportFormat,
    Records,
)
from fv2es_prep.shards.tools.show import Shown, example_values
from fv2es_prep.stages.registry import load_stage
from fv2es_prep.utils.files import whole_file

_LOAD = """\
import glob
import os
from lhotse import CutSet

os.chdir("DIR")
cuts = CutSet.from_files(sorted(glob.glob("data/*.jsonl")))
for cut in cuts:
    cut.supervisions[0].text, cut.load_features(), cut.load_tokens()"""
_READER = {"storage_type": "numpy_hdf5"}


def _write(source: Export) -> list[ExportedFile]:
    cuts: list[list[dict[str, Any]]] = []
    rate = source.index.settings.mel.rate_hz

    def write(path: Path, examples: Iterator[Shown]) -> None:
        with h5py.File(path, "w") as file:
            cuts.append([_cut(shown, file, n, rate) for n, shown in enumerate(examples)])

    arrays = source.write_files("h5", write)
    lists = [replace(file, name=file.name.removesuffix("h5") + "jsonl") for file in arrays]
    for array, listed, of in zip(arrays, lists, cuts, strict=True):
        lines = "".join(json.dumps(_stored_in(array.name, cut)) + "\n" for cut in of)
        with whole_file(source.out / listed.name) as temporary:
            temporary.write_text(lines, encoding="utf-8")
    return [*lists, *(replace(file, examples=0) for file in arrays)]


def _cut(shown: Shown, file: h5py.File, number: int, rate: int) -> dict[str, Any]:
    """Make the cut of an example; write its arrays into the file."""
    example, values = shown.example, example_values(shown)
    utterance = example.utterance
    seconds, features, others = utterance.end_s - utterance.start_s, None, {}
    for name, value in example.items():
        stage = load_stage(name)
        array = np.asarray(stage.arrays(value)[stage.main])
        stored = {**_READER, "storage_key": f"{name}/{number}"}
        file.create_dataset(stored["storage_key"], data=array, track_times=False)
        if name == "mel" and len(array):
            seconds = round(len(array) * value.hop_s, 6)
            features = stored | {
                "type": "fbank",
                "num_frames": len(array),
                "num_features": array.shape[1],
                "frame_shift": value.hop_s,
                "sampling_rate": rate,
                "start": 0,
                "duration": seconds,
                "channels": 0,
                "recording_id": utterance.id,
            }
        else:
            others[name] = {**stored, "shape": list(array.shape)}
    cut = {"id": utterance.id, "start": 0, "duration": seconds, "channel": 0}
    spoken = cut | {
        "recording_id": utterance.id,
        "text": utterance.transcript,
        "speaker": utterance.speaker or None,
        "custom": {name: values[name] for name in values if name not in {*example, "text"}},
    }
    more = {"type": "MonoCut", "supervisions": [spoken], "features": features, "custom": others}
    return cut | more


def _stored_in(name: str, cut: dict[str, Any]) -> dict[str, Any]:
    """The cut with the file of its arrays; without features it has none."""
    place = {"storage_path": name}
    others = {key: {**array, **place} for key, array in cut["custom"].items()}
    features = {"features": {**cut["features"], **place}} if cut["features"] else {}
    kept = {key: value for key, value in cut.items() if key not in ("features", "custom")}
    return {**kept, **features, "custom": others}


def _fields(_: Export) -> list[ExportedField]:
    return [
        ExportedField("id", "Text", "name of the utterance"),
        ExportedField("duration", "Float", "length of the cut in seconds"),
    ]


_RECORDS = Records(f"{DATA}/*.jsonl", "application/jsonlines")
LHOTSE = ExportFormat("cuts of lhotse, with their arrays in HDF5", _LOAD, _write, _fields, _RECORDS)
