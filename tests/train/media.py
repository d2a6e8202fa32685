"""Media that tests make: with ffmpeg, of what the demo corpus holds."""

from __future__ import annotations

import subprocess
from pathlib import Path

import imageio_ffmpeg

from fv2es_prep.types import View

NAME = "Ses01F_impro01"
LEFT = View("left", 224, 0)


def ffmpeg(*arguments: str | Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    subprocess.run([program, "-v", "error", "-y", *map(str, arguments)], check=True)


def changed(tmp_path: Path, video: Path, *how: str) -> Path:
    """A video as ffmpeg makes it with these options."""
    out = tmp_path / "changed.mp4"
    ffmpeg("-i", video, *how, out)
    return out


def streamed(out: Path, video: Path, *how: str | Path) -> Path:
    """A video written as browsers record it: from front to back, the length not known before."""
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-i", video, *how, "-"]
    out.write_bytes(subprocess.run(command, check=True, capture_output=True).stdout)
    return out
