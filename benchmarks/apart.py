"""Call a function in a separate process, so that neither imports nor memory are shared.

Owns the transfer of arguments and results, plain JSON values. The function times itself, so its
imports do not count.
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

# Unit of ru_maxrss: kilobytes, but bytes on macOS.
_RSS_UNIT = 1 if sys.platform == "darwin" else 1024


class ApartError(RuntimeError):
    """The other process failed; the message ends with its last output."""


def call_apart(target: str, threads: int | None = None, **arguments: Any) -> dict[str, Any]:
    """Call a function in a new Python process.

    Args:
        target: ``module:function`` within this package, e.g. ``published:dump``.
        threads: threads of numpy and torch; None for their default.
        arguments: plain JSON values for the function.

    Returns:
        The dict that the function returned, with ``process_s`` and ``process_cpu_s``, seconds of
        the whole process including its start, and ``peak_bytes``, its peak resident size.

    Raises:
        ApartError: the process failed.
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
    """Call the function, and write its result."""
    module, _, name = target.partition(":")
    found = getattr(importlib.import_module(f"benchmarks.{module}"), name)(**json.loads(arguments))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
    Path(answer).write_text(json.dumps({**found, "peak_bytes": peak}), encoding="utf-8")


if __name__ == "__main__":
    main(*sys.argv[1:])
