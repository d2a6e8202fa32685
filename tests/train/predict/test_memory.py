"""An hour of video in bounded memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train.media import ffmpeg

LIMIT_KB = 2 << 20
# From a small process of its own: a child counts as large as who forked it, and tests grow large.
WATCH = """
import resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss, file=sys.stderr)
"""


@pytest.mark.slow
def test_an_hour_takes_less_than_two_gibibytes(
    trained: Callable[[str], Path], talk: Path, tmp_path: Path
) -> None:
    small, hour = tmp_path / "small.mp4", tmp_path / "hour.mp4"
    # Small pictures take less time; it is the length that memory could grow with.
    ffmpeg("-i", talk, "-vf", "crop=360:360:0:60,scale=64:64,fps=2", small)
    ffmpeg("-stream_loop", "460", "-i", small, "-c", "copy", "-t", "3600", hour)
    root = Path(__file__).parents[3]
    command = [sys.executable, root / "cli.py", "predict", hour, "--run", trained("tav")]
    options = ["--view", "full:0:0", "--asr", "none", "--csv"]
    with (tmp_path / "out").open("w") as out:
        watched = [sys.executable, "-c", WATCH, *map(str, (*command, *options))]
        done = subprocess.run(watched, check=True, stdout=out, stderr=subprocess.PIPE, cwd=root)
    assert len((tmp_path / "out").read_text().splitlines()) > 450
    assert int(done.stderr.split()[-1]) < LIMIT_KB
