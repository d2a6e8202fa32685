"""`fv2es browse --raw`: what is played of the corpus, and what may not be read."""

from __future__ import annotations

import io
import shutil
import wave
from pathlib import Path

import av
import numpy as np
import pytest
from starlette.testclient import TestClient

from fv2es_prep.errors import CorpusError, UsageError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.review import read_review
from fv2es_train.browse.api import BrowseApi
from fv2es_train.browse.excerpts import Corpus
from fv2es_train.browse.table import Table
from fv2es_train.predict.uploads import read_sound
from pipelines.config import prep_config
from tests.train.media import ffmpeg

VIDEO = "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
SOUND = "Session1/dialog/wav/Ses01F_impro01.wav"
FIRST = "Ses01F_impro01_F000"


def client_of(shards: Path, raw: Path, folder: Path) -> TestClient:
    corpus = Corpus(raw, read_index(shards), folder)
    return TestClient(BrowseApi(Table(shards), corpus).app())


@pytest.fixture(scope="module")
def client(prepared: Path, demo: Path, tmp_path_factory: pytest.TempPathFactory) -> TestClient:
    return client_of(prepared, demo, tmp_path_factory.mktemp("films"))


def get(client: TestClient, place: str, id_: str = FIRST):
    return client.get(f"/v1/{place}", params={"id": id_})


def test_the_sound_is_the_speakers_as_it_is_prepared(client: TestClient, demo: Path) -> None:
    told = get(client, "utterance").json()
    video, span = told["playing"]["video"], (told["start_s"], told["end_s"])
    assert (video["start_s"], video["end_s"]) == pytest.approx(span)
    assert (video["is_playable"], video["most_s"], told["playing"]["sound"]) == (False, None, True)
    with wave.open(io.BytesIO(get(client, "sound.wav").content)) as file:
        heard = np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767
        rate_hz = file.getframerate()
    # The woman wears the left microphone in Ses01F.
    expected = read_sound(demo / SOUND, (video["start_s"], video["end_s"]), channel=0)
    assert (rate_hz, len(heard)) == (expected.rate_hz, len(expected.samples))
    assert np.abs(heard - expected.samples).max() < 1e-4
    outline = get(client, "waveform").json()
    low, high = np.array(outline["outline"]).T
    assert outline["source"] == "corpus" and outline["seconds"] == len(heard) / rate_hz
    assert low.min() == pytest.approx(heard.min(), abs=1e-3) and (low <= high).all()
    assert high.max() == pytest.approx(heard.max(), abs=1e-3)


def test_without_the_corpus_the_sound_is_estimated(prepared: Path) -> None:
    client = TestClient(BrowseApi(Table(prepared)).app())
    assert get(client, "waveform").json()["source"] == "spectrum"
    assert get(client, "utterance").json()["playing"] == {"sound": True, "video": None}
    for place in ("film.webm", "recording"):
        answer = get(client, place)
        assert answer.status_code == 404 and "--raw" in answer.json()["error"]["hint"]


def test_what_was_left_out_is_heard_and_marked_too(
    shards: Path, demo: Path, tmp_path: Path
) -> None:
    client = client_of(shards, demo, tmp_path)
    rows = client.get("/v1/rows", params={"reason": "label_not_chosen"}).json()["rows"]
    told = get(client, "utterance", rows[0]["id"]).json()
    assert told["reason"] == "label_not_chosen" and told["playing"]["sound"]
    assert told["playing"]["video"]["end_s"] > told["playing"]["video"]["start_s"]
    assert get(client, "waveform", rows[0]["id"]).json()["source"] == "corpus"
    assert get(client, "face.png", rows[0]["id"]).status_code == 404
    client.put("/v1/marks", json={"id": rows[0]["id"], "marks": ["label"]})
    assert [*read_review(shards / "review.jsonl")] == [rows[0]["id"]]
    assert client.get("/v1/rows?state=marked").json()["rows"][0]["marks"] == ["label"]


@pytest.mark.parametrize(
    ("kind", "status", "said"),
    [("link", 403, "is outside the directory of the corpus"), ("folder", 404, "is a directory")],
)
def test_nothing_but_files_of_the_corpus_is_read(
    prepared: Path, demo: Path, tmp_path: Path, kind: str, status: int, said: str
) -> None:
    raw = Path(shutil.copytree(demo, tmp_path / "corpus"))
    client = client_of(prepared, raw, tmp_path)
    for name, place in ((SOUND, "sound.wav"), (VIDEO, "film.webm")):
        (raw / name).unlink()
        if kind == "link":
            (raw / name).symlink_to(demo / name)
        else:
            (raw / name).mkdir()
        answer = get(client, place)
        assert answer.status_code == status
        assert said in answer.json()["error"]["sentence"]
        assert str(tmp_path) not in answer.text and str(demo) not in answer.text


