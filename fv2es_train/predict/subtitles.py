"""Transcript formats: srt, vtt, IEMOCAP's transcription and plain text."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.files import read_regular
from fv2es_train.predict.request import Span

_CLOCK = r"(?:(\d{1,4}):)?(\d{1,2}):(\d{1,2})[.,](\d{1,3})"
_ARROW = re.compile(rf"\s*{_CLOCK}\s*-->\s*{_CLOCK}(?:\s.*)?")
_SPOKEN = re.compile(r"(\S+)\s+\[(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)\]:\s*(.*)")
_TAG = re.compile(r"<[^<>]*>|\{\\[^{}]*\}")


@dataclass(frozen=True)
class Transcript:
    """The text of a video: spans in order of time, or lines without times."""

    spans: tuple[Span, ...] = ()
    lines: tuple[str, ...] = ()


def read_transcript(path: Path) -> Transcript:
    """Read a transcript; its content decides the format.

    Raises:
        UsageError: the file cannot be read or is empty.
    """
    return parse_transcript(read_text(path), path.name)


def read_text(path: Path) -> str:
    """Read a text file in UTF-8, with or without a byte order mark, or else in Latin-1.

    Raises:
        UsageError: the file cannot be read.
    """
    try:
        data = read_regular(path)
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}", "pass a file that exists"
        ) from error
    return decode_text(data)


def decode_text(data: bytes) -> str:
    """Decode bytes as `read_text` does."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def parse_transcript(text: str, name: str = "the transcript") -> Transcript:
    """Parse a transcript.

    Lines with ``-->`` make it srt or vtt; lines such as ``ID [1.0-2.5]: words`` make it IEMOCAP's
    transcription, whose lines without a time are ignored; anything else is plain text.

    Raises:
        UsageError: the text is empty, or a span ends before it starts.
    """
    lines = text.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if any(_ARROW.fullmatch(line) for line in lines):
        spans = list(_cues(lines))
    else:
        spans = list(_spoken(lines))
    plain = () if spans else tuple(line.strip() for line in lines if line.strip())
    if not spans and not plain:
        raise UsageError(f"{name} contains no words", "remove it to score only audio and video")
    return Transcript(tuple(sorted(spans, key=lambda span: span.start_s)), plain)


def write_srt(cues: Iterable[tuple[float, float, str]]) -> Iterator[str]:
    """Subtitles, block by block, of cues: start and end in seconds, text of one or more lines."""
    for number, (start_s, end_s, words) in enumerate(cues, 1):
        # An empty line would end the block.
        lines = [line.strip() for line in words.splitlines() if line.strip()]
        body = "\n".join(lines).replace("-->", "->")
        yield f"{number}\n{_stamp(start_s)} --> {_stamp(end_s)}\n{body}\n\n"


def _cues(lines: list[str]) -> Iterator[Span]:
    at: tuple[float, float] | None = None
    words: list[str] = []
    for line in [*lines, ""]:
        match = _ARROW.fullmatch(line)
        if match is not None:
            at, words = (_seconds(match, 1), _seconds(match, 5)), []
        elif line.strip() and at is not None:
            words.append(line)
        elif at is not None:
            spoken = " ".join(_TAG.sub("", html.unescape(" ".join(words))).split())
            if spoken:
                yield Span(*at, spoken)
            at = None


def _spoken(lines: list[str]) -> Iterator[Span]:
    for line in lines:
        if match := _SPOKEN.fullmatch(line.strip()):
            yield Span(float(match[2]), float(match[3]), match[4].strip(), match[1])


def _seconds(match: re.Match[str], first: int) -> float:
    hours, minutes, seconds = (int(match[first + i] or 0) for i in range(3))
    fraction = float(f"0.{match[first + 3]}")
    return 3600.0 * hours + 60.0 * minutes + seconds + fraction


def _stamp(seconds: float) -> str:
    milliseconds = round(seconds * 1000)
    minutes, rest = divmod(milliseconds, 60_000)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{rest // 1000:02d},{rest % 1000:03d}"
