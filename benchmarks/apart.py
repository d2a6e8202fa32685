"""A function called in a process of its own, so that neither imports nor memory are shared.

Owns the way there and back. The function takes and returns plain JSON values; it times itself,
so that what it imports does not count.
"""

from __future__ import annotations

import importlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.timing import environment

# What ru_maxrss counts: kilobytes, and bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class ApartError(RuntimeError):
    """The other process failed; the message ends with what it said last."""


def call_apart(target: str, threads: int | None = None, **arguments: Any) -> dict[str, Any]:
    """Call a function in a new Python.

    Args:
        target: ``module:function`` within this package, e.g. ``published:dump``.
        threads: for numpy and torch; None leaves them their default.
        arguments: plain JSON values for the function.

    Returns:
        What the function returned, a dict, and beside it: ``process_s`` and ``process_cpu_s``,
        seconds of the whole process with its start, and ``peak_bytes``, its largest resident size.

    Raises:
        ApartError: it failed.
    """
    with tempfile.TemporaryDirectory() as folder:
        answer = Path(folder) / "answer.json"
        command = [sys.executable, "-m", "benchmarks.apart", target, str(answer)]
        before, began = _children_cpu_s(), time.perf_counter()
        done = subprocess.run(
            [*command, json.dumps(arguments)],
            env=environment(threads),
            capture_output=True,
            text=True,
            check=False,
        )
        seconds = time.perf_counter() - began
        if done.returncode != 0:
            said = "\n".join(done.stderr.strip().splitlines()[-12:])
            raise ApartError(f"{target} ended with status {done.returncode}:\n{said}")
        found: dict[str, Any] = json.loads(answer.read_text(encoding="utf-8"))
    return {**found, "process_s": seconds, "process_cpu_s": _children_cpu_s() - before}


def _children_cpu_s() -> float:
    return sum(os.times()[2:4])


def main(target: str, answer: str, arguments: str) -> None:
    """Call the function, and write what it returns."""
    module, _, name = target.partition(":")
    found = getattr(importlib.import_module(f"benchmarks.{module}"), name)(**json.loads(arguments))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
    Path(answer).write_text(json.dumps({**found, "peak_bytes": peak}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
