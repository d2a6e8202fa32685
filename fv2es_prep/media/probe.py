"""How long a media file says that it is, and how fast its pictures follow one another.

Owns asking. Leaves where the media truly end to those who decode them: see `SpanSettings`.
"""

from __future__ import annotations

import contextlib
import re
import secrets
from pathlib import Path
from typing import NamedTuple

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.media.ffmpeg import Kind, input_of
from fv2es_prep.media.process import Process
from fv2es_prep.media.video import PictureReader

_USUAL_HZ = 30_000 / 1001
_FIRST = {"picture": "0:V:0", "sound": "0:a:0"}


class Pace(NamedTuple):
    """Pictures a second, and when the first one comes on screen in seconds of the file."""

    rate_hz: float
    first_s: float


def duration_s(path: Path, media: MediaSettings = DEFAULT_MEDIA) -> float:
    """The length of a file in seconds, to a hundredth.

    It is what the file announces; one that announces nothing is decoded to its end.

    Args:
        path: a local media file.
        media: the limits.

    Raises:
        MediaError: the file holds no picture, cannot be decoded, or is over a limit.
    """
    # One that cannot be opened announces nothing either: the decoder says why.
    return announced_s(path, "picture", media) or _decoded_s(path, media)


def announced_s(path: Path, kind: Kind, media: MediaSettings = DEFAULT_MEDIA) -> float:
    """The length that a file announces in seconds; 0 where it announces none or is none.

    Args:
        path: a local media file.
        kind: which of its streams has to be there.
        media: the limits.

    Raises:
        MediaError: it is no regular file, announces more than may be read, or kept us waiting.
    """
    # Nothing is asked for: the file is opened, described and closed.
    stream = input_of(kind, media).output("pipe:", format="null", map=_FIRST[kind], t=0)
    with contextlib.closing(Process(path, kind, stream, media)) as process:
        process.check_announced()
        return process.announced_s


def pace_of(path: Path, media: MediaSettings = DEFAULT_MEDIA) -> Pace:
    """How many pictures a second a file states, which is what OpenCV tells of it, too.

    Args:
        path: a local media file.
        media: the limits.

    Returns:
        The pace; 30000/1001 pictures a second from 0 s on where the file does not tell, as one
        that cannot be decoded: why it cannot is said by who reads it.

    Raises:
        MediaError: there is no regular file of that name, or it is over a limit.
        MediaKilledError: the ffmpeg that was asked was killed, and not by us.
    """
    mark = f"fv2es{secrets.token_hex(8)}"
    lines: list[str] = []
    stream = input_of("picture", media).output(
        "pipe:", format="null", map="0:V:0", vf=f"showinfo@{mark}=checksum=0", **{"frames:v": 1}
    )
    with contextlib.closing(Process(path, "picture", stream, media, lines.append, mark)) as process:
        process.check_announced()
        # Killed from outside, it told nothing that is true of the file.
        process.finish(0, anything=True)
    said = "\n".join(lines)
    base = re.search(r"config in time_base: (\d+)/(\d+), frame_rate: (\d+)/(\d+)", said)
    first = re.search(r" pts: *(-?\d+) ", said)
    if base is None or first is None or "0" in (base[2], base[3], base[4]):
        return Pace(_USUAL_HZ, 0.0)
    return Pace(int(base[3]) / int(base[4]), int(first[1]) * int(base[1]) / int(base[2]))


def _decoded_s(path: Path, media: MediaSettings) -> float:
    with contextlib.closing(PictureReader(path, [], media)) as reader:
        while reader.next() is not None:
            pass
        return reader.reached_s
