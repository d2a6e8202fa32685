"""Stated duration and frame rate of a media file.

Owns what a file states. The decoders find the true end of the media, see `SpanSettings`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.media.audio import SoundReader
from fv2es_prep.media.ffmpeg import Kind, input_of
from fv2es_prep.media.process import Process
from fv2es_prep.media.video import PictureReader

_USUAL_HZ = 30_000 / 1001
_FIRST = {"picture": "0:V:0", "sound": "0:a:0"}


class Pace(NamedTuple):
    """Pictures per second, and the presentation time of the first picture in seconds."""

    rate_hz: float = _USUAL_HZ
    first_s: float = 0.0


def duration_s(path: Path, media: MediaSettings = DEFAULT_MEDIA, kind: Kind = "picture") -> float:
    """The stated duration in seconds, to a hundredth; a file that states none is decoded.

    Raises:
        MediaError: the file holds no stream of the kind, cannot be decoded, or exceeds a limit.
    """
    # A file that cannot be opened states nothing either: the decoder reports why.
    if stated_s := announced_s(path, kind, media):
        return stated_s
    if kind == "sound":
        with contextlib.closing(SoundReader(path, media)) as sound:
            sound.span(media.max_duration_s, media.max_duration_s, None)
            return sound.reached_s
    with contextlib.closing(PictureReader(path, [], media)) as reader:
        while reader.next() is not None:
            pass
        return reader.reached_s


def announced_s(path: Path, kind: Kind, media: MediaSettings = DEFAULT_MEDIA) -> float:
    """The stated duration in seconds; 0 if the file states none or has no stream of that kind.

    Raises:
        MediaError: the file is not a regular file, or exceeds a limit.
    """
    # Nothing is decoded: ffmpeg opens the file, describes it and exits.
    stream = input_of(kind, media).output("pipe:", format="null", map=_FIRST[kind], t=0)
    with contextlib.closing(Process(path, kind, stream, media)) as process:
        process.check_announced()
        return process.announced_s


def pace_of(path: Path, media: MediaSettings = DEFAULT_MEDIA) -> Pace:
    """The stated frame rate, equal to OpenCV's ``CAP_PROP_FPS``.

    30000/1001 Hz from 0 s if the file states none or cannot be decoded (the decoder reports why).

    Raises:
        MediaError: the file is not a regular file, or exceeds a limit.
        MediaKilledError: ffmpeg was killed from outside.
    """
    mark = f"fv2es{secrets.token_hex(8)}"
    lines: list[str] = []
    stream = input_of("picture", media).output(
        "pipe:", format="null", map="0:V:0", vf=f"showinfo@{mark}=checksum=0", **{"frames:v": 1}
    )
    with contextlib.closing(Process(path, "picture", stream, media, lines.append, mark)) as process:
        process.check_announced()
        # If it was killed from outside, its output says nothing about the file.
        process.finish(0, anything=True)
    said = "\n".join(lines)
    base = re.search(r"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)", said)
    first = re.search(r" pts: *(-?\d+) ", said)
    if base is None or first is None or "0" in (base[2], base[3], base[4]):
        return Pace()
    return Pace(int(base[3]) / int(base[4]), int(first[1]) * int(base[1]) / int(base[2]))
