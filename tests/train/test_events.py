"""TensorBoard's files, read back by its published wire form."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from fv2es_train.training.events import Events, crc32c


def event_type() -> Any:
    """tensorflow/core/util/event.proto, as far as it is written."""
    file = descriptor_pb2.FileDescriptorProto(name="event.proto", package="t", syntax="proto3")
    kinds = descriptor_pb2.FieldDescriptorProto

    def message(name: str, *parts: tuple[str, int, Any, str, bool]) -> None:
        made = file.message_type.add(name=name)
        for part, number, kind, of, repeated in parts:
            label = kinds.LABEL_REPEATED if repeated else kinds.LABEL_OPTIONAL
            made.field.add(name=part, number=number, type=kind, label=label, type_name=of or None)

    message(
        "Value",
        ("tag", 1, kinds.TYPE_STRING, "", False),
        ("simple_value", 2, kinds.TYPE_FLOAT, "", False),
    )
    message("Summary", ("value", 1, kinds.TYPE_MESSAGE, ".t.Value", True))
    message("Session", ("status", 1, kinds.TYPE_INT32, "", False))
    message(
        "Event",
        ("wall_time", 1, kinds.TYPE_DOUBLE, "", False),
        ("step", 2, kinds.TYPE_INT64, "", False),
        ("file_version", 3, kinds.TYPE_STRING, "", False),
        ("summary", 5, kinds.TYPE_MESSAGE, ".t.Summary", False),
        ("session_log", 7, kinds.TYPE_MESSAGE, ".t.Session", False),
    )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName("t.Event"))


def read(path: Path) -> list[Any]:
    data, place, events = path.read_bytes(), 0, []
    kind = event_type()
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        body = data[place + 12 : place + 12 + length]
        for part, at in ((data[place : place + 8], place + 8), (body, place + 12 + length)):
            (stored,) = struct.unpack_from("<I", data, at)
            rotated = (stored - 0xA282EAD8) & 0xFFFFFFFF
            assert ((rotated >> 17) | (rotated << 15)) & 0xFFFFFFFF == crc32c(part)
        events.append(kind.FromString(body))
        place += 16 + length
    return events


@pytest.mark.parametrize(
    ("data", "expected"),
    # RFC 3720, appendix B.4.
    [(bytes(32), 0x8A9136AA), (b"\xff" * 32, 0x62A8AB43), (bytes(range(32)), 0x46DD794E)],
)
def test_the_checksum_is_castagnolis(data: bytes, expected: int) -> None:
    assert crc32c(data) == expected


def test_scalars_come_back(tmp_path: Path) -> None:
    events = Events(tmp_path)
    events.scalars(300, {"train/loss": 0.25, "lr/main": 1e-6, "valid/auc": None})
    events.flush()
    version, start, scalars = read(events.path)
    assert version.file_version == "brain.Event:2"
    assert start.session_log.status == 1
    assert scalars.step == 300 and scalars.wall_time > 1.7e9
    found = {value.tag: value.simple_value for value in scalars.summary.value}
    assert found == pytest.approx({"train/loss": 0.25, "lr/main": 1e-6})


def test_each_start_has_a_file_that_makes_earlier_ones_end_before_it(tmp_path: Path) -> None:
    paths = [Events(tmp_path, step).path for step in (0, 7)]
    assert len(set(paths)) == 2 and paths == sorted(paths)
    assert read(paths[1])[1].step == 7


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
