"""Checks of an upload before it becomes a job: its name, its content, and its spans."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote

from fv2es_prep.errors import DropReason, MediaError
from fv2es_train.predict.request import Request, Span, named
from fv2es_train.predict.uploads import check_media
from fv2es_train.serve.api_errors import ApiError
from fv2es_train.serve.messages import VideoFile
from fv2es_train.serve.settings import MIB, Limits

_EXPECTED = "upload a video or audio file, such as MP4, WebM, MKV, AVI, MOV or WAV"
_MAX_NAME = 200
_FORBIDDEN = frozenset("/\\:*?\"'<>|")
_BYTES_PER_PIXEL = 3
_HINTS = {
    DropReason.TOO_LONG: "cut it into shorter videos",
    DropReason.TOO_MANY_PIXELS: "scale it down",
    DropReason.TIME_LIMIT: "convert it to MP4 and try again",
}
_HEAD_BYTES = 4096
_EBML, _RIFF, _FTYP = b"\x1a\x45\xdf\xa3", b"RIFF", b"ftyp"
_CONTAINERS = (
    *(_EBML, b"OggS", b"FLV\x01", b"fLaC", b"ID3", b"\x00\x00\x01\xba", b"\x00\x00\x01\xb3"),
    *(b"0&\xb2u\x8ef\xcf\x11", b"caff", b".snd", b"FORM", b".RMF", b"nut/multimedia", b"DKIF"),
    *(b"GIF87a", b"GIF89a", b"\x06\x0e\x2b\x34"),
)
_OTHERS = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"PK\x05\x06", "a ZIP archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"7z\xbc\xaf", "a 7z archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xfd7zXZ", "an xz archive"),
    (b"%PDF", "a PDF"),
    (b"\x89PNG", "a PNG picture"),
    (b"\xff\xd8\xff", "a JPEG picture"),
    (b"\x89HDF", "an HDF5 file"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"#!", "a script"),
    (b"#EXTM3U", "a playlist"),
    (b"ffconcat", "a playlist"),
)
_TEXTS = (
    (re.compile(r"(?i)\s*(<!doctype html|<html|<script|<head|<body)"), "an HTML page"),
    (re.compile(r"(?i)\s*<(\?xml|svg|mpd|smil)"), "an XML text"),
    (re.compile(r"(?i)\s*(#EXTM3U|#EXT-X|\[playlist\]|ffconcat)"), "a playlist"),
)
_TS_PACKET = 188


def check_name(name: str | None) -> str:
    """Check the file name of an upload and return it.

    Raises:
        ApiError: the name is missing or not a plain name.
    """
    if not name:
        raise ApiError(400, "the upload has no file name", "send the file with its name")
    # Clients percent-encode characters that would break the header of the part, e.g. as %22.
    bad = sorted({c for c in unquote(name) if c in _FORBIDDEN or not c.isprintable()})
    if bad or name in (".", "..") or len(name) > _MAX_NAME:
        found = " ".join(map(ascii, bad)) if bad else f"{len(name)} characters"
        raise ApiError(
            400,
            f"invalid file name: it has {found}",
            f"rename the file: up to {_MAX_NAME} characters, without paths and quotes",
        )
    return name


def check_content(path: Path, name: str, limits: Limits) -> VideoFile:
    """Check an upload by its first bytes and by decoding its beginning.

    Raises:
        ApiError: the file is not video or audio, is damaged, or exceeds a limit.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
    known = is_container(head)
    if not known and (other := other_type(head)):
        raise ApiError(415, f"{name} is {other}", _EXPECTED)
    try:
        info = check_media(path, limits.media)
    except MediaError as error:
        known = known or error.reason in _HINTS
        status = 422 if known else 415
        hint = _HINTS.get(error.reason, "play the file to check it, or convert it to MP4")
        raise ApiError(status, error.sentence.replace(path.name, name), hint) from error
    if info.size is not None and min(info.size) < limits.least_px:
        raise ApiError(
            422,
            f"the picture of {name} has {info.size[0]} x {info.size[1]} pixels",
            f"use a picture of at least {limits.least_px} x {limits.least_px} pixels",
        )
    return VideoFile(name, info.length_s, info.size)


def check_spans(
    request: Request, size: tuple[int, int] | None, pictures_hz: float, limits: Limits
) -> None:
    """Check the number and length of spans, and the memory that overlapping ones need.

    A picture of several spans is held until all of them are scored (`media.recording`). ``size`` is
    width and height in pixels, None for audio only; ``pictures_hz`` is the number of sampled
    pictures per second.

    Raises:
        ApiError: a limit is exceeded.
    """
    # With speech detection, a view has at most one utterance at any time.
    given = request.spans or (Span(0, request.rules.longest_s),)
    if len(given) * len(request.views) > limits.spans:
        raise ApiError(
            422,
            f"there are {len(given)} spans and {len(request.views)} views",
            f"send at most {limits.spans} utterances of one video",
        )
    spans = named(given, request.views)
    longest = max(spans, key=lambda span: span.duration_s)
    if longest.duration_s > limits.span_s:
        raise ApiError(
            422,
            f"the span from {longest.start_s:g} s to {longest.end_s:g} s is longer than "
            f"{limits.span_s:g} s",
            "cut it into utterances",
        )
    width, height = size or (0, 0)
    held = _max_held_s(spans) * pictures_hz * width * height * _BYTES_PER_PIXEL
    if held > limits.held_bytes:
        raise ApiError(
            422,
            f"the spans and views overlap so much that pictures of {width} x {height} would take "
            f"{held / MIB:.0f} MiB, more than {limits.held_bytes / MIB:g} MiB",
            "send fewer spans or views at a time, or a smaller picture",
        )


def _max_held_s(spans: Sequence[Span]) -> float:
    """The most seconds of later spans before the end of the current one; spans are in order."""
    import numpy as np

    starts = np.array([span.start_s for span in spans])
    ends = np.array([span.end_s for span in spans])
    # The decoder has already reached the latest end so far.
    reached = np.maximum.accumulate(ends)
    return max(
        float(np.clip(np.minimum(ends[k + 1 :], reached[k]) - starts[k + 1 :], 0, None).sum())
        for k in range(len(spans))
    )


def is_container(head: bytes) -> bool:
    """Whether a file begins like one of the supported containers."""
    if head[:4] == _RIFF:
        return head[8:12] in (b"AVI ", b"WAVE")
    if head[4:8] in (_FTYP, b"moov", b"mdat", b"free", b"wide", b"skip"):
        return True
    packets = head[::_TS_PACKET][:4]
    if len(packets) > 1 and set(packets) == {0x47}:
        return True
    return head.startswith(_CONTAINERS)


def other_type(head: bytes) -> str:
    """The type of a file that is not a media file, in words; empty if unknown."""
    if not head:
        return "an empty file"
    for start, name in _OTHERS:
        if head.startswith(start):
            return name
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # The last character of the head may be incomplete.
        if error.start < len(head) - 4:
            return ""
        text = head[: error.start].decode("utf-8-sig")
    for pattern, name in _TEXTS:
        if pattern.match(text):
            return name
    return "" if any(c < " " and c not in "\t\n\r\f" for c in text) else "a text"
