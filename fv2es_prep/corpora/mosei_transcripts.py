"""The lines of CMU-MOSEI's transcripts: ``VIDEO___CLIP___START___END___TEXT``.

Owns the line format. Leaves matching files with videos to `mosei_files`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from fv2es_prep.errors import DropReason
from fv2es_prep.types import Dropped

_SEPARATOR = "___"
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")
_EDGES = re.compile(r"^(?:\s*___)+|(?:___\s*)+$")


@dataclass(frozen=True)
class Spoken:
    """One line: a span and its words.

    Attributes:
        id: utterance id, the id of the video and the number of the line.
        video: id of the video.
        start_s: start in seconds; below 0 in some lines.
        end_s: end in seconds.
        text: the words.
    """

    id: str
    video: str
    start_s: float
    end_s: float
    text: str


def utterance_id(video: str, number: str) -> str | None:
    """``VIDEO_NUMBER`` as in the published lists; None if the number is invalid."""
    number = number.strip()
    whole = number.removesuffix(".0")
    return f"{video}_{int(whole)}" if whole.isascii() and whole.isdigit() else None


def parse_transcript(video: str, text: str, file: str = "") -> Iterator[Spoken | Dropped]:
    """The lines of one video's transcript, in order.

    Fields are positional: an empty field shifts no other. The id of the video comes from the file
    name, since it may begin and end with underscores. Everything after the fourth separator is
    text; separators at its ends are removed.

    Args:
        video: id of the video.
        text: content of the file.
        file: its name, for dropped lines.

    Yields:
        Each line, or the reason why it is invalid; blank lines are skipped.
    """
    # Not splitlines: it also splits at characters that are part of a text.
    for line in (line.rstrip("\r") for line in text.split("\n")):
        if line.strip():
            yield _parse_line(video, line, file)


def _parse_line(video: str, line: str, file: str) -> Spoken | Dropped:
    begin = video + _SEPARATOR
    fields = line.removeprefix(begin).split(_SEPARATOR, 3)
    if not line.startswith(begin) or len(fields) < 4:
        sentence = f"the line is {line[:200]!r}, expected {begin}CLIP___START___END___TEXT"
        return Dropped(line[:60], DropReason.BAD_LINE, sentence, file, video)
    name = utterance_id(video, fields[0])
    if name is None:
        sentence = f"the number of the line is {fields[0]!r}"
        return Dropped(line[:60], DropReason.NO_ID, sentence, file, video)
    times = [_number(field) for field in fields[1:3]]
    if None in times:
        sentence = f"its start is {fields[1]!r} and its end is {fields[2]!r}"
        return Dropped(name, DropReason.BAD_SPAN, sentence, file, video)
    start_s, end_s = (time_s for time_s in times if time_s is not None)
    return Spoken(name, video, start_s, end_s, _EDGES.sub("", fields[3]).strip())


def _number(field: str) -> float | None:
    # float() alone also accepts 1_0, inf and nan.
    return float(field) if _NUMBER.fullmatch(field.strip()) else None
