"""What nobody should send: refused in a sentence, nothing left, and the next one is served."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span
from tests.train.serve.conftest import Serve, Server
from tests.train.serve.hostile import hostile

_ROOM_MIB = 300


def _spans(count: int, length_s: float) -> str:
    """Spans that all lie on one another."""
    return json.dumps([{"start_s": 0.001 * k, "end_s": length_s} for k in range(count)])


def _memory_mib(server: Server) -> float:
    """Of the server and everything that it has started."""
    here = psutil.Process(server.process.pid)
    total = 0
    for process in (here, *here.children(recursive=True)):
        try:
            total += process.memory_info().rss
        except psutil.Error:
            continue
    return total / (1 << 20)


class _Peak:
    """The highest memory of a server while a block runs."""

    def __init__(self, server: Server) -> None:
        self._server, self._end = server, threading.Event()
        self.first_mib = self.mib = _memory_mib(server)
        self._thread = threading.Thread(target=self._look)

    def __enter__(self) -> _Peak:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._end.wait(0.05):
            self.mib = max(self.mib, _memory_mib(self._server))


def _refused(answer: httpx.Response, server: Server) -> str:
    """The sentence of a refusal, which tells nothing of the machine."""
    assert 400 <= answer.status_code < 500, (answer.status_code, answer.text)
    trouble = answer.json()["error"]
    assert trouble["sentence"] and trouble["hint"]
    for secret in (str(server.temporary), "Traceback", "site-packages", "fv2es-serve-", "upload-"):
        assert secret not in answer.text, answer.text
    return str(trouble["sentence"])


@pytest.mark.slow
def test_two_hundred_hostile_uploads_are_refused_and_leave_nothing(
    serve: Serve, talk: Path, tmp_path: Path
) -> None:
    server = serve("--max-upload-mib", "64", "--max-minutes", "30", family=True)
    uploads = hostile(tmp_path, talk)
    assert len(uploads) == 200
    statuses: Counter[int] = Counter()
    good = json.dumps([{"start_s": 0, "end_s": 2}])
    assert server.wait(server.post(talk, spans=good))["state"] == "done"
    with _Peak(server) as peak:
        for what, name, data in uploads:
            answer = server.post(data, name)
            assert _refused(answer, server), what
            statuses[answer.status_code] += 1
            assert not server.left(), what
    assert set(statuses) == {400, 415, 422}
    assert server.get("/healthz").json() == {"status": "ok"}
    assert peak.mib < peak.first_mib + _ROOM_MIB
    assert server.wait(server.post(talk, spans=good))["state"] == "done"
    assert "fv2es_worker_restarts 0.0" in server.get("/metrics").text


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"faces": "some"}, "faces is 'some'"),
        ({"view": "up"}, "the view is 'up'"),
        ({"view": ["left"] * 9}, "9 views"),
        ({"view": "left:" + "9" * 5000}, "the view is"),
        ({"preview": "perhaps"}, "preview is 'perhaps'"),
        ({"spans": "[" * 100_000}, "is not JSON"),
        ({"spans": '[{"start_s": "nan", "end_s": 2}]'}, "span 1"),
        ({"spans": '[{"start_s": 3, "end_s": 2}]'}, "span 1"),
        ({"spans": "start_s,end_s\n1\n"}, "span 1"),
        ({"spans": 'a,"' + "b" * 200_000}, "CSV"),
        ({"transcript": f"{'9' * 5000}:00:00,0 --> {'9' * 5000}:00:01,0\nhm\n", "faces": "x"}, "x"),
        ({"transcript": "1\n00:00:05,000 --> 00:00:03,000\nhm\n"}, "is invalid"),
        ({"labels": "happy"}, "'labels'"),
        ({"spans": '[{"start_s": 0, "end_s": 3600}]'}, "longer than 120 s"),
        ({"spans": _spans(5001, 8.0)}, "5001 spans"),
        ({"spans": _spans(700, 8.0), "view": ["left"] * 7}, "overlap so much"),
    ],
)
def test_a_form_that_cannot_be_understood_is_told_what_is_wrong(
    server: Server, talk: Path, fields: dict[str, Any], said: str
) -> None:
    answer = server.post(talk, **fields)
    assert said in _refused(answer, server)


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({"content-type": "application/json"}, b"{}"),
        ({"content-type": "multipart/form-data"}, b"x"),
        ({"content-type": "multipart/form-data; boundary=a"}, b"no form"),
        ({"content-type": "multipart/form-data; boundary=a"}, b"--a\r\n\r\n"),
        ({"content-type": "multipart/form-data; boundary=a"}, b"--b--\r\n"),
        ({}, b""),
    ],
)
def test_a_body_that_is_no_form_is_refused(
    server: Server, headers: dict[str, str], body: bytes
) -> None:
    answer = httpx.post(f"{server.url}/v1/predict", content=body, headers=headers)
    _refused(answer, server)


def test_an_upload_over_the_limit_is_refused_whether_it_tells_its_size_or_not(
    hearing: Serve, talk: Path
) -> None:
    server = hearing("--max-upload-mib", "1")
    data = talk.read_bytes() + bytes(2 << 20)
    assert "larger than 1 MiB" in _refused(server.post(data), server)

    def parts() -> Any:
        yield b'--a\r\nContent-Disposition: form-data; name="video"; filename="v.mp4"\r\n\r\n'
        for _ in range(32):
            yield bytes(1 << 16)
        yield b"\r\n--a--\r\n"

    headers = {"content-type": "multipart/form-data; boundary=a"}
    answer = httpx.post(f"{server.url}/v1/predict", content=parts(), headers=headers)
    assert "larger than 1 MiB" in _refused(answer, server)
    assert answer.status_code == 413 and not server.left()


def test_wrong_addresses_and_words_are_refused(server: Server, talk: Path) -> None:
    for method, path, status in (
        ("GET", "/v1/jobs/none", 404),
        ("GET", "/v1/jobs/../../etc/passwd", 404),
        ("GET", "/page/..%2f..%2fpyproject.toml", 404),
        ("GET", "/page/", 404),
        ("PUT", "/v1/predict", 405),
        ("GET", "/v1/jobs/none/result.exe", 422),
        ("GET", "/docs", 404),
    ):
        answer = httpx.request(method, f"{server.url}{path}")
        assert answer.status_code == status, (path, answer.text)
        _refused(answer, server)
    job = server.wait(server.post(talk, spans=json.dumps([{"start_s": 0, "end_s": 2}])))
    address = f"{server.url}/v1/jobs/{job['id']}/words"
    for body, status in (({"words": {"9": "no"}}, 422), ({"words": 3}, 422), ({}, 422)):
        answer = httpx.post(address, json=body)
        assert answer.status_code == status
        _refused(answer, server)


def test_twenty_clients_at_once_get_their_own_right_answer_or_are_told_to_wait(
    server: Server, talk: Path, predictor: Predictor
) -> None:
    words = [
        f"{word} {word}"
        for word in ["happy", "sad", "angry", "great", "bad", "well", "so", "no", "yes", "oh"] * 2
    ]
    spans = [
        [{"start_s": 0, "end_s": 1.5 + 0.25 * k, "text": text}] for k, text in enumerate(words)
    ]

    def ask(one: list[dict[str, Any]]) -> httpx.Response:
        return server.post(talk, spans=json.dumps(one))

    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(ask, spans))
    taken = 0
    for answer, one in zip(answers, spans, strict=True):
        if answer.status_code == 429:
            assert int(answer.headers["retry-after"]) >= 1
            _refused(answer, server)
            continue
        taken += 1
        job = server.wait(answer)
        request = Request(talk, spans=(Span(**one[0]),))
        expected = next(predictor.predict(request))
        assert job["utterances"][0]["text"] == one[0]["text"]
        assert job["utterances"][0]["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert 8 <= taken < 20
    time.sleep(0.2)
    assert not [path for path in server.left() if path.name != "preview.webm"]
