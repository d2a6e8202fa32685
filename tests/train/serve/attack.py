"""Four hundred clients that keep a server waiting, and two good ones beside them.

By hand, against a running server: `python -m tests.train.serve.attack URL VIDEO SECONDS`.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import threading
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from urllib.parse import urlsplit

import httpx

IDLE, HEADERS, BODIES = 300, 50, 50
_SPANS = json.dumps([{"start_s": 0, "end_s": 1}])
# What is asked -> seconds until each answer.
Times = dict[str, list[float]]


def good_clients(url: str, video: Path, seconds: float) -> Times:
    """Two clients that load the page, upload a video and wait for its result, again and again."""
    with ThreadPoolExecutor(2) as pool:
        both = [pool.submit(_good_client, url, video.read_bytes(), seconds) for _ in range(2)]
    times: Times = defaultdict(list)
    for one in both:
        for what, seconds_each in one.result().items():
            times[what] += seconds_each
    return times


def delays(normal: Times, attacked: Times) -> dict[str, float]:
    """For each question, seconds by which the slowest answer came later than normal."""
    return {what: max(attacked[what]) - median(normal[what]) for what in normal}


def _good_client(url: str, data: bytes, seconds: float) -> Times:
    times: Times = defaultdict(list)

    def ask(what: str, method: str, path: str, **options: object) -> httpx.Response:
        # A connection of its own for each question, as a new visitor has it.
        began = time.monotonic()
        answer = httpx.request(method, url + path, timeout=60, **options)  # type: ignore[arg-type]
        times[what].append(time.monotonic() - began)
        answer.raise_for_status()
        return answer

    until = time.monotonic() + seconds
    while time.monotonic() < until:
        for path in ("/", "/page/main.js", "/healthz", "/v1/about"):
            ask(path, "GET", path)
        began = time.monotonic()
        files = {"video": ("talk.mp4", data)}
        job = ask("upload", "POST", "/v1/predict", files=files, data={"spans": _SPANS})
        while (state := ask("job", "GET", job.headers["location"]).json()["state"]) != "done":
            assert state in ("waiting", "running"), state
            time.sleep(0.1)
        times["result"].append(time.monotonic() - began)
    return times


@contextlib.contextmanager
def attack(url: str) -> Iterator[None]:
    """Idle connections, slow headers and slow bodies while the block runs; each comes back."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever)
    thread.start()
    address = urlsplit(url)
    whole = asyncio.run_coroutine_threadsafe(
        _attackers(address.hostname or "", address.port or 80), loop
    )
    try:
        time.sleep(2)
        yield
    finally:
        whole.cancel()
        time.sleep(0.5)
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()


async def _attackers(host: str, port: int) -> None:
    head = f"POST /v1/predict HTTP/1.1\r\nHost: {host}:{port}\r\n".encode()
    form = head + b"Content-Type: multipart/form-data; boundary=a\r\nContent-Length: 1000000000\r\n"
    part = b'\r\n--a\r\nContent-Disposition: form-data; name="video"; filename="v.mp4"\r\n\r\n'
    async with asyncio.TaskGroup() as group:
        for _ in range(IDLE):
            group.create_task(_attacker(host, port, b"", b""))
        for _ in range(HEADERS):
            group.create_task(_attacker(host, port, head, b"X: y\r\n"))
        for k in range(BODIES):
            # Half of them send enough at first to be taken for a large upload.
            first = form + part + bytes(200_000 if k % 2 else 0)
            group.create_task(_attacker(host, port, first, b"x"))


async def _attacker(host: str, port: int, first: bytes, then: bytes) -> None:
    """Send the first bytes at once and the others each second; connect again if it is closed."""
    while True:
        with contextlib.suppress(OSError):
            async with _connection(host, port) as (reader, writer):
                writer.write(first)
                while True:
                    writer.write(then)
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(1):
                            if not await reader.read(1 << 16):
                                break
        await asyncio.sleep(0.2)


@contextlib.asynccontextmanager
async def _connection(
    host: str, port: int
) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        yield reader, writer
    finally:
        writer.close()


if __name__ == "__main__":
    _url, _video, _seconds = sys.argv[1], Path(sys.argv[2]), float(sys.argv[3])
    _normal = good_clients(_url, _video, 10)
    with attack(_url):
        _attacked = good_clients(_url, _video, _seconds)
    for _what in _normal:
        _usual, _most = median(_normal[_what]), max(_attacked[_what])
        print(  # noqa: T201  # for whoever runs it by hand
            f"{_what:14} {len(_attacked[_what]):5} x, normal {_usual:.3f} s, slowest {_most:.3f} s"
        )
