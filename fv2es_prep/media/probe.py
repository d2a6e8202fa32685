"""How long a media file says that it is.

Owns asking. Leaves where the media truly end to those who decode them: see `SpanSettings`.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from fv2es_prep.media.ffmpeg import input_of
from fv2es_prep.media.process import Process
from fv2es_prep.media.video import PictureReader
from fv2es_prep.settings import DEFAULT_MEDIA, MediaSettings

_DURATION = re.compile(r"  Duration: (\d+):(\d\d):(\d\d\.\d+)")
_MARK = "  Duration: "


def duration_s(path: Path, media: MediaSettings = DEFAULT_MEDIA) -> float:
    """The length of a file in seconds, to a hundredth.

    It is what the file announces; one that announces nothing is decoded to its end.

    Args:
        path: a local media file.
        media: the limits.

    Raises:
        MediaError: the file holds no picture, cannot be decoded, or is over a limit.
    """
    announced: list[float] = []

    def listen(line: str) -> None:
        if (match := _DURATION.match(line)) and not announced:
            hours, minutes, seconds = map(float, match.groups())
            announced.append(3600 * hours + 60 * minutes + seconds)

    # No picture is asked for: the file is opened, described and closed.
    stream = input_of("picture", media).output("pipe:", format="null", map="0:V:0", t=0)
    with contextlib.closing(Process(path, "picture", stream, media, listen, _MARK)) as process:
        process.check_announced()
    # One that cannot be opened announces nothing either: the decoder says why.
    return announced[0] if any(announced) else _decoded_s(path, media)


def _decoded_s(path: Path, media: MediaSettings) -> float:
    with contextlib.closing(PictureReader(path, [], media)) as reader:
        while reader.next() is not None:
            pass
        return reader.reached_s
