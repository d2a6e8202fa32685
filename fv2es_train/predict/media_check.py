"""A quick check of a media file: decode its beginning, whatever its length."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.errors import DropReason, MediaError
from fv2es_prep.media.audio import SoundReader
from fv2es_prep.media.probe import announced_s
from fv2es_prep.media.video import PictureReader

_SOUND_S = 0.5
_NO_PICTURE = (DropReason.NO_VIDEO_STREAM, DropReason.UNDECODABLE_VIDEO)


@dataclass(frozen=True)
class MediaInfo:
    """What the beginning of a file shows.

    Attributes:
        length_s: length in the header, in seconds; 0 if there is none.
        size: width and height of the first picture in pixels; None for audio alone.
    """

    length_s: float
    size: tuple[int, int] | None


def check_media(path: Path, media: MediaSettings = DEFAULT_MEDIA) -> MediaInfo:
    """Decode the beginning of a file.

    Args:
        path: a local media file.
        media: limits of decoding.

    Raises:
        MediaError: neither video nor audio can be decoded, or a limit is exceeded.
    """
    size = _picture_size(path, media)
    return MediaInfo(announced_s(path, "picture" if size else "sound", media), size)


def _picture_size(path: Path, media: MediaSettings) -> tuple[int, int] | None:
    try:
        with contextlib.closing(PictureReader(path, [0.0], media)) as reader:
            found = reader.next()
    except MediaError as error:
        if error.reason not in _NO_PICTURE:
            raise
        _check_audio(path, media, error)
        return None
    return None if found is None else (found[1].shape[1], found[1].shape[0])


def _check_audio(path: Path, media: MediaSettings, picture_error: MediaError) -> None:
    """Check that there is audio; an undecodable picture explains more than missing audio."""
    try:
        with contextlib.closing(SoundReader(path, media)) as reader:
            reader.span(0, _SOUND_S, None)
    except MediaError as error:
        undecodable = picture_error.reason is DropReason.UNDECODABLE_VIDEO
        raise picture_error if undecodable else error from None
