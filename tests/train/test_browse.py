"""The table and the addresses of `fv2es browse`."""

from __future__ import annotations

import csv
import io
import json
import wave
from pathlib import Path

import numpy as np
import pytest
from starlette.testclient import TestClient

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.review import read_review
from fv2es_prep.splits import SUBSETS, read_split, write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_train.browse.api import BrowseApi
from fv2es_train.browse.table import Query, Table
from fv2es_train.evaluation.predictions import Predictions, file_of, write_predictions
from fv2es_train.serve.access import AccessControl
from fv2es_train.serve.settings import ServeConfig


@pytest.fixture
def run(shards: Path, tmp_path: Path) -> Path:
    """A run that was measured on the first six examples, and is wrong about two of them."""
    catalogue = read_catalogue(shards)
    rows = range(6)
    truth = catalogue.label[:6]
    predicted = truth.copy()
    predicted[[1, 4]] = 1 - truth[[1, 4]]
    probability = np.linspace(0.5, 0.9, truth.size).reshape(truth.shape)
    path = file_of(tmp_path / "run", "test")
    path.parent.mkdir(parents=True)
    names = (tuple(catalogue.ids[row].as_py() for row in rows), *[("",) * 6] * 3)
    parts = (truth, predicted, probability, np.zeros(truth.shape, np.float32))
    write_predictions(path, Predictions(catalogue.label_classes, *names, *parts))
    return tmp_path / "run"


def ids(table: Table, **query: object) -> list[str]:
    return [row["id"] for row in table.rows(table.find(Query(**query)).tolist())]


def test_each_filter_finds_what_a_plain_loop_finds(shards: Path, run: Path) -> None:
    table, catalogue = Table(shards, [run]), read_catalogue(shards)
    left_out = [json.loads(line) for line in (shards / "dropped.jsonl").read_text().splitlines()]
    rows = table.rows(range(len(table)))
    kept, out = rows[: len(catalogue)], rows[len(catalogue) :]
    assert len(kept) == 18 and [row["reason"] for row in out] == [e["reason"] for e in left_out]
    for name in table.choices()["speaker"]:
        assert ids(table, speaker=name) == [r["id"] for r in kept if r["speaker"] == name] != []
    for name in table.choices()["label"]:
        assert ids(table, label=name) == [r["id"] for r in kept if name in r["labels"]]
    for name in table.choices()["reason"]:
        assert ids(table, reason=name) == [r["id"] for r in out if r["reason"] == name] != []
    word = kept[3]["text"].split()[1].strip(",.!?").upper()
    expected = [r["id"] for r in kept if word.lower() in (r["text"] + r["id"]).lower()]
    assert ids(table, text=word) == expected != []
    assert ids(table, text="ses01") == [r["id"] for r in rows if "ses01" in r["id"].lower()]
    assert ids(table, state="wrong") == [kept[1]["id"], kept[4]["id"]]
    assert ids(table, state="right") == [kept[n]["id"] for n in (0, 2, 3, 5)]
    middle = sorted(r["seconds"] for r in kept)[9]
    longer = [r["id"] for r in kept if r["seconds"] >= middle]
    assert ids(table, least_s=middle - 6e-4) == longer
    assert ids(table, state="left_out") == [r["id"] for r in out]
    assert not ids(table, subset="test")
    assert not ids(table, label="none of them") and not ids(table, missing="video")


def test_subsets_of_a_split_are_a_filter(shards: Path, tmp_path: Path) -> None:
    catalogue = read_catalogue(shards)
    write_split(next(build_splits(catalogue, Rule(allow_empty_class=True))), tmp_path / "s.json")
    split = read_split(tmp_path / "s.json")
    table = Table(shards, split=tmp_path / "s.json")
    assert table.choices()["subset"] == list(SUBSETS)
    for subset in SUBSETS:
        assert sorted(ids(table, subset=subset)) == sorted(split.ids(subset)) != []
        rows = table.rows(table.find(Query(subset=subset)).tolist())
        assert {row["subset"] for row in rows} == {subset}
    assert not ids(table, subset="odd")


