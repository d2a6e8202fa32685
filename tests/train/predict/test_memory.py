"""An hour of video in bounded memory."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.train.media import ffmpeg

LIMIT_KB = 2 << 20


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
    with (tmp_path / "out").open("w") as out:
        options = ["--view", "full:0:0", "--asr", "none", "--csv"]
        process = subprocess.Popen([*command, *options], stdout=out, cwd=root)
        # Of this process alone; what other tests started does not count.
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    assert len((tmp_path / "out").read_text().splitlines()) > 450
    assert usage.ru_maxrss < LIMIT_KB
