"""Clients that keep a server waiting: closed in time, and never in the way of others."""

from __future__ import annotations

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Route

from fv2es_train.serve.access import UPLOAD, AccessControl
from fv2es_train.serve.bodies import Body
from fv2es_train.serve.connections import connections_within
from fv2es_train.serve.room import Room, network, plain_ip
from fv2es_train.serve.settings import Limits, ServeConfig
from tests.train.serve.attack import attack, delays, good_clients
from tests.train.serve.conftest import Serve

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.types import Message

HEAD = f"POST {UPLOAD} HTTP/1.1\r\nHost: localhost\r\n".encode()
CHUNK, ANSWER = bytes(1 << 15), 16 << 20
Open = Callable[..., socket.socket]


@contextmanager
def _listening(limits: Limits) -> Iterator[int]:
    """The port of uvicorn with our connections and access, around an app that reads bodies."""

    async def take(request: Request) -> Response:
        try:
            await request.body()
        except HTTPException as error:
            return Response(error.detail, error.status_code)
        return Response(bytes(ANSWER))

    app = Starlette(routes=[Route(UPLOAD, take, methods=["POST"])])
    guarded = AccessControl(app, ServeConfig(Path(), limits=limits))
    config = uvicorn.Config(
        guarded, http=connections_within(limits), lifespan="off", log_config=None
    )
    server = uvicorn.Server(config)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            server.should_exit = server.force_exit = True
            thread.join()


@pytest.fixture
def opened() -> Iterator[Open]:
    """Opens connections that send some bytes, and closes them at the end."""
    with ExitStack() as stack:

        def open_(port: int, data: bytes = b"") -> socket.socket:
            client = stack.enter_context(socket.create_connection(("127.0.0.1", port), 10))
            client.sendall(data)
            return client

        yield open_


def _read(client: socket.socket) -> int:
    """The number of bytes until the end of a connection."""
    return sum(iter(lambda: len(client.recv(1 << 16)), 0))


def _closed_after_s(client: socket.socket) -> float:
    """Seconds until the server closes a connection, whatever it sends before."""
    began = time.monotonic()
    with suppress(ConnectionError):
        _read(client)
    return time.monotonic() - began


def test_a_connection_that_keeps_the_server_waiting_is_closed_in_time(opened: Open) -> None:
    limits = Limits(header_s=0.4, pause_s=0.6, upload_s=5)
    with _listening(limits) as port:
        idle, half = opened(port), opened(port, HEAD)
        body = opened(port, HEAD + b"Content-Length: 1000\r\n\r\nx")
        # The answer is larger than what the system takes for a client.
        unread = opened(port, HEAD + b"Content-Length: 1\r\n\r\nx")
        for client in (idle, half):
            assert _closed_after_s(client) < 2
        assert b" 408 " in body.recv(1 << 16).partition(b"\r\n")[0]
        time.sleep(1)
        assert _read(unread) < ANSWER


def test_the_longest_idle_connection_makes_room_and_a_busy_one_stays(opened: Open) -> None:
    with _listening(Limits(connections_per_address=3)) as port:
        busy = opened(port, HEAD + b"Content-Length: 2\r\n\r\nx")
        first, second = opened(port), opened(port)
        time.sleep(0.05)
        third = opened(port, HEAD + b"Content-Length: 1\r\n\r\nx")
        assert _closed_after_s(first) < 1
        for client in (third, second, busy):
            if client is second:
                client.sendall(HEAD + b"Content-Length: 1\r\n\r\n")
            client.sendall(b"x")
            assert client.recv(1 << 16).startswith(b"HTTP/1.1 200")
            client.close()


def test_a_refused_upload_is_answered_before_its_body_comes(opened: Open) -> None:
    with _listening(Limits()) as port:
        forged = HEAD.replace(b"localhost", b"evil.example") + b"Expect: 100-continue\r\n"
        client = opened(port, forged + b"Content-Length: 1000000\r\n\r\n")
        assert client.recv(1 << 16).startswith(b"HTTP/1.1 403")


class _Upload:
    """A body that comes in chunks when the test says so."""

    def __init__(self, room: Room, limits: Limits, address: str = "10.0.0.1") -> None:
        self._chunks: asyncio.Queue[bytes] = asyncio.Queue()
        self.body = Body(self._next, address, 1 << 30, limits, room)

    async def bring(self, data: bytes) -> None:
        await self._chunks.put(data)
        await self.body.receive()

    async def _next(self) -> Message:
        return {"type": "http.request", "body": await self._chunks.get(), "more_body": True}


def test_an_upload_that_stalls_makes_room_and_one_that_comes_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("fv2es_train.serve.bodies.STALLED_S", 0.1)

    async def try_it() -> None:
        limits, room = Limits(), Room(8 * len(CHUNK), 4 * len(CHUNK))
        slow, good, more = (_Upload(room, limits) for _ in range(3))
        for one in (slow, good):
            await one.bring(CHUNK * 2)
        with pytest.raises(HTTPException) as refused:
            await more.bring(CHUNK)
        assert refused.value.status_code == 429
        # Another address has room, up to what there is in all.
        await _Upload(room, limits, "10.0.0.2").bring(CHUNK * 4)
        with pytest.raises(HTTPException):
            await _Upload(room, limits, "10.0.0.3").bring(CHUNK)
        waiting = asyncio.create_task(slow.body.receive())
        await asyncio.sleep(0.2)
        # The good one gets on, at the cost of the slow one.
        await good.bring(CHUNK)
        with pytest.raises(HTTPException) as ended:
            await waiting
        assert ended.value.status_code == 408
        good.body.leave()
        await more.bring(CHUNK * 3)

    asyncio.run(try_it())


@pytest.mark.parametrize("limits", [Limits(pause_s=0.2), Limits(upload_s=0.2)])
def test_an_upload_that_trickles_is_given_up(limits: Limits) -> None:
    async def try_it() -> None:
        upload = _Upload(Room(1000, 1000), limits)
        for _ in range(250):
            await upload.bring(b"x")
            await asyncio.sleep(0.02)

    with pytest.raises(HTTPException, match="took too long"):
        asyncio.run(try_it())


def test_room_is_counted_for_an_address_or_a_network() -> None:
    assert network(("10.0.0.1", 5)) == network(("::ffff:10.0.0.1", 6)) == "10.0.0.1"
    assert network(("2001:db8::1", 5)) == network(("2001:db8::2", 5)) == "2001:db8::/64"
    assert network(None) == "" and network(("what a proxy sends", 0)) == "what a proxy sends"
    assert plain_ip("fe80::1%eth0") == "fe80::1"


@pytest.mark.slow
def test_two_good_clients_are_served_beside_four_hundred_bad_ones(
    serve: Serve, talk: Path, tmp_path: Path
) -> None:
    """The server's own limits, with shorter times so that bad clients also come back."""
    config = tmp_path / "serve.toml"
    config.write_text("[limits]\nheader_s = 3.0\npause_s = 5.0\n")
    server = serve("--config", str(config))
    normal = good_clients(server.url, talk, 4)
    with attack(server.url):
        attacked = good_clients(server.url, talk, 15)
    assert len(attacked["result"]) >= 4
    late = {what: s for what, s in delays(normal, attacked).items() if s > 2}
    assert not late
    assert "Traceback" not in server.log.read_text()
