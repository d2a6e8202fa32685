"""Checks of an upload before it becomes a job: its name, its content, and its spans.

`form` receives the bytes and `predict.media_check` decodes the beginning, with the restrictions of
preparation: local files only, no playlists, limits of pixels, length and time.
"""

from __future__ import annotations

from collections.abc import Sequence
from http import HTTPStatus
from pathlib import Path
from urllib.parse import unquote

from fv2es_prep.errors import MediaError
from fv2es_train.predict.media_check import check_media
from fv2es_train.predict.request import Request, Span, named
from fv2es_train.serve.api_errors import ApiError, media_error
from fv2es_train.serve.file_type import HEAD_BYTES, is_container, other_type
from fv2es_train.serve.messages import VideoFile
from fv2es_train.serve.settings import MIB, Limits

_EXPECTED = "upload a video or audio file, such as MP4, WebM, MKV, AVI, MOV or WAV"
_MAX_NAME = 200
_FORBIDDEN = frozenset("/\\:*?\"'<>|")
_BYTES_PER_PIXEL = 3


def check_name(name: str | None) -> str:
    """The file name of an upload.

    Raises:
        ApiError: there is none, or it is no plain name.
    """
    if not name:
        raise ApiError(
            HTTPStatus.BAD_REQUEST, "the upload has no file name", "send the file with its name"
        )
    # Clients send characters that would break the part's header as %22 and the like.
    bad = sorted({c for c in unquote(name) if c in _FORBIDDEN or not c.isprintable()})
    if bad or name in (".", "..") or len(name) > _MAX_NAME:
        found = " ".join(map(ascii, bad)) if bad else f"{len(name)} characters"
        raise ApiError(
            HTTPStatus.BAD_REQUEST,
            f"invalid file name: it has {found}",
            f"rename the file: up to {_MAX_NAME} characters, without paths and quotes",
        )
    return name


def check_content(path: Path, name: str, limits: Limits) -> VideoFile:
    """Check an upload by its first bytes and by decoding its beginning.

    Args:
        path: where it is stored.
        name: its file name.
        limits: limits of the upload.

    Raises:
        ApiError: it is no video or audio, is damaged, or exceeds a limit.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    known = is_container(head)
    if not known and (other := other_type(head)):
        raise ApiError(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, f"{name} is {other}", _EXPECTED)
    try:
        info = check_media(path, limits.media)
    except MediaError as error:
        refused = media_error(error, known)
        sentence = refused.sentence.replace(path.name, name)
        raise ApiError(refused.status, sentence, refused.hint) from error
    if info.size is not None and min(info.size) < limits.least_px:
        raise _unusable(
            f"the picture of {name} has {info.size[0]} x {info.size[1]} pixels",
            f"at least {limits.least_px} x {limits.least_px} are needed",
        )
    return VideoFile(name, info.length_s, info.size)


def check_spans(
    request: Request, size: tuple[int, int] | None, pictures_hz: float, limits: Limits
) -> None:
    """Check the number and length of spans, and the memory that overlapping ones need.

    A picture of several spans is held until all of them are scored, see
    `fv2es_prep.media.recording`.

    Args:
        request: the request.
        size: width and height of the picture in pixels; None for audio alone.
        pictures_hz: sampled pictures a second.
        limits: limits of the upload.

    Raises:
        ApiError: a limit is exceeded.
    """
    # With speech detection each view has at worst one utterance at any time.
    given = request.spans or (Span(0, request.rules.longest_s),)
    if len(given) * len(request.views) > limits.spans:
        raise _unusable(
            f"there are {len(given)} spans and {len(request.views)} views",
            f"at most {limits.spans} utterances of one video are scored",
        )
    spans = named(given, request.views)
    longest = max(spans, key=lambda span: span.duration_s)
    if longest.duration_s > limits.span_s:
        raise _unusable(
            f"the span from {longest.start_s:g} s to {longest.end_s:g} s is longer than "
            f"{limits.span_s:g} s",
            "cut it into utterances",
        )
    width, height = size or (0, 0)
    held = _max_held_s(spans) * pictures_hz * width * height * _BYTES_PER_PIXEL
    if held > limits.held_bytes:
        raise _unusable(
            f"its spans and views overlap so much that pictures of {width} x {height} would take "
            f"{held / MIB:.0f} MiB, more than {limits.held_bytes / MIB:g} MiB",
            "send fewer spans or views at a time, or a smaller picture",
        )


def _max_held_s(spans: Sequence[Span]) -> float:
    """The most seconds of later spans before the end of the current one.

    Args:
        spans: in order of their starts.
    """
    import numpy as np

    starts = np.array([span.start_s for span in spans])
    ends = np.array([span.end_s for span in spans])
    # The decoder has reached the latest end so far.
    reached = np.maximum.accumulate(ends)
    return max(
        float(np.clip(np.minimum(ends[k + 1 :], reached[k]) - starts[k + 1 :], 0, None).sum())
        for k in range(len(spans))
    )


def _unusable(sentence: str, hint: str) -> ApiError:
    return ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, sentence, hint)