def test_rows_are_sorted_and_what_was_left_out_comes_last(shards: Path, run: Path) -> None:
    table = Table(shards, [run])
    seconds = [
        row["seconds"] for row in table.rows(table.find(Query(order="seconds")).tolist()[:18])
    ]
    assert seconds == sorted(seconds)
    assert ids(table, order="id") == sorted(ids(table))
    assert ids(table, order="id", descending=True) == sorted(ids(table), reverse=True)
    surest = ids(table, order="confidence", state="right")
    assert surest == ids(table, state="right")
    with pytest.raises(UsageError, match="has no predictions"):
        Table(shards, [shards])


@pytest.fixture
def client(shards: Path, run: Path) -> TestClient:
    app = AccessControl(BrowseApi(Table(shards, [run])).app(), ServeConfig(shards))
    return TestClient(app, base_url="http://127.0.0.1:7861")


def test_pages_of_rows_are_parts_of_the_whole(client: TestClient) -> None:
    about = client.get("/v1/about").json()
    whole = client.get("/v1/rows", params={"limit": 500}).json()
    assert whole["total"] == len(whole["rows"]) == about["examples"] + about["left_out"]
    parts = [client.get(f"/v1/rows?offset={n}&limit=7").json()["rows"] for n in range(0, 40, 7)]
    assert [row for part in parts for row in part] == whole["rows"][:42]
    assert client.get("/v1/rows?limit=501").status_code == 422
    assert client.get("/v1/rows?state=odd").status_code == 422


def test_an_utterance_has_a_picture_a_face_a_sound_and_neighbours(client: TestClient) -> None:
    first = client.get("/v1/rows?limit=1").json()["rows"][0]
    params = {"id": first["id"]}
    told = client.get("/v1/utterance", params=params).json()
    assert told["text"] == first["text"] and told["scores"]["run"]["right"]
    assert [row["id"] for row in told["neighbours"] if row["this"]] == [first["id"]]
    assert {row["recording"] for row in told["neighbours"]} == {first["recording"]}
    for place in ("picture", "face"):
        answer = client.get(f"/v1/{place}.png", params=params)
        assert answer.headers["content-type"] == "image/png" and answer.content[:4] == b"\x89PNG"
    sound = client.get("/v1/sound.wav", params=params).content
    with wave.open(io.BytesIO(sound)) as file:
        seconds = file.getnframes() / file.getframerate()
        samples = np.frombuffer(file.readframes(file.getnframes()), "<i2")
    assert abs(seconds - first["seconds"]) < 0.05 and samples.any()
    for place in ("utterance", "picture.png", "face.png", "sound.wav"):
        answer = client.get(f"/v1/{place}", params={"id": "nobody"})
        assert answer.status_code == 404 and "no utterance" in answer.json()["error"]["sentence"]


def test_marks_are_kept_beside_the_shards_and_exported(client: TestClient, shards: Path) -> None:
    first, second = (row["id"] for row in client.get("/v1/rows?limit=2").json()["rows"])
    body = {"id": first, "marks": ["exclude", "label"], "note": "=odd"}
    assert client.put("/v1/marks", json=body).json()["marks"] == ["label", "exclude"]
    client.put("/v1/marks", json={"id": second, "marks": ["face"]})
    client.put("/v1/marks", json={"id": second, "marks": []})
    assert list(read_review(shards / "review.jsonl")) == [first]
    assert [row["id"] for row in client.get("/v1/rows?state=marked").json()["rows"]] == [first]
    (row,) = csv.DictReader(io.StringIO(client.get("/v1/marks.csv").text))
    assert (row["id"], row["label"], row["words"], row["exclude"]) == (first, "1", "0", "1")
    assert row["note"] == "'=odd"
    # Another start finds them again.
    assert Table(shards).review(first).note == "=odd"
    for wrong, status in (
        ({"marks": ["odd"]}, 422),
        ({"id": "nobody"}, 404),
        ({"note": "x" * 2001}, 422),
    ):
        assert client.put("/v1/marks", json={**body, **wrong}).status_code == status


def test_another_site_may_neither_read_nor_mark(client: TestClient) -> None:
    for headers in (
        {"host": "evil.example"},
        {"origin": "http://evil.example"},
        {"sec-fetch-site": "cross-site"},
    ):
        assert client.get("/v1/rows", headers=headers).status_code == 403
        body = {"id": "x", "marks": []}
        assert client.put("/v1/marks", json=body, headers=headers).status_code == 403
    assert "default-src 'none'" in client.get("/").headers["content-security-policy"]
