"""Media that tests make: with ffmpeg, of what the demo corpus holds."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import imageio_ffmpeg

from fv2es_prep.types import View

if TYPE_CHECKING:
    import numpy as np

NAME = "Ses01F_impro01"
LEFT = View("left", 224, 0)
_H264 = (".mp4", ".mkv", ".mov")
_QUICK = ("-preset", "ultrafast", "-bf", "2")


def ffmpeg(*arguments: str | Path) -> None:
    program = imageio_ffmpeg.get_ffmpeg_exe()
    *given, out = map(str, arguments)
    # H.264 with pictures out of order as usual, but quickly.
    quick = _QUICK if Path(out).suffix in _H264 and "-c:v" not in given else ()
    subprocess.run([program, "-v", "error", "-y", *given, *quick, out], check=True)


def film_of(out: Path, pictures: Sequence[np.ndarray], rate_hz: float, *how: str) -> Path:
    """A film without sound of pictures (H, W, 3)."""
    height, width = pictures[0].shape[:2]
    raw = ("-f", "rawvideo", "-pix_fmt", "rgb24", "-s", f"{width}x{height}", "-r", f"{rate_hz:g}")
    program = imageio_ffmpeg.get_ffmpeg_exe()
    command = [program, "-v", "error", "-y", *raw, "-i", "-", "-pix_fmt", "yuv420p", *how, str(out)]
    subprocess.run(command, input=b"".join(p.tobytes() for p in pictures), check=True)
    return out


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
