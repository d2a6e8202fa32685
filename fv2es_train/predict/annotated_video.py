"""A video with its predictions drawn in: boxes around faces, text and bars in a panel below.

Pictures are decoded one at a time, with the restrictions of preparation.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.errors import DropReason, MediaError, OutputError
from fv2es_prep.media.ffmpeg import INPUT, ffmpeg_path, input_of
from fv2es_prep.media.process import Process
from fv2es_prep.utils.files import whole_file
from fv2es_train.predict.outputs import UtterancePrediction, picture_box
from fv2es_train.predict.render import decided_names
from fv2es_train.predict.request import Request, parse_view

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fv2es_train.models.decision import Decision

_RATE_HZ = 12.5
_MAX_HEIGHT_PX, _MIN_WIDTH_PX = 720, 480
_FOUND, _NOT_FOUND = (60, 220, 90), (200, 200, 60)
_MAX_ERROR_CHARACTERS = 300


def write_annotated_video(
    request: Request,
    utterances: Sequence[UtterancePrediction],
    decision: Decision,
    out: Path,
    media: MediaSettings = DEFAULT_MEDIA,
) -> Path:
    """Draw the predictions into a video and encode it as MP4 with its audio.

    Raises:
        MediaError: the video has no picture.
        OutputError: the file cannot be written or encoded.
    """
    frames = _frames(request.video, media)
    first = next(frames, None)
    if first is None:
        raise MediaError(
            f"{request.video.name} has no video stream, so it cannot be annotated",
            DropReason.NO_VIDEO_STREAM,
        )
    height, width = first.shape[:2]
    scale = min(1.0, _MAX_HEIGHT_PX / height) if width >= _MIN_WIDTH_PX else _MIN_WIDTH_PX / width
    size = (_even(width * scale), _even(height * scale))
    panel = Panel(size[0], decision)
    with whole_file(out) as temporary, _encoder(request, temporary, size, media) as pipe:
        for number, rgb in enumerate(itertools.chain([first], frames)):
            time_s = number / _RATE_HZ
            current = [one for one in utterances if one.start_s <= time_s < one.end_s]
            current.sort(key=lambda one: one.speaker)
            pipe.write(_drawn(rgb, (width, height), scale, current, time_s, panel).tobytes())
    return out


def _even(value: float) -> int:
    return max(2, round(value / 2) * 2)


def _frames(path: Path, media: MediaSettings) -> Iterator[NDArray[np.uint8]]:
    """Yield the uncropped pictures of a video at the output rate, uint8 (H, W, 3)."""
    import numpy as np

    # PPM states the size of each picture.
    options = {"format": "image2pipe", "vcodec": "ppm", "threads": 1, "map": "0:V:0"}
    stream = input_of("picture", media).output(
        "pipe:", vf=f"fps={_RATE_HZ}:start_time=0", **options
    )
    count = 0
    with contextlib.closing(Process(path, "picture", stream, media)) as process:
        process.check_announced()
        while True:
            with process.waiting(count / _RATE_HZ):
                magic, size = process.stdout.readline(), process.stdout.readline()
                process.stdout.readline()
                width, height = (int(n) for n in size.split()) if magic == b"P6\n" else (0, 0)
                data = process.stdout.read(3 * width * height)
            if not data or len(data) < 3 * width * height:
                break
            count += 1
            yield np.frombuffer(data, np.uint8).reshape(height, width, 3)
        process.finish(count / _RATE_HZ, anything=count > 0)


def _drawn(
    rgb: NDArray[np.uint8],
    source_size: tuple[int, int],
    scale: float,
    current: Sequence[UtterancePrediction],
    time_s: float,
    panel: Panel,
) -> NDArray[np.uint8]:
    """Draw one picture of the output: the video with boxes, and the panel below."""
    import cv2
    import numpy as np

    width, height = source_size
    size = (_even(width * scale), _even(height * scale))
    picture = cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)
    for one in current:
        # Show the box of the last sampled moment.
        box = next((box for box in reversed(one.boxes) if box.time_s <= time_s), None)
        if box is not None:
            edges = picture_box(box, parse_view(one.view), width, height)
            corners = [round(edge * scale) for edge in edges]
            colour = _FOUND if box.found else _NOT_FOUND
            cv2.rectangle(picture, corners[:2], corners[2:], colour, 2)
            place = (corners[0], max(corners[1] - 6, 12))
            label = decided_names(one).replace(",", "")
            cv2.putText(picture, label, place, cv2.FONT_HERSHEY_SIMPLEX, 0.6, colour, 2)
    return np.vstack([picture, panel.draw(current)]).astype(np.uint8, copy=False)


@functools.cache
def _codec() -> dict[str, str]:
    """H.264 if this ffmpeg has an encoder for it, else MPEG-4."""
    listed = subprocess.run(
        [ffmpeg_path(), "-hide_banner", "-encoders"], capture_output=True, check=False, text=True
    ).stdout
    if " libx264 " in listed:
        return {"c:v": "libx264", "preset": "veryfast", "crf": "23"}
    return {"c:v": "mpeg4", "q:v": "4"}


def _command(request: Request, out: Path, size: tuple[int, int], media: MediaSettings) -> list[str]:
    import ffmpeg

    shape = f"{size[0]}x{size[1] + PANEL_PX}"
    pictures = ffmpeg.input("pipe:", format="rawvideo", pix_fmt="rgb24", s=shape, r=_RATE_HZ)
    # The same file is opened again for its audio, under the same restrictions.
    audio = input_of("sound", media)["a?"]
    options = {"pix_fmt": "yuv420p", "c:a": "aac", "shortest": None, "movflags": "+faststart"}
    stream = ffmpeg.output(
        pictures.video, audio, str(out), format="mp4", threads=1, **_codec(), **options
    )
    arguments = stream.global_args("-loglevel", "error", "-nostats").overwrite_output()
    source = f"file:{(request.sound or request.video).absolute()}"
    return [source if a == INPUT else a for a in arguments.compile(ffmpeg_path())]


@contextlib.contextmanager
def _encoder(
    request: Request, out: Path, size: tuple[int, int], media: MediaSettings
) -> Iterator[IO[bytes]]:
    command = _command(request, out, size, media)
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdin is not None
    assert process.stderr is not None
    try:
        with contextlib.suppress(BrokenPipeError):
            yield process.stdin
            process.stdin.close()
        message = process.stderr.read().decode(errors="replace").strip()
        if process.wait() != 0:
            raise OutputError(
                f"failed to encode the video of {request.video.name}: "
                f"{message[-_MAX_ERROR_CHARACTERS:]}",
                "remove --video, or set FV2ES_FFMPEG to another ffmpeg",
            )
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for end in (process.stdin, process.stderr):
            with contextlib.suppress(BrokenPipeError):
                end.close()


PANEL_PX = 136
_FONT_PX, _LINE_PX = 13, 18
_BACKGROUND, _INK, _FAINT = (24, 24, 28), (235, 235, 235), (110, 110, 118)
_BAR, _DECIDED = (90, 130, 190), (60, 220, 90)
_NAME_PX, _NUMBER_PX = 62, 40


class Panel:
    """Draws the panel once per set of current utterances; ticks on bars are thresholds."""

    def __init__(self, width: int, decision: Decision) -> None:
        self._width, self._decision = width, decision
        self._font = _font()
        self._last: tuple[tuple[int, ...], NDArray[np.uint8]] | None = None

    def draw(self, current: Sequence[UtterancePrediction]) -> NDArray[np.uint8]:
        """The panel, uint8 (PANEL_PX, width, 3), for the first two utterances, side by side."""
        key = tuple(map(id, current))
        if self._last is None or self._last[0] != key:
            self._last = (key, self._draw(current[:2]))
        return self._last[1]

    def _draw(self, current: Sequence[UtterancePrediction]) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image, ImageDraw

        panel = Image.new("RGB", (self._width, PANEL_PX), _BACKGROUND)
        draw = ImageDraw.Draw(panel)
        share = self._width // max(len(current), 1)
        for place, one in enumerate(current):
            bars = min(share // 2, 320)
            if one.probability:
                self._draw_bars(draw, one, place * share, bars)
            self._draw_text(draw, one, place * share + bars + 12, share - bars - 18)
        if not current:
            draw.text((8, 6), "no speech", _FAINT, self._font)
        return np.asarray(panel)

    def _draw_bars(self, draw: Any, one: UtterancePrediction, left: int, width: int) -> None:
        step = (PANEL_PX - 8) // max(len(self._decision.thresholds), 1)
        begin, length = left + _NAME_PX, width - _NAME_PX - _NUMBER_PX
        for row, (name, threshold) in enumerate(self._decision.thresholds.items()):
            value, decided = one.probability.get(name, 0.0), name in one.decided
            top, bottom = 4 + row * step + 3, 4 + (row + 1) * step - 3
            ink, fill = (_DECIDED, _DECIDED) if decided else (_INK, _BAR)
            draw.text((left + 6, top - 2), name[:8], ink, self._font)
            draw.rectangle((begin, top, begin + length, bottom), outline=_FAINT)
            draw.rectangle((begin, top, begin + round(length * value), bottom), fill=fill)
            if self._decision.rule == "thresholds":
                tick = begin + round(length * threshold)
                draw.line((tick, top - 1, tick, bottom + 1), fill=_INK)
            draw.text((begin + length + 4, top - 2), f"{value:.2f}", ink, self._font)

    def _draw_text(self, draw: Any, one: UtterancePrediction, left: int, width: int) -> None:
        speaker = f"{one.speaker}: " if one.speaker else ""
        head = "not decided" if one.undecided else decided_names(one)
        lines = [f"{speaker}{head}   from {one.used or 'nothing'}"]
        for word in f"{one.undecided} {one.text or ''}".split():
            longer = f"{lines[-1]} {word}"
            if len(lines) > 1 and draw.textlength(longer, self._font) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        ink = _FAINT if one.undecided else _DECIDED
        for row, line in enumerate(lines[: PANEL_PX // _LINE_PX]):
            draw.text((left, 6 + row * _LINE_PX), line, _INK if row else ink, self._font)


@functools.cache
def _font() -> Any:
    """Load the font in the matplotlib package, which has more letters than that of cv2."""
    from matplotlib import get_data_path
    from PIL import ImageFont

    return ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans.ttf", _FONT_PX)
