"""Clocks and rounds: wall and CPU seconds, medians, and noise and scaling of the machine.

Owns the method of timing. Leaves the timed work to the sections, and processes to `apart`.
"""

from __future__ import annotations

import hashlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

Measured = Mapping[str, Any]


class Stopwatch:
    """Wall seconds of a block, and CPU seconds of this process and its ended children."""

    wall_s = 0.0
    cpu_s = 0.0

    def __enter__(self) -> Self:
        self._wall_s, self._cpu_s = time.perf_counter(), _cpu_s()
        return self

    def __exit__(self, *_: object) -> None:
        self.wall_s += time.perf_counter() - self._wall_s
        self.cpu_s += _cpu_s() - self._cpu_s


def _cpu_s() -> float:
    return sum(os.times()[:4])


@dataclass
class Noise:
    """A fixed amount of work, repeated to measure how steady the machine was during the run.

    Attributes:
        seconds: wall seconds of each repetition.
    """

    seconds: list[float] = field(default_factory=list)

    def sound(self) -> None:
        """Repeat the work once."""
        began = time.perf_counter()
        work(25)
        self.seconds.append(time.perf_counter() - began)

    def to_json(self) -> dict[str, Any]:
        """Median, and the spread of the middle half and of all, as shares of the median."""
        if len(self.seconds) < 2:
            return {"times": len(self.seconds)}
        low, middle, high = statistics.quantiles(self.seconds, n=4)
        return {
            "times": len(self.seconds),
            "median_s": round(middle, 4),
            "spread_middle_half": round((high - low) / middle, 3),
            "spread_all": round((max(self.seconds) - min(self.seconds)) / middle, 3),
        }


def work(times: int) -> int:
    """Do work on one core that uses memory like decoding and detecting.

    Args:
        times: number of repetitions; a hundred take about half a second.
    """
    import numpy as np

    picture = np.random.default_rng(0).random((512, 512), dtype=np.float32)
    digest = hashlib.sha256()
    for _ in range(times):
        summed = picture.cumsum(axis=0).cumsum(axis=1)
        picture = (summed[1:, 1:] - summed[:-1, :-1]) % 1
        picture = np.pad(picture, ((0, 1), (0, 1)))
        digest.update(picture.tobytes())
    return digest.digest()[0]


def in_rounds(
    ways: Mapping[str, Callable[[], Measured]], rounds: int, noise: Noise
) -> dict[str, list[dict[str, Any]]]:
    """Measure several ways side by side: each once per round.

    Args:
        ways: name -> function that measures and returns numbers by name.
        rounds: number of rounds.
        noise: measured before each way.

    Returns:
        Name -> measurements, one per round.
    """
    found: dict[str, list[dict[str, Any]]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, measure in ways.items():
            noise.sound()
            found[name].append(dict(measure()))
    return found


def median_of(rounds: Iterable[Measured], name: str) -> float:
    """The median of one number over the rounds."""
    return float(statistics.median(measured[name] for measured in rounds))


def machine_scaling(levels: Iterable[int], video: Path, rounds: int) -> dict[int, float]:
    """Measure how much more the machine does with n processes than with one.

    Each process runs numpy and hashing, then decodes a video to null: about as much of each.

    Args:
        levels: numbers of processes.
        video: video to decode.
        rounds: number of measurements of each level, interleaved.

    Returns:
        n -> n * t(1) / t(n), from medians; exactly 1 for n = 1.
    """
    counts = sorted({1, *levels})
    took: dict[int, list[float]] = {count: [] for count in counts}
    for _ in range(rounds):
        for count in counts:
            took[count].append(_together(count, video))
    middle = {count: statistics.median(seconds) for count, seconds in took.items()}
    return {count: count * middle[1] / middle[count] for count in counts}


def _together(count: int, video: Path) -> float:
    """Seconds until the last of ``count`` simultaneously started processes has finished."""
    command = [sys.executable, "-m", "benchmarks.timing", str(video)]
    processes = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment(1),
            text=True,
        )
        for _ in range(count)
    ]
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    began = time.perf_counter()
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in processes:
        assert process.stdout is not None
        process.stdout.readline()
    seconds = time.perf_counter() - began
    for process in processes:
        process.communicate()
    return seconds


def environment(threads: int | None = None) -> dict[str, str]:
    """Our environment, with this tree importable and ``threads`` for numpy and torch."""
    here = str(Path(__file__).absolute().parent.parent)
    paths = [here, *filter(None, [os.environ.get("PYTHONPATH")])]
    chosen = {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    return chosen if threads is None else {**chosen, **dict.fromkeys(names, str(threads))}


def decode_to_null(video: Path) -> None:
    """Let ffmpeg decode the pictures of a video on one thread and discard them."""
    from fv2es_prep.media.ffmpeg import ffmpeg_path

    command = [ffmpeg_path(), "-loglevel", "error", "-nostdin", "-threads", "1", "-i", str(video)]
    subprocess.run([*command, "-map", "0:V:0", "-f", "null", "-"], check=True)


def _piece(video: Path) -> None:
    """Do both kinds of work, controlled over pipes, in a process of `machine_scaling`."""
    print("ready", flush=True)
    sys.stdin.readline()
    work(200)
    decode_to_null(video)
    print("done", flush=True)


if __name__ == "__main__":
    _piece(Path(sys.argv[1]))
