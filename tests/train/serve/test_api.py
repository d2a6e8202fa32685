"""`fv2es serve`: videos in, emotions out, over HTTP."""

from __future__ import annotations

import csv
import io
import json
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

import httpx
import psutil
import pytest

from fv2es_train.models.pack import pack
from fv2es_train.predict.outputs import summarise
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, parse_view
from fv2es_train.predict.subtitles import parse_transcript
from tests.command_line import fv2es
from tests.train.serve.conftest import FV2ES, Serve, Server

WORDS = "1\n00:00:00,000 --> 00:00:03,000\nI am so happy\n\n2\n00:00:03,500 --> 00:00:07,000\nno\n"
SPANS = [{"start_s": 0, "end_s": 3, "id": "one"}, {"start_s": 3.5, "end_s": 7, "id": "two"}]
VIEW = "left:224:0"


@pytest.fixture(scope="session")
def told(server: Server, talk: Path) -> dict:
    """A video with words, scored."""
    answer = server.post(talk, transcript=WORDS, view=VIEW, preview="true")
    return server.wait(answer)


def test_a_video_with_words_is_scored_as_predict_scores_it(
    told: dict, predictor: Predictor, talk: Path
) -> None:
    assert told["state"] == "done" and told["count"] == 2 and told["progress"] == 1
    spans = parse_transcript(WORDS).spans
    expected = list(predictor.predict(Request(talk, spans=spans, views=(parse_view(VIEW),))))
    for one, found in zip(expected, told["utterances"], strict=True):
        assert found.keys() == asdict(one).keys() | {"places", "faces"}
        assert found["probability"] == pytest.approx(one.probability, abs=1e-6)
        assert (found["text"], found["used"], found["top"]) == (one.text, "tva", one.top)
        assert found["decided"] == list(one.decided)
    assert told["summary"].keys() == asdict(summarise("", expected, predictor.decision)).keys()
    assert told["summary"]["scored"] == 2 and told["summary"]["video"] == "talk.mp4"


def test_boxes_are_told_in_fractions_of_the_picture_and_faces_as_pictures(told: dict) -> None:
    one = told["utterances"][0]
    assert len(one["places"]) == one["faces_seen"] > 0
    for place in one["places"]:
        assert 0 <= place["left"] < 0.5 and place["left"] + place["width"] <= 0.6
        assert 0 <= place["top"] <= place["top"] + place["height"] <= 1
    assert all(face.startswith("data:image/jpeg;base64,/9j/") for face in one["faces"])
    assert 1 <= len(one["faces"]) <= 6


def test_without_words_and_spans_it_finds_speech_and_says_what_was_missing(
    server: Server, talk: Path
) -> None:
    job = server.wait(server.post(talk, view=VIEW))
    assert job["state"] == "done" and job["count"] >= 1
    assert {one["used"] for one in job["utterances"]} == {"va"}
    assert any("no transcript" in note for note in job["notes"])


def test_what_is_missing_is_told_with_the_uploads_own_name_and_stays_missing(
    server: Server, files: tuple[Path, Path]
) -> None:
    job = server.wait(server.post(files[1], "only sound.wav", spans=json.dumps(SPANS)))
    assert job["state"] == "done" and job["picture"] is None
    told = json.dumps(job["utterances"]) + json.dumps(job["notes"])
    assert "only sound.wav" in told and "upload" not in told
    address = f"{server.url}/v1/jobs/{job['id']}/words"
    again = server.wait(httpx.post(address, json={"words": {"one": "yes"}}))
    assert [one["used"] for one in again["utterances"]] == ["ta", "a"]
    assert again["length_s"] == job["length_s"] > 0
    assert any("only sound.wav" in note for note in again["notes"])
    assert not any("no transcript" in note for note in again["notes"])


def test_corrected_words_are_scored_without_the_video(
    server: Server, told: dict, predictor: Predictor, talk: Path
) -> None:
    first = told["utterances"][0]["id"]
    address = f"{server.url}/v1/jobs/{told['id']}/words"
    job = server.wait(httpx.post(address, json={"words": {first: "I am so angry"}}))
    spans = parse_transcript(WORDS.replace("I am so happy", "I am so angry")).spans
    expected = predictor.predict(Request(talk, spans=spans, views=(parse_view(VIEW),)))
    for one, found in zip(expected, job["utterances"], strict=True):
        assert found["probability"] == pytest.approx(one.probability, abs=1e-6)
        assert found["text"] == one.text
    assert job["utterances"][0]["faces"] == told["utterances"][0]["faces"]


def test_results_come_in_the_forms_of_the_command(server: Server, told: dict) -> None:
    address = f"/v1/jobs/{told['id']}/result"
    whole = server.get(f"{address}.json").json()
    assert [one["id"] for one in whole["videos"][0]["utterances"]] == ["0001", "0002"]
    rows = list(csv.DictReader(io.StringIO(server.get(f"{address}.csv").text)))
    assert [row["text"] for row in rows] == ["I am so happy", "no"]
    cues = parse_transcript(server.get(f"{address}.srt").text).spans
    assert [(cue.start_s, cue.end_s) for cue in cues] == [(0, 3), (3.5, 7)]


