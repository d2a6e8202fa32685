"""A real server over a short run, and a client that speaks to it."""

from __future__ import annotations

import contextlib
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
from fv2es_train.training.loop import train
from tests.command_line import Running
from tests.command_line import start as start_fv2es
from tests.conftest import Once
from tests.train.conftest import random_split, tiny_config

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
    process: Running | subprocess.Popen[bytes]
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
        """Send a signal if it still runs; its exit status."""
        if _status(self.process) is None:
            self.process.send_signal(how)
        status = _status(self.process, 30)
        assert status is not None, self.log.read_text()
        return status


Serve = Callable[..., Server]


@pytest.fixture(scope="session")
def serve(
    trained: Callable[[str], Path], text_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Serve]:
    """Starts servers, and ends them."""
    started: list[Server] = []

    def start(
        *options: str,
        run: Path | None = None,
        worded: bool = True,
        family: bool = False,
        **environment: str,
    ) -> Server:
        """A server; with ``family`` its workers descend from it, as they do for a user."""
        place = tmp_path_factory.mktemp("serve")
        command = ["serve", "--run", str(run or trained("tav")), "--port", "0"]
        command += ["--tokenizer", str(text_model)] if worded else []
        command += ["--asr", "none", "--device", "cpu"]
        command += ["--threads", "1", "--temporary", str(place), *options]
        process: Running | subprocess.Popen[bytes]
        if family:
            log = tmp_path_factory.mktemp("log") / "log"
            with log.open("w") as out:
                process = subprocess.Popen(
                    [FV2ES, *command], stderr=out, env={**os.environ, **environment}
                )
        else:
            process = start_fv2es(*command, **environment)
            log = Path(process.place.name) / "stderr"
        server = Server(_listening(process, log), place, process, log)
        started.append(server)
        return server

    yield start
    for server in started:
        server.stop(signal.SIGKILL)
        if isinstance(server.process, Running):
            server.process.place.cleanup()


@pytest.fixture(scope="session")
def hearing(serve: Serve, trained: Callable[[str], Path]) -> Serve:
    """Servers of a run on sound alone, which starts in half the time."""
    return partial(serve, run=trained("a"), worded=False)


@pytest.fixture(scope="session")
def server(serve: Serve) -> Server:
    """One for all tests that leave it as it was."""
    return serve()


@pytest.fixture(scope="session")
def rated_run(prepared: Path, text_model: Path, once: Once) -> Path:
    """A short run that learned valence and activation beside the classes."""
    split = once("split", lambda place: random_split(prepared, place)) / "split.json"
    given = {"epochs": 1, "batch_size": 4, "text_encoder": str(text_model)}
    given |= {"ratings": ("valence", "activation"), "modalities": "tav"}

    def make(place: Path) -> None:
        train(tiny_config(prepared, split, place / "run", **given))

    return once("rated-run", make) / "run"


def _listening(process: Running | subprocess.Popen[bytes], log: Path) -> str:
    until = time.monotonic() + _PATIENCE_S
    said = ""
    while time.monotonic() < until and _status(process) is None:
        said = log.read_text() if log.exists() else ""
        if found := re.search(r"listening on (http://\S+)", said):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(f"the server did not come up: {said}")


def _status(process: Running | subprocess.Popen[bytes], patience_s: float = 0) -> int | None:
    """The exit status; None while it runs."""
    if isinstance(process, Running):
        process.process.join(patience_s)
        return process.process.exitcode
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(patience_s)
    return process.returncode
