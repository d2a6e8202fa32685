"""Start-up and memory of local workers, forked from one process or spawned one by one.

Runs `fv2es prep` with either method and watches its processes.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks.material import iemocap_shaped, text_model
from benchmarks.timing import environment

METHODS = ("forkserver", "spawn")
_PREP = """
import sys
from pipelines.executors import fork_server
fork_server.METHOD = sys.argv.pop(1)
from cli import app
app()
"""
# Seconds and number of the dialogues; each is a shard.
_DIALOGUE_S, _DIALOGUES = 60.0, 4
# More than any message of ffmpeg, less than a picture.
_PICTURE_BYTES = 100_000
_GONE = (psutil.NoSuchProcess, psutil.AccessDenied, FileNotFoundError, ProcessLookupError)


def first_picture(out: Path, method: str) -> dict[str, float]:
    """Measure the seconds from the call of `fv2es prep` until a worker decodes a picture."""
    began = time.perf_counter()
    with _preparation(out, method, 2) as (process, children):
        while process.poll() is None:
            for child in children():
                try:
                    parent, written = child.ppid(), child.io_counters().write_chars
                    decodes = "ffmpeg" in child.name() and parent != process.pid
                except _GONE:
                    continue
                if decodes and written > _PICTURE_BYTES:
                    return {"seconds": time.perf_counter() - began}
            time.sleep(0.01)
    raise RuntimeError(f"the preparation with {method} ended before a picture was seen")


def memory(out: Path, method: str) -> dict[str, float]:
    """Measure the memory of a preparation with 2 and with 4 workers, without its decoders.

    Returns:
        ``two`` and ``four``, peaks of the sum of the proportional set sizes of all processes but
        the one that waits, in bytes; ``further``, the part of each further worker.
    """
    two, four = (_peak_bytes(out, method, workers) for workers in (2, 4))
    return {"two": two, "four": four, "further": (four - two) / 2}


def _peak_bytes(out: Path, method: str, workers: int) -> float:
    peak = 0.0
    with _preparation(out, method, workers) as (process, children):
        while process.poll() is None:
            peak = max(peak, sum(map(_proportional, children())))
            time.sleep(0.2)
        if process.returncode != 0:
            raise RuntimeError(f"the preparation with {method} failed")
    return peak


def _proportional(process: psutil.Process) -> float:
    """Bytes of a process; a page that n processes share counts as 1/n. 0 for a decoder."""
    try:
        if "ffmpeg" in process.name():
            return 0.0
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="ascii")
    except _GONE:
        return 0.0
    line = next(line for line in text.splitlines() if line.startswith("Pss:"))
    return 1024.0 * int(line.split()[1])


@contextmanager
def _preparation(
    out: Path, method: str, workers: int
) -> Iterator[tuple[subprocess.Popen[bytes], Callable[[], list[psutil.Process]]]]:
    """Run a preparation; yield it and a function that lists its children; kill all at the end."""
    corpus = iemocap_shaped(out, _DIALOGUE_S, _DIALOGUES)
    shards = out / "shards-workers"
    shutil.rmtree(shards, ignore_errors=True)
    words = ["prep", "iemocap", str(corpus), "--out", str(shards), "--shard-mb", "0.1"]
    words += ["--tokenizer", str(text_model(out)), "--executor", f"local:{workers}"]
    command = [sys.executable, "-c", _PREP, method, *words]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=environment(), stdout=quiet, stderr=quiet)

    def children() -> list[psutil.Process]:
        try:
            return psutil.Process(process.pid).children(recursive=True)
        except psutil.NoSuchProcess:
            return []

    try:
        yield process, children
    finally:
        for each in (*children(), process):
            try:
                each.kill()
            except psutil.NoSuchProcess:
                continue
        process.wait()
        shutil.rmtree(shards, ignore_errors=True)