def test_a_corpus_that_is_none_is_refused_in_a_sentence(prepared: Path, tmp_path: Path) -> None:
    index = read_index(prepared)
    with pytest.raises(UsageError, match="object store"):
        Corpus(Path("s3://bucket/raw"), index, tmp_path)
    with pytest.raises(CorpusError):
        Corpus(tmp_path, index, tmp_path)


def test_rows_of_a_query_are_exported(client: TestClient) -> None:
    text = client.get("/v1/rows.csv", params={"label": "ang", "order": "seconds"}).text
    rows = client.get("/v1/rows", params={"label": "ang", "order": "seconds"}).json()["rows"]
    head, *lines = text.splitlines()
    assert head.startswith("id,recording,speaker,session,seconds,faces,labels,text,reason,subset")
    assert [line.split(",")[0] for line in lines] == [row["id"] for row in rows] != []
    everything = client.get("/v1/rows.csv").text.splitlines()
    assert len(everything) == 1 + client.get("/v1/rows").json()["total"]
    assert any(line.endswith("label_not_chosen,,,") for line in everything)


@pytest.mark.slow
def test_a_film_is_the_span_of_the_recording_and_is_encoded_once(
    client: TestClient, demo: Path, tmp_path: Path
) -> None:
    told = get(client, "utterance").json()
    answer = client.get("/v1/film.webm", params={"id": FIRST})
    assert answer.headers["content-type"] == "video/webm"
    (tmp_path / "film.webm").write_bytes(answer.content)
    with av.open(str(tmp_path / "film.webm")) as file:
        assert {stream.type for stream in file.streams} == {"video", "audio"}
        assert file.duration / 1e6 == pytest.approx(told["end_s"] - told["start_s"], abs=0.1)
        first = next(file.decode(video=0)).to_ndarray(format="rgb24").astype(float)
    with av.open(str(demo / VIDEO)) as file:
        pictures = {
            frame.time: frame.reformat(first.shape[1], first.shape[0], "rgb24").to_ndarray()
            for frame in file.decode(video=0)
            if abs(frame.time - told["start_s"]) < 1
        }
    nearest = min(pictures, key=lambda time_s: np.abs(pictures[time_s] - first).mean())
    assert nearest == pytest.approx(told["start_s"], abs=0.1)
    part = client.get("/v1/film.webm", params={"id": FIRST}, headers={"range": "bytes=10-19"})
    assert (part.status_code, part.content) == (206, answer.content[10:20])


@pytest.mark.slow
def test_a_film_without_sound_is_played_and_no_sound_is_offered(
    prepare, text_model: Path, talk: Path, tmp_path: Path
) -> None:
    ffmpeg("-i", talk, "-an", "-t", "2", "-c:v", "mpeg1video", "-r", "25", tmp_path / "mute.mpg")
    (tmp_path / "t.csv").write_text("id,video,text,labels\na,mute.mpg,hello,ang\n")
    given = {"raw": tmp_path / "t.csv", "out": tmp_path / "s", "tokenizer": str(text_model)}
    prepare(prep_config("table", require="none", **given))
    client = client_of(tmp_path / "s", tmp_path / "t.csv", tmp_path)
    playing = get(client, "utterance", "a").json()["playing"]
    assert not playing["sound"] and not playing["video"]["is_playable"]
    assert get(client, "film.webm", "a").status_code == 200
    answer = get(client, "waveform", "a")
    assert answer.status_code == 422 and "holds no sound" in answer.json()["error"]["sentence"]


@pytest.mark.slow
def test_a_file_that_browsers_play_is_sent_in_parts_and_a_broken_one_is_told(
    prepare, text_model: Path, talk: Path, tmp_path: Path
) -> None:
    raw = tmp_path / "raw"
    raw.mkdir()
    ffmpeg("-i", talk, "-c:v", "libvpx", "-deadline", "realtime", raw / "talk.webm")
    rows = ["id,video,start_s,end_s,text,labels", "a,talk.webm,0.5,2,hello,ang"]
    (raw / "table.csv").write_text("\n".join([*rows, "b,talk.webm,3,5,no,sad\n"]))
    given = {"raw": raw / "table.csv", "out": tmp_path / "s", "tokenizer": str(text_model)}
    prepare(prep_config("table", **given))
    client = client_of(tmp_path / "s", raw / "table.csv", tmp_path)
    video = get(client, "utterance", "b").json()["playing"]["video"]
    assert (video["is_playable"], video["start_s"], video["end_s"]) == (True, 3, 5)
    whole = (raw / "talk.webm").read_bytes()
    part = client.get("/v1/recording", params={"id": "b"}, headers={"range": "bytes=100-199"})
    assert (part.status_code, part.content) == (206, whole[100:200])
    assert part.headers["content-type"] == "video/webm"
    assert get(client, "film.webm", "b").status_code == 200
    (raw / "talk.webm").write_bytes(b"no film at all" * 99)
    for _ in range(2):
        answer = get(client, "film.webm", "a")
        assert answer.status_code == 422 and "talk.webm" in answer.json()["error"]["sentence"]