def test_utterances_can_be_asked_for_from_one_on(server: Server, told: dict) -> None:
    job = server.get(f"/v1/jobs/{told['id']}?after=1").json()
    assert job["first"] == 1 and [one["id"] for one in job["utterances"]] == ["0002"]


def test_the_preview_is_a_film_that_can_be_asked_for_in_parts(server: Server, told: dict) -> None:
    assert told["preview"]
    address = f"/v1/jobs/{told['id']}/preview.webm"
    whole = server.get(address)
    assert (
        whole.content[:4] == b"\x1a\x45\xdf\xa3" and whole.headers["content-type"] == "video/webm"
    )
    part = server.get(address, headers={"Range": "bytes=4-11"})
    assert part.status_code == 206 and part.content == whole.content[4:12]


def test_an_upload_is_gone_when_its_job_is_done(server: Server, told: dict) -> None:
    assert {path.name for path in server.left()} <= {"preview.webm"}


def test_a_forgotten_job_is_gone_with_its_files(server: Server, talk: Path) -> None:
    job = server.wait(server.post(talk, spans=json.dumps(SPANS), preview="true"))
    address = f"{server.url}/v1/jobs/{job['id']}"
    before = len(server.left())
    assert httpx.delete(address).status_code == 204
    assert len(server.left()) == before - 1
    answer = httpx.get(address)
    assert (
        answer.status_code == 404 and "the job does not exist" in answer.json()["error"]["sentence"]
    )


def test_a_running_job_can_be_stopped(server: Server, talk: Path) -> None:
    before = set(server.left())
    spans = [{"start_s": k * 0.02, "end_s": k * 0.02 + 1} for k in range(300)]
    answer = server.post(talk, spans=json.dumps(spans))
    while server.get(answer.headers["location"]).json()["count"] == 0:
        time.sleep(0.05)
    assert httpx.delete(f"{server.url}{answer.headers['location']}").status_code == 204
    assert server.wait(server.post(talk, spans=json.dumps(SPANS)))["state"] == "done"
    assert set(server.left()) == before


def test_it_tells_what_it_is(server: Server, predictor: Predictor) -> None:
    about = server.get("/v1/about").json()
    assert tuple(about["classes"]) == predictor.classes and about["modalities"] == "tva"
    assert about["thresholds"] == pytest.approx(predictor.decision.thresholds)
    assert about["rule"] == predictor.decision.rule
    assert "fv2es demo" in about["trained_on"] and "generated data" in about["trained_on"]
    assert "decisions about people" in about["not_for"]
    assert about["names"]["ang"] == "anger" and list(about["names"]) == about["classes"]
    card = about["card"]
    assert (
        card["subset"] == "test" and card["scores"] and len(card["classes"]) == len(about["names"])
    )
    assert about["run"] == "tav" and about["model"] == "fv2es-tiny" and about["ready"]
    assert about["limits"]["queue"] == 8 and about["recogniser"] is None


def test_health_figures_and_description(server: Server, told: dict) -> None:
    assert server.get("/healthz").json() == {"status": "ok"}
    figures = server.get("/metrics").text
    assert 'fv2es_jobs_total{state="done"}' in figures and "fv2es_jobs_waiting 0.0" in figures
    paths = server.get("/openapi.json").json()["paths"]
    form = paths["/v1/predict"]["post"]["requestBody"]["content"]["multipart/form-data"]
    assert form["schema"]["properties"]["video"]["format"] == "binary"
    assert "JobAnswer" in json.dumps(paths["/v1/jobs/{id_}"])


def test_the_page_and_every_answer_forbid_what_comes_from_elsewhere(server: Server) -> None:
    page = server.get("/")
    assert page.status_code == 200 and "<html" in page.text
    for answer in (page, server.get("/v1/about"), server.get("/nowhere")):
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "server" not in answer.headers


def test_a_job_over_its_time_is_ended_and_results_are_kept_for_theirs(
    serve: Serve, talk: Path
) -> None:
    server = serve("--job-minutes", "0.05", "--keep-minutes", "0.05")
    spans = [{"start_s": k * 0.01, "end_s": k * 0.01 + 2} for k in range(500)]
    job = server.wait(server.post(talk, spans=json.dumps(spans)))
    assert job["state"] == "failed" and "exceeded its limit of 3 s" in job["error"]["sentence"]
    until = time.monotonic() + 60
    while (
        answer := server.post(talk, spans=json.dumps(SPANS[:1]), preview="1")
    ).status_code == 503:
        assert time.monotonic() < until
        time.sleep(0.5)
    job = server.wait(answer)
    assert job["state"] == "done" and [path.name for path in server.left()] == ["preview.webm"]
    assert "fv2es_worker_restarts 1.0" in server.get("/metrics").text
    time.sleep(job["expires_s"] + 1.5)
    assert not server.left()
    assert server.get(f"/v1/jobs/{job['id']}").status_code == 404


