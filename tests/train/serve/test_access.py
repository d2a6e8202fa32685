"""Who may ask a server, and under which name."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from fv2es_prep.errors import UsageError
from fv2es_train.serve.settings import Limits, ServeConfig
from tests.train.serve.conftest import Serve, Server

TOKEN = "a-long-secret"


@pytest.fixture(scope="module")
def closed(serve: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    return serve("--token-file", str(file), "--name", "lab.example")


def test_without_the_token_nothing_is_told_or_taken(closed: Server, talk: Path) -> None:
    for headers in ({}, {"Authorization": "Bearer no"}, {"Authorization": f"Basic {TOKEN}"}):
        for path in ("/v1/about", "/metrics", "/v1/jobs/any", "/openapi.json"):
            answer = closed.get(path, headers=headers)
            assert answer.status_code == 401 and answer.headers["www-authenticate"] == "Bearer"
        assert closed.post(talk, headers=headers).status_code == 401
    assert not closed.left()
    assert closed.get("/healthz").status_code == closed.get("/").status_code == 200


def test_with_the_token_it_serves(closed: Server) -> None:
    headers = {"Authorization": f"Bearer {TOKEN}"}
    assert closed.get("/v1/about", headers=headers).json()["model"] == "fv2es-tiny"


def test_it_answers_under_its_own_names_only(closed: Server, server: Server) -> None:
    own = {"Authorization": f"Bearer {TOKEN}"}
    assert closed.get("/v1/about", headers={**own, "Host": "lab.example"}).status_code == 200
    for name in ("evil.example", "127.0.0.1.evil.example", ""):
        answer = server.get("/", headers={"Host": name})
        assert answer.status_code == 403, name
    assert server.get("/", headers={"Host": "localhost:1"}).status_code == 200


def test_another_site_cannot_ask_through_a_browser(server: Server) -> None:
    for site in ("cross-site", "same-site"):
        answer = server.get("/v1/about", headers={"Sec-Fetch-Site": site})
        assert answer.status_code == 403 and "another site" in answer.text
    # A link to the page is none of that.
    assert server.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200


def test_options_that_make_no_sense_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="queue"):
        Limits(queue=0)
    with pytest.raises(UsageError, match="workers"):
        ServeConfig(tmp_path, workers=0)
    with pytest.raises(UsageError, match="8 characters"):
        ServeConfig(tmp_path, token="short")
    assert ServeConfig(tmp_path, host="0.0.0.0").is_public
    assert not ServeConfig(tmp_path, host="::1").is_public


def test_an_answer_to_a_refused_upload_arrives(closed: Server, talk: Path) -> None:
    """The client is told why, though it still sends when the answer comes."""
    data = talk.read_bytes() + bytes(8 << 20)
    answer = httpx.post(f"{closed.url}/v1/predict", files={"video": ("v.mp4", data)})
    assert answer.status_code == 401
