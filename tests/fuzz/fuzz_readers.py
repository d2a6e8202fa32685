"""Mutated bytes and values for whatever reads a stranger's file; run with `make fuzz`.

Not collected by default. FUZZ is the time for each target in seconds. A reader may return, or
raise an error of fv2es.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fv2es_prep.corpora import iemocap, mosei_files, mosei_labels, table
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.errors import Fv2esError
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.splits.imported import read_lists
from fv2es_prep.splits.manifest import read_split
from fv2es_train.predict.spans import parse_spans
from fv2es_train.predict.subtitles import decode_text, parse_transcript

SHARD = Path(__file__).parents[1] / "data" / "shard-1.2"
LIMIT_S = float(os.environ.get("FUZZ", "10"))
ROUND = settings(
    max_examples=500,
    deadline=20_000,
    suppress_health_check=list(HealthCheck),
    database=None,
    print_blob=True,
)
SPLIT = {
    "format": "fv2es-split",
    "format_version": "1.0",
    "recipe": "random",
    "parameters": {"seed": 0},
    "digest": "",
    "class_counts": {},
    "train": ["a"],
    "valid": ["b"],
    "test": ["c"],
}
LABELS = b"[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
WORDS = b"Ses01F_impro01_F000 [006.2901-008.2357]: Excuse me.\n"
RATERS = (
    b"Input.VIDEO_ID,Input.CLIP,Answer.sentiment,Answer.anger,Answer.disgust,Answer.fear,"
    b"Answer.happiness,Answer.sadness,Answer.surprise\nv,1,2,3,0,0,1,0,0\n"
)
SPOKEN = b"a___0___1.5___2.5___so it goes\n"
TABLE = b"id,video,start_s,end_s,text,labels\nu,v.avi,0,1,well,sad\n"
SRT = b"1\n00:00:00,000 --> 00:00:03,000\nI am happy today\n\nWEBVTT\n"
SPANS = b'[{"start_s": 0, "end_s": 1, "text": "a", "view": "left:224:0"}]'
TOKENS = (b"-1", b"1e999", b"nan", b"inf", b"9" * 400, b'"', b"\0", b"\xff", b"\n", b",", b"\r")
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=6,
)


def fuzz(target: Callable[..., None]) -> Callable[..., None]:
    """Rounds of random examples, each from a seed of its own, until the time is over."""
    one_round = ROUND(target)

    @functools.wraps(one_round)
    def rounds(*given: Any, **named: Any) -> None:
        end = time.monotonic() + LIMIT_S
        while time.monotonic() < end:
            one_round(*given, **named)

    return rounds


def mutated(data: st.DataObject, whole: bytes) -> bytes:
    """Some bytes changed, some tokens put in, a part repeated or cut."""
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, max(len(content) - 1, 0)))
        kind = data.draw(st.integers(0, 3))
        if kind == 0 and content:
            content[at] = data.draw(st.integers(0, 255))
        elif kind == 1:
            content[at:at] = data.draw(st.sampled_from(TOKENS))
        elif kind == 2:
            content[at:at] = content[at : at + data.draw(st.integers(1, 40))]
        else:
            del content[at : at + data.draw(st.integers(1, 40))]
    return bytes(content)


def changed(data: st.DataObject, value: Any) -> Any:
    """A JSON value with one part of it replaced or removed."""
    if isinstance(value, dict) and value and data.draw(st.booleans()):
        name = data.draw(st.sampled_from(sorted(value)))
        if data.draw(st.integers(0, 4)) == 0:
            return {k: v for k, v in value.items() if k != name}
        return {**value, name: changed(data, value[name])}
    if isinstance(value, list) and value and data.draw(st.booleans()):
        at = data.draw(st.integers(0, len(value) - 1))
        return [*value[:at], changed(data, value[at]), *value[at + 1 :]]
    return data.draw(JSON_VALUES)


def told(act: Callable[[], Any]) -> None:
    with contextlib.suppress(Fv2esError):
        act()


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(SHARD, tmp_path_factory.mktemp("fuzz") / "dataset"))


@fuzz
@given(data=st.data())
def test_shards(data: st.DataObject, dataset: Path) -> None:
    content = mutated(data, (SHARD / "tiny-00000.h5").read_bytes())
    path = dataset / "tiny-00000.h5"
    path.write_bytes(content)

    def read() -> None:
        with ShardReader(path) as reader:
            for row in range(len(reader)):
                told(lambda row=row: reader.read(row))  # type: ignore[misc]

    told(read)
    told(lambda: verify(dataset))


@fuzz
@given(data=st.data())
def test_indexes(data: st.DataObject, dataset: Path) -> None:
    whole = (SHARD / "index.json").read_bytes()
    as_value = json.dumps(changed(data, json.loads(whole))).encode()
    path = dataset / "index.json"
    path.write_bytes(data.draw(st.sampled_from([as_value, mutated(data, whole)])))
    told(lambda: read_index(dataset))
    (dataset / "dropped.jsonl").write_bytes(mutated(data, (SHARD / "dropped.jsonl").read_bytes()))
    told(lambda: read_dropped(dataset))


@fuzz
@given(data=st.data())
def test_splits(data: st.DataObject, dataset: Path) -> None:
    path = dataset / "split.json"
    whole = json.dumps(SPLIT).encode()
    as_value = json.dumps(changed(data, SPLIT)).encode()
    path.write_bytes(data.draw(st.sampled_from([as_value, mutated(data, whole)])))
    told(lambda: read_split(path).digest())
    lists = dataset / "lists"
    lists.mkdir(exist_ok=True)
    for name in ("train", "valid", "test"):
        (lists / f"{name}.txt").write_bytes(mutated(data, b"a\nb\n"))
    told(lambda: read_lists([lists]))


@fuzz
@given(data=st.data(), suffix=st.sampled_from(["csv", "tsv", "jsonl", "parquet"]))
def test_tables(data: st.DataObject, suffix: str, dataset: Path) -> None:
    path = dataset / f"table.{suffix}"
    content = mutated(data, TABLE)
    if suffix == "jsonl":
        row = {"id": "u", "video": "v.avi", "start_s": 0, "end_s": 1, "labels": "sad"}
        content = json.dumps(changed(data, row)).encode() + b"\n" + mutated(data, b"{}")
    path.write_bytes(content)
    (dataset / "v.avi").touch()
    told(lambda: table.scan(path, LabelChoice(())))


@fuzz
@given(data=st.data())
def test_subtitles_and_spans(data: st.DataObject) -> None:
    for whole in (SRT, WORDS):
        told(lambda whole=whole: parse_transcript(decode_text(mutated(data, whole))))  # type: ignore[misc]
    told(lambda: parse_spans(decode_text(mutated(data, SPANS))))
    told(lambda: parse_spans(json.dumps(changed(data, json.loads(SPANS)))))
    told(lambda: parse_spans(decode_text(mutated(data, b"start_s,end_s,text\n0,1,a\n"))))


@fuzz
@given(data=st.data())
def test_labels(data: st.DataObject, dataset: Path) -> None:
    list(iemocap.parse_labels(decode_text(mutated(data, LABELS))))
    list(iemocap.parse_transcript(decode_text(mutated(data, WORDS))))
    list(mosei_files.parse_transcript("a", decode_text(mutated(data, SPOKEN)), "a.txt"))
    path = dataset / "raters.csv"
    path.write_bytes(mutated(data, RATERS))
    told(lambda: mosei_labels.read_raters([(path, path.name)], []))
