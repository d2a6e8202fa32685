"""A real server over a short run, and a client that speaks to it."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from fv2es_prep.utils.claims import LOCK_NAME

FV2ES = str(Path(sys.executable).parent / "fv2es")
_PATIENCE_S = 120


@dataclass
class Server:
    """A running `fv2es serve`.

    Attributes:
        url: where it listens.
        temporary: the place in which it makes its private folder.
        process: the server.
        log: what it has said so far.
    """

    url: str
    temporary: Path
    process: subprocess.Popen[str]
    log: Path

    def post(self, video: Path | bytes, name: str = "talk.mp4", **fields: Any) -> httpx.Response:
        """Upload a video; a field may be a list."""
        data = video.read_bytes() if isinstance(video, Path) else video
        headers = fields.pop("headers", {})
        return httpx.post(
            f"{self.url}/v1/predict",
            files={"video": (name, data)},
            data=fields,
            headers=headers,
            timeout=_PATIENCE_S,
        )

    def get(self, path: str, **options: Any) -> httpx.Response:
        return httpx.get(f"{self.url}{path}", timeout=_PATIENCE_S, **options)

    def wait(self, answer: httpx.Response) -> dict[str, Any]:
        """The job of an accepted upload, once it has ended."""
        assert answer.status_code == 202, answer.text
        until = time.monotonic() + _PATIENCE_S
        while time.monotonic() < until:
            job: dict[str, Any] = self.get(answer.headers["location"]).json()
            if job["state"] in ("done", "failed", "stopped"):
                return job
            time.sleep(0.1)
        raise AssertionError(f"the job did not end: {job}")

    def left(self) -> list[Path]:
        """The files of uploads that lie on disk."""
        return [
            path
            for path in self.temporary.rglob("*")
            if path.is_file() and path.parent.stem != LOCK_NAME
        ]

    def stop(self, how: signal.Signals = signal.SIGTERM) -> int:
        if self.process.poll() is None:
            self.process.send_signal(how)
        return self.process.wait(30)


Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def serve(
    trained: Callable[[str], Path], text_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Starts servers, and ends them."""
    started: list[Server] = []

    def start(
        *options: str, run: Path | None = None, worded: bool = True, **environment: str
    ) -> Server:
        place = tmp_path_factory.mktemp("serve")
        log = place / "log"
        (place / "tmp").mkdir()
        command = [FV2ES, "serve", "--run", str(run or trained("tav")), "--port", "0"]
        command += ["--tokenizer", str(text_model)] if worded else []
        command += ["--asr", "none", "--device", "cpu"]
        command += ["--threads", "1", "--temporary", str(place / "tmp"), *options]
        with log.open("w") as out:
            process = subprocess.Popen(
                command, stderr=out, stdout=out, text=True, env={**os.environ, **environment}
            )
        server = Server(_listening(process, log), place / "tmp", process, log)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(signal.SIGKILL)


@pytest.fixture(scope="session")
def hearing(serve: Serve, trained: Callable[[str], Path]) -> Serve:
    """Servers of a run on sound alone, which starts in half the time."""
    return partial(serve, run=trained("a"), worded=False)


@pytest.fixture(scope="session")
def server(serve: Serve) -> Server:
    """One for all tests that leave it as it was."""
    return serve()


def _listening(process: subprocess.Popen[str], log: Path) -> str:
    until = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until and process.poll() is None:
        if found := re.search(r"listening on (http://\S+)", log.read_text()):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the server did not come up: {log.read_text()}")
