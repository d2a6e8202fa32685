"""The video with what the model says drawn in: boxes on faces, words and bars below.

Owns the drawing and the encoder. Pictures are read as in preparation, with the same restrictions,
one at a time.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.errors import DropReason, MediaError, OutputError
from fv2es_prep.media.ffmpeg import INPUT, ffmpeg_path, input_of
from fv2es_prep.media.process import Process
from fv2es_prep.utils.files import whole_file
from fv2es_train.predict.boxes import placed
from fv2es_train.predict.outputs import FaceBox, UtterancePrediction
from fv2es_train.predict.panel import PANEL_PX, Panel
from fv2es_train.predict.request import Request, parse_view

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_RATE = 12.5
_MOST_LINES, _LEAST_WIDTH = 720, 480
_FOUND, _STANDS_IN = (60, 220, 90), (200, 200, 60)
_LAST_WORDS = 300


@dataclass(frozen=True)
class _Scale:
    """How the picture becomes the film's: its own size, and the size that is drawn."""

    width: int
    height: int
    factor: float


def film(
    request: Request,
    found: Sequence[UtterancePrediction],
    thresholds: dict[str, float],
    out: Path,
    media: MediaSettings = DEFAULT_MEDIA,
) -> Path:
    """Draw a video, with its sound.

    Args:
        request: what was asked for.
        found: what `Predictor.predict` gave.
        thresholds: class -> threshold.
        out: the MP4 file to write.
        media: the limits.

    Raises:
        MediaError: the video holds no picture.
        OutputError: it cannot be written or encoded.
    """
    frames = _frames(request.video, media)
    first = next(frames, None)
    if first is None:
        raise MediaError(
            f"{request.video.name} holds no picture to draw in", DropReason.NO_VIDEO_STREAM
        )
    height, width = first.shape[:2]
    factor = min(1.0, _MOST_LINES / height) if width >= _LEAST_WIDTH else _LEAST_WIDTH / width
    scale = _Scale(width, height, factor)
    size = (_even(width * factor), _even(height * factor))
    panel = Panel(size[0], thresholds)
    with whole_file(out) as temporary, _encoder(request, temporary, size, media) as pipe:
        for number, rgb in enumerate(itertools.chain([first], frames)):
            time_s = number / _RATE
            now = sorted(
                (one for one in found if one.start_s <= time_s < one.end_s),
                key=lambda one: one.speaker,
            )
            pipe.write(_drawn(rgb, size, now, time_s, panel, scale).tobytes())
    return out


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)


def _frames(path: Path, media: MediaSettings) -> Iterator[NDArray[np.uint8]]:
    """The pictures of a video at the film's rate, uint8 (H, W, 3), whole."""
    import numpy as np

    # PPM says the size of each picture.
    stream = input_of("picture", media).output(
        "pipe:", format="image2pipe", vcodec="ppm", map="0:V:0", vf=f"fps={_RATE}:start_time=0"
    )
    count = 0
    with contextlib.closing(Process(path, "picture", stream, media)) as process:
        process.check_announced()
        while True:
            with process.waiting(count / _RATE):
                magic, size = process.stdout.readline(), process.stdout.readline()
                process.stdout.readline()
                width, height = (int(n) for n in size.split()) if magic == b"P6\n" else (0, 0)
                data = process.stdout.read(3 * width * height)
            if not data or len(data) < 3 * width * height:
                break
            count += 1
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
        process.finish(count / _RATE, anything=count > 0)


def _drawn(
    rgb: NDArray[np.uint8],
    size: tuple[int, int],
    now: Sequence[UtterancePrediction],
    time_s: float,
    panel: Panel,
    scale: _Scale,
) -> NDArray[np.uint8]:
    """One picture of the film: the video's with boxes, and the panel below."""
    import cv2
    import numpy as np

    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    for one in now:
        box = _box_at(one.boxes, time_s)
        if box is not None:
            edges = placed(box, parse_view(one.view), scale.width, scale.height)
            corners = [round(edge * scale.factor) for edge in edges]
            colour = _FOUND if box.found else _STANDS_IN
            cv2.rectangle(picture, corners[:2], corners[2:], colour, 2)
            place = (corners[0], max(corners[1] - 6, 12))
            label = " ".join(one.decided) or f"{one.top}?"
            cv2.putText(picture, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 2)
    return np.vstack([picture, panel.of(now)]).astype(np.uint8, copy=False)


def _box_at(boxes: Sequence[FaceBox], time_s: float) -> FaceBox | None:
    """The box of the last sampled moment."""
    return next((box for box in reversed(boxes) if box.time_s <= time_s), None)


@functools.cache
def _codec() -> dict[str, str]:
    """H.264 where the ffmpeg has an encoder for it, else MPEG-4."""
    listed = subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-encoders"], capture_output=True, check=False, text=True
    ).stdout
    if " libx264 " in listed:
        return {"c:v": "libx264", "preset": "veryfast", "crf": "23"}
    return {"c:v": "mpeg4", "q:v": "4"}


@contextlib.contextmanager
def _encoder(
    request: Request, out: Path, size: tuple[int, int], media: MediaSettings
) -> Iterator[IO[bytes]]:
    import ffmpeg

    pictures = ffmpeg.input(
        "pipe:",
        format="rawvideo",
        pix_fmt="rgb24",
        s=f"{size[0]}x{size[1] + PANEL_PX}",
        r=_RATE,
    )
    # The same file is opened again for its sound, under the same restrictions.
    sound = input_of("sound", media)
    options = {"pix_fmt": "yuv420p", "c:a": "aac", "shortest": None, "movflags": "+faststart"}
    stream = ffmpeg.output(
        pictures.video, sound["a?"], str(out), format="mp4", threads=1, **_codec(), **options
    )
    arguments = stream.global_args("-loglevel", "error", "-nostats").overwrite_output()
    source = f"file:{(request.sound or request.video).absolute()}"
    compiled = [source if a == INPUT else a for a in arguments.compile(ffmpeg_path())]
    process = subprocess.Popen(compiled, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            yield process.stdin
            process.stdin.close()
        said = process.stderr.read().decode(errors="replace").strip()
        if process.wait() != 0:
            raise OutputError(
                f"the film of {request.video.name} cannot be encoded: {said[-_LAST_WORDS:]}",
                "leave out --video, or name another ffmpeg with FV2ES_FFMPEG",
            )
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for end in (process.stdin, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                end.close()
