"""TensorBoard's files, read back record by record."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from fv2es_prep.errors import OutputError
from fv2es_train.training.events import Events


def read(path: Path) -> list[Any]:
    data, place, events = path.read_bytes(), 0, []
    while place < len(data):
        head = data[place : place + 8]
        (length,) = struct.unpack("<Q", head)
        body = data[place + 12 : place + 12 + length]
        for part, at in ((head, place + 8), (body, place + 12 + length)):
            assert struct.unpack("<I", data[at : at + 4]) == (masked_crc32c(part),)
        events.append(Event.FromString(body))
        place += 16 + length
    return events


def test_scalars_come_back(tmp_path: Path) -> None:
    with Events.open(tmp_path) as events:
        events.scalars(300, {"train/loss": 0.25, "lr/main": 1e-6, "valid/auc": None})
    version, start, scalars = read(next(tmp_path.iterdir()))
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status == 1
    assert scalars.step == 300 and scalars.wall_time > 1.7e9
    found = {value.tag: value.simple_value for value in scalars.summary.value}
    assert found == pytest.approx({"train/loss": 0.25, "lr/main": 1e-6})


def test_each_start_has_a_file_that_makes_earlier_ones_end_before_it(tmp_path: Path) -> None:
    for step in (0, 7):
        with Events.open(tmp_path, step):
            pass
    paths = sorted(tmp_path.iterdir())
    assert len(paths) == 2
    assert read(paths[1])[1].step == 7


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="file"), Events.open(tmp_path / "file"):
        pass


def test_a_run_writes_its_curve(run: Path) -> None:
    (path,) = (run / "tensorboard").iterdir()
    curve = [
        (event.step, value.tag, value.simple_value)
        for event in read(path)
        for value in event.summary.value
    ]
    steps = [step for step, tag, _ in curve if tag == "train/loss"]
    assert steps == list(range(1, 7))
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    valid = [value for _, tag, value in curve if tag == "valid/loss"]
    assert valid == pytest.approx([line["valid_loss"] for line in lines])
