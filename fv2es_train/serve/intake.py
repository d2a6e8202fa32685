"""An upload becomes a file that is known to be a video or a sound within the limits.

Owns names and content. Leaves receiving bytes to `upload`, and decoding to `predict.look`,
whose restrictions hold here too: local files only, no playlists, limits of pixels, length, time.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from fv2es_prep.errors import MediaError
from fv2es_train.predict.media_check import MediaInfo, check_media
from fv2es_train.serve.api_errors import (
    BAD_REQUEST,
    NO_MEDIA,
    UNUSABLE,
    RefusedError,
    refused_media,
)
from fv2es_train.serve.file_type import HEAD_BYTES, is_container, what_else
from fv2es_train.serve.settings import Limits

_EXPECTED = "upload a video or a sound, such as MP4, WebM, MKV, AVI, MOV or WAV"
_LONGEST_NAME = 200
_FORBIDDEN = frozenset("/\\:*?\"'<>|")


def checked_name(name: str | None) -> str:
    """The name of an upload.

    Raises:
        RefusedError: there is none, or it is no plain name.
    """
    if not name:
        raise RefusedError(
            BAD_REQUEST, "the upload has no file name", "send the file with its name"
        )
    # Clients write what would break the head of a part as %22 and the like.
    bad = sorted({c for c in unquote(name) if c in _FORBIDDEN or not c.isprintable()})
    if bad or name in (".", "..") or len(name) > _LONGEST_NAME:
        found = " ".join(map(ascii, bad)) if bad else f"{len(name)} characters"
        raise RefusedError(
            BAD_REQUEST,
            f"the upload's name holds {found}",
            f"rename the file: up to {_LONGEST_NAME} characters, without paths and quotes",
        )
    return name


def examine(path: Path, name: str, limits: Limits) -> MediaInfo:
    """Find out what an upload is, by decoding its beginning.

    Args:
        path: where it lies.
        name: see `checked_name`.
        limits: what is admitted.

    Raises:
        RefusedError: it is something else, broken, or over a limit.
    """
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    known = is_container(head)
    if not known and (other := what_else(head)):
        raise RefusedError(NO_MEDIA, f"{name} is {other}", _EXPECTED)
    try:
        look = check_media(path, limits.media)
    except MediaError as error:
        raise _named(refused_media(error, known), path, name) from error
    if look.size is not None and min(look.size) < limits.least_px:
        raise RefusedError(
            UNUSABLE,
            f"the picture of {name} has {look.size[0]} x {look.size[1]} pixels",
            f"at least {limits.least_px} x {limits.least_px} are needed",
        )
    return look


def _named(refusal: RefusedError, path: Path, name: str) -> RefusedError:
    """With the upload's own name in the place of ours."""
    sentence = refusal.sentence.replace(path.name, name)
    return RefusedError(refusal.status, sentence, refusal.hint)
