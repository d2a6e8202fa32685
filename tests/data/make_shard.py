"""Make the tiny compact dataset of format 1.2 that stays in the tests: fixed arrays, no chance.

Run it as ``python tests/data/make_shard.py``. Once 1.2 is released it is not run again: what it
made then is what every later version must read. Those of 1.0 (not compact) and 1.1, beside it, were
made the same way.
"""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np

from fv2es_prep.config import COMPACT, FaceSettings, FrameSettings, PrepSettings, TextSettings
from fv2es_prep.errors import DropReason
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.dropped import write_dropped
from fv2es_prep.shards.index import make_index, write_index
from fv2es_prep.shards.writer import ShardHeader, ShardWriter, example_row
from fv2es_prep.stages.faces import stored_faces
from fv2es_prep.stages.mel import stored_mel
from fv2es_prep.types import Dropped, Example, Faces, MelSpectrum, ShardReceipt, Utterance

CLASSES, RATINGS = ("ang", "hap", "neu"), ("valence", "activation")
SETTINGS = PrepSettings(
    frames=FrameSettings(0.1),
    faces=FaceSettings(detector="exact"),
    text=TextSettings("tiny", "0" * 64, 50, 0, 12),
    storage=COMPACT,
    stages=("faces", "mel", "tokens", "landmarks"),
)
WORDS = ("Naïve — «yes».", "")


def example(number: int) -> Example:
    """One face or two, the second not found; as many rows of spectrum as the span has."""
    count, start = 1 + number, 1.5 * number
    end = start + 0.0625 * (1 + number)
    values = np.arange(count * 48 * 48 * 3, dtype=np.uint64)
    found = np.arange(count) % 2 == 0
    rows = 1 + 5 * (1 + number)
    ramp = np.arange(rows * 128, dtype=np.float32).reshape(rows, 128)
    faces = Faces(
        rgb=((values * 7 + number) % 251).astype(np.uint8).reshape(count, 48, 48, 3),
        times_s=np.array([round(start + 0.1 * k, 6) for k in range(count)]),
        found=found,
        box=np.tile(np.array([16, 8.5, 64, 56.5], np.float32), (count, 1)),
        prob=np.where(found, 0.75, 0).astype(np.float32),
    )
    mel = MelSpectrum((-23 + ramp % 29).astype(np.float16), 0.0125)
    return Example(
        utterance=Utterance(
            id=f"tiny_F{number:03d}",
            recording_id=f"tiny_{number}",
            start_s=start,
            end_s=end,
            transcript=WORDS[number],
            labels=(CLASSES[number],),
            speaker="é" if number else "",
            session=str(number),
            ratings=(2.5 + number, float("nan")) if number else (1.0, 4.25),
            clamped=number == 1,
        ),
        label=np.array([name == CLASSES[number] for name in CLASSES], np.uint8),
        faces=stored_faces(faces, COMPACT),
        mel=stored_mel(mel, COMPACT, SETTINGS.mel),
        tokens=np.arange(2, 5 + 3 * number, dtype=np.int32),
        landmarks=16 + np.arange(10 * count, dtype=np.float32).reshape(count, 5, 2) / 4,
    )


def make(directory: Path) -> None:
    """Write the shard, its index, what was dropped, and what a reader must find."""
    directory.mkdir(parents=True, exist_ok=True)
    examples = [example(number) for number in range(2)]
    names = dict.fromkeys(example.utterance.recording_id for example in examples)
    hashes = {name: (letter * 64, "f" * 64) for name, letter in zip(names, "ab", strict=True)}
    header = ShardHeader("tiny", CLASSES, RATINGS, SETTINGS, hashes, "c" * 64)
    dropped = Dropped(
        "tiny_F009", DropReason.NO_FRAME_IN_SPAN, "no picture", "t.avi", "tiny_1", 9.0, 9.5
    )
    with ShardWriter(directory / "tiny-00000.h5", header) as writer:
        for number, item in enumerate(examples):
            marks = {n: bytes([number, place] * 8) for place, n in enumerate(item, 1)}
            writer.append(item, marks)
        writer.drop(dropped)
        digest, size = writer.close()
    receipt = ShardReceipt("tiny-00000.h5", digest, size, 2, header.task_digest)
    scanned = Dropped("tiny_F010", DropReason.NO_LABEL, "there is no label")
    write_dropped(directory, [dataclasses.asdict(scanned), dataclasses.asdict(dropped)])
    write_index(directory, make_index("tiny", CLASSES, RATINGS, SETTINGS, [receipt]))
    recorded = {
        "dropped": [dataclasses.asdict(dropped)],
        "examples": [record(item) for item in examples],
    }
    # By way of JSON: NaN is none, and stands here as Python writes it.
    text = json.dumps(recorded, indent=1, ensure_ascii=False) + "\n"
    (directory / "recorded.json").write_text(text, encoding="utf-8")


def record(item: Example) -> dict[str, object]:
    """The values of an example; of an array its shape and its sum, with the digests beside them."""
    values: dict[str, object] = {}
    for path, value in example_row(item).items():
        if isinstance(value, np.ndarray):
            values[path] = {"sum": float(value.astype("f8").sum()), "shape": list(value.shape)}
        else:
            values[path] = value
    digests = digests_of(example_row(item), SETTINGS)
    return {**values, "digests": {part: digest.hex() for part, digest in digests.items()}}


if __name__ == "__main__":
    make(Path(__file__).parent / "shard-1.2")
