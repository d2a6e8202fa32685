"""Section h: start-up times: the help, each heavy import, the first face, workers."""

from __future__ import annotations

import functools
import importlib.util
import subprocess
import sys
from typing import TYPE_CHECKING, Any

from benchmarks.ours import fv2es
from benchmarks.results import Section, Table, Verdict
from benchmarks.timing import Stopwatch, environment, in_rounds, median_of
from benchmarks.workers import METHODS, first_picture

if TYPE_CHECKING:
    from benchmarks.bench import Bench

TITLE = "start-up"
_ROUNDS = 3
_PACKAGES = ("h5py", "openvino", "distributed", "transformers", "torch", "facenet_pytorch")
_DETECTORS = ("exact", "fast", "facenet")
_WORKERS_S = 3.0
_FIRST_FACE = """
import numpy, benchmarks.ours
from fv2es_prep.detectors.detector import FaceDetector
settings = benchmarks.ours.face_settings({detector!r})
FaceDetector(settings).largest([numpy.zeros((224, 224, 3), numpy.uint8)])
"""


def measure(bench: Bench) -> Section:
    there = [name for name in _PACKAGES if importlib.util.find_spec(name)]
    commands = {
        "python itself": _python("pass"),
        "fv2es --help": fv2es("--help"),
        "import pipelines.build": _python("import pipelines.build"),
        **{f"import {name}": _python(f"import {name}") for name in there},
        **{
            f"first face, {name}": _python(_FIRST_FACE.format(detector=name)) for name in _DETECTORS
        },
    }
    ways = {name: functools.partial(_seconds, command) for name, command in commands.items()}
    found = in_rounds(ways, _ROUNDS, bench.noise)
    seconds = {name: median_of(rounds, "seconds") for name, rounds in found.items()}
    bare = seconds["python itself"]
    rows = [(name, took, took - bare) for name, took in seconds.items()]
    columns = ("what", "process s", "beyond python itself s")
    table = Table(f"a new process, files in the page cache, median of {_ROUNDS}", columns, (*rows,))
    started = bench.measure({m: functools.partial(first_picture, bench.out, m) for m in METHODS})
    first = {method: median_of(started[method], "seconds") for method in METHODS}
    workers = Table(
        "`fv2es prep` with local:2, from its call to the first picture that a worker decodes",
        ("workers are", "s", "relative to spawned"),
        (
            ("forked", first["forkserver"], first["forkserver"] / first["spawn"]),
            ("spawned", first["spawn"], 1.0),
        ),
    )
    verdict = Verdict(
        "first picture of a forked worker, s", first["forkserver"], _WORKERS_S, "at most"
    )
    note = "sections a and f measure the time until every worker is warm"
    data = {"seconds": seconds, "rounds": found, "workers": started}
    return Section((table, workers), (verdict,), (note,), data)


def _python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def _seconds(command: list[str]) -> dict[str, float]:
    with Stopwatch() as watch:
        done = subprocess.run(
            command, env=environment(), capture_output=True, text=True, check=False
        )
    if done.returncode != 0:
        raise RuntimeError(f"{command[-1]!r} failed: {done.stderr[-500:]}")
    return {"seconds": watch.wall_s}


def draw(figure: Any, data: dict[str, Any]) -> None:
    axes = figure.subplots()
    names = list(data["seconds"])[::-1]
    bars = axes.barh(names, [data["seconds"][name] for name in names])
    axes.bar_label(bars, fmt="%.2f", padding=2)
    axes.set(xlabel="wall seconds of a new process")
    axes.margins(x=0.12)
