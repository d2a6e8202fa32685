"""`fv2es` in processes of its own, forked from one that has loaded the libraries."""

from __future__ import annotations

import atexit
import contextlib
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests import fork_server

ROOT = Path(__file__).parents[1]
_PATIENCE_S = 300


@dataclass
class Running:
    """A process of `fv2es` whose stdout and stderr go to files."""

    words: list[str]
    process: BaseProcess
    place: tempfile.TemporaryDirectory[str]

    @property
    def pid(self) -> int:
        assert self.process.pid is not None
        return self.process.pid

    def send_signal(self, number: int) -> None:
        """Send a signal, unless the process has ended already."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def wait(self, patience_s: float = _PATIENCE_S) -> subprocess.CompletedProcess[str]:
        """Its exit status (negative after a signal), stdout and stderr; it is killed when late."""
        self.process.join(patience_s)
        late = self.process.exitcode is None
        self.process.kill()
        self.process.join()
        with self.place as place:
            said = [(Path(place) / name).read_text("utf-8") for name in ("stdout", "stderr")]
        assert not late, f"{self.words} took over {patience_s} s: {said}"
        status = self.process.exitcode
        assert status is not None
        return subprocess.CompletedProcess(self.words, status, *said)


def start(
    *words: object, site: Path | None = None, cwd: Path | None = None, **environment: str
) -> Running:
    """Start `fv2es` with these words; packages in the directory ``site`` count as installed."""
    place = tempfile.TemporaryDirectory()
    typed = [str(word) for word in words]
    given = (typed, place.name, site, cwd or Path.cwd(), {**os.environ, **environment})
    process = fork_server.context().Process(target=_run, args=given)
    process.start()
    return Running(typed, process, place)


def address_of(running: Running, patience_s: float = 60) -> str:
    """The address of a server, when it says that it listens."""
    until, said = time.monotonic() + patience_s, ""
    while time.monotonic() < until:
        said = "".join(path.read_text() for path in Path(running.place.name).iterdir())
        if found := re.search(r"listening on (http://\S+)", said):
            return found[1]
        time.sleep(0.1)
    raise AssertionError(said)


def fv2es(*words: object, **options: Any) -> subprocess.CompletedProcess[str]:
    """Run `fv2es` to its end; ``options`` as of `start`."""
    return start(*words, **options).wait()


def refused(result: subprocess.CompletedProcess[str], status: int, *said: str) -> None:
    """One sentence and a hint on stderr, nothing on stdout, no traceback."""
    assert result.returncode == status, result.stderr
    assert result.stdout == ""
    assert "Traceback" not in result.stderr
    error, hint = [line for line in result.stderr.splitlines() if line]
    assert error.startswith("error: ")
    assert hint.startswith("hint: ")
    for words in said:
        assert words in result.stderr


def _run(
    words: list[str], place: str, site: Path | None, cwd: Path, environment: dict[str, str]
) -> None:
    os.environ.clear()
    os.environ.update(environment)
    paths = [str(path) for path in (site, ROOT) if path]
    # Also for the processes that it starts.
    os.environ["PYTHONPATH"] = os.pathsep.join([*paths, environment.get("PYTHONPATH", "")])
    sys.path[:0] = paths
    os.chdir(cwd)
    for number, name in ((1, "stdout"), (2, "stderr")):
        os.dup2(os.open(f"{place}/{name}", os.O_WRONLY | os.O_CREAT), number)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    fork_server.share()
    if words[:1] == ["serve"]:
        from fv2es_train.serve import worker_pool

        worker_pool._START = "forkserver"  # type: ignore[assignment]
    sys.argv = ["fv2es", *words]
    from cli import app  # noqa: TID251  # the command line itself

    try:
        app()
    finally:
        # multiprocessing ends a process without them.
        atexit._run_exitfuncs()
