"""Who may ask a server, and under which name."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from starlette.requests import Request
from starlette.responses import Response

from fv2es_prep.errors import UsageError
from fv2es_train.serve.access import UPLOAD, AccessControl
from fv2es_train.serve.settings import Limits, ServeConfig
from tests.train.serve.conftest import Serve, Server

if TYPE_CHECKING:
    from starlette.types import Message, Receive, Scope, Send

TOKEN = "a-long-secret"


@pytest.fixture(scope="module")
def server(hearing: Serve) -> Server:
    return hearing()


@pytest.fixture(scope="module")
def closed(hearing: Serve, tmp_path_factory: pytest.TempPathFactory) -> Server:
    file = tmp_path_factory.mktemp("token") / "token"
    file.write_text(f"{TOKEN}\n")
    return hearing("--token-file", str(file), "--name", "lab.example")


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


HOSTS = (
    *("evil.example", "localhost.evil.example", "127.0.0.1.evil.example", "192.0.2.7", ""),
    *("localhost@evil.example", "localhost:7860:evil", "localhost:x", "local host", "[::2]:7860"),
)
ORIGINS = (
    *("http://evil.example", "https://evil.example", "http://evil.example:7860", "null", ""),
    *("http://localhost", "http://localhost:8888", "http://127.0.0.1:7860", "file://"),
    "http://localhost:7860.evil.example",
)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
@pytest.mark.parametrize(
    "forged",
    [*({"Host": name} for name in HOSTS), *({"Origin": origin} for origin in ORIGINS)],
    ids=str,
)
def test_a_forged_host_or_origin_posts_nothing(
    host: str, forged: dict[str, str], tmp_path: Path
) -> None:
    """Twenty requests, to a private server and to one that listens at every address."""
    config = ServeConfig(tmp_path, host=host, names=("lab.example",))
    own = {"Host": "localhost:7860"}
    assert _post(config, own) == _post(config, {**own, "Origin": "http://localhost:7860"}) == 200
    assert _post(config, {**own, **forged}) == 403


def test_a_server_knows_its_names_and_its_address(tmp_path: Path) -> None:
    private = ServeConfig(tmp_path, names=("Lab.example",))
    public = replace(private, host="0.0.0.0")
    for config, name, status in (
        *((private, name, 200) for name in ("LOCALHOST:1", "[::1]:7860", "lab.example")),
        *((public, name, 200) for name in ("10.0.0.5:7860", socket.gethostname(), "127.0.0.1")),
        *((public, name, 403) for name in ("10.0.0.6", "example")),
        *((private, name, 403) for name in (f"{socket.gethostname()}.",)),
    ):
        assert _post(config, {"Host": name}) == status, name
    # A proxy ends HTTPS and asks under another name.
    behind = {"Host": "127.0.0.1:7860", "Origin": "https://lab.example"}
    assert _post(private, behind) == 200


def test_the_token_is_asked_for_before_the_body_is_read(tmp_path: Path) -> None:
    config = ServeConfig(tmp_path, token=TOKEN)
    read: list[bytes] = []
    assert _post(config, {"Host": "localhost", "Content-Length": str(1 << 40)}, read) == 401
    assert not read
    allowed = {"Host": "localhost", "Authorization": f"Bearer {TOKEN}"}
    assert _post(config, {**allowed, "Content-Length": str(1 << 40)}, read) == 413
    assert not read
    assert _post(config, allowed, read) == 200 and read


def _post(config: ServeConfig, headers: dict[str, str], read: list[bytes] | None = None) -> int:
    """The status of an upload; what is read of it goes into ``read``."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        await Request(scope, receive).body()
        await Response()(scope, receive, send)

    async def receive() -> Message:
        if read is not None:
            read.append(b"video")
        return {"type": "http.request", "body": b"video", "more_body": False}

    async def send(message: Message) -> None:
        statuses.extend([message["status"]] if "status" in message else [])

    statuses: list[int] = []
    scope = {
        "type": "http",
        "method": "POST",
        "path": UPLOAD,
        "client": ("10.0.0.9", 1),
        "server": ("10.0.0.5", 7860),
        "headers": [(key.lower().encode(), value.encode()) for key, value in headers.items()],
    }
    asyncio.run(AccessControl(app, config)(scope, receive, send))
    return statuses[0]


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