@pytest.mark.slow
def test_a_worker_that_the_system_kills_is_replaced_whatever_it_did(
    serve: Serve, talk: Path
) -> None:
    server = serve(family=True)
    many = json.dumps([{"start_s": k * 0.02, "end_s": 2 + k * 0.02} for k in range(200)])
    for spans in ("", many):
        working = server.post(talk, spans=spans) if spans else None
        _kill_the_worker(server)
        if working is not None:
            job = server.wait(working)
            assert job["state"] == "failed" and "died" in job["error"]["sentence"]
        until = time.monotonic() + 60
        while (answer := server.post(talk, spans=json.dumps(SPANS[:1]))).status_code == 503:
            assert time.monotonic() < until
            time.sleep(0.5)
        assert server.wait(answer)["state"] == "done"
    assert "fv2es_worker_restarts 2.0" in server.get("/metrics").text
    assert not server.left()


def _kill_the_worker(server: Server) -> None:
    children = psutil.Process(server.process.pid).children(recursive=True)
    worker = max(children, key=lambda child: child.memory_info().rss)
    worker.kill()
    psutil.wait_procs([worker], timeout=10)


@pytest.mark.parametrize(
    "how",
    [
        "SIGTERM",
        *(pytest.param(how, marks=pytest.mark.slow) for how in ("SIGINT SIGINT", "SIGKILL")),
    ],
)
def test_it_leaves_nothing_behind_however_it_ends(hearing: Serve, talk: Path, how: str) -> None:
    server = hearing()
    spans = [{"start_s": k * 0.02, "end_s": k * 0.02 + 1} for k in range(300)]
    server.post(talk, spans=json.dumps(spans))
    assert server.left()
    *first, last = (signal.Signals[name] for name in how.split())
    for one in first:
        server.process.send_signal(one)
    status = server.stop(last)
    assert "Traceback" not in server.log.read_text()
    if how != "SIGKILL":
        assert status == 0 and "server stopped" in server.log.read_text()
    else:
        # Nobody can clean up after that but the next one.
        again = hearing("--temporary", str(server.temporary))
        assert not list(server.temporary.rglob("upload"))
        again.stop()
    assert not list(server.temporary.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("wait_s", [0.0, 1.0])
def test_ctrl_c_twice_while_it_loads_ends_it_quietly(
    trained: Callable[[str], Path], text_model: Path, tmp_path: Path, wait_s: float
) -> None:
    command = [FV2ES, "serve", "--run", str(trained("tav")), "--tokenizer", str(text_model)]
    command += ["--asr", "none", "--port", "0", "--temporary", str(tmp_path)]
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        assert process.stderr is not None
        said = process.stderr.readline()
        assert said.startswith("loading")
        time.sleep(wait_s)
        # A terminal sends it to the workers too.
        for _ in range(2):
            os.killpg(process.pid, signal.SIGINT)
            time.sleep(0.05)
        said += process.communicate(timeout=30)[1]
    assert process.returncode == 0 and said.endswith("server stopped\n")
    assert "Traceback" not in said and not list(tmp_path.iterdir())


def test_a_wrong_start_is_one_sentence(
    server: Server, trained: Callable[[str], Path], text_model: Path, tmp_path: Path
) -> None:
    def start(*options: str) -> tuple[int, str]:
        result = fv2es("serve", "--asr", "none", *options)
        return result.returncode, result.stderr

    run = ("--run", str(trained("tav")))
    port = server.url.rpartition(":")[2]
    status, said = start(*run, "--port", port)
    assert status == 2 and f"port {port}" in said and "in use" in said
    status, said = start("--run", str(tmp_path / "none"), "--port", "0")
    assert status == 2 and "none" in said and "Traceback" not in said
    status, said = start(*run, "--port", "0", "--tokenizer", str(tmp_path))
    assert status == 1 and "tokenizer" in said and "Traceback" not in said


def test_a_packed_run_is_served_as_the_run_itself(
    serve: Serve, told: dict, trained: Callable[[str], Path], text_model: Path, talk: Path, tmp_path
) -> None:
    pack(trained("tav"), tmp_path / "emotions.fv2es", str(text_model))
    packed = serve(run=tmp_path / "emotions.fv2es", worded=False)
    job = packed.wait(packed.post(talk, transcript=WORDS, view=VIEW))
    for one, found in zip(told["utterances"], job["utterances"], strict=True):
        assert found["probability"] == pytest.approx(one["probability"], abs=1e-6)
    about = packed.get("/v1/about").json()
    assert about["run"] == "emotions.fv2es"
    assert "decisions about people" in about["not_for"]
    packed.stop()
    assert not list(packed.temporary.iterdir())
