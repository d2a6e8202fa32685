"""A first look at a file: whether there is a picture or a sound that can be decoded, and how large.

Owns the look, which costs a moment whatever the length. Leaves reading all of it to `predictor`.
"""

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
_BLIND = (DropReason.NO_VIDEO_STREAM, DropReason.UNDECODABLE_VIDEO)


@dataclass(frozen=True)
class Look:
    """What was seen.

    Attributes:
        length_s: as the file announces it, in seconds; 0 where it does not.
        size: width and height of the first picture in pixels; None where there is sound alone.
    """

    length_s: float
    size: tuple[int, int] | None


def look_at(path: Path, media: MediaSettings = DEFAULT_MEDIA) -> Look:
    """Decode the beginning of a file.

    Args:
        path: a local media file.
        media: the limits.

    Raises:
        MediaError: neither picture nor sound can be decoded, or it is over a limit.
    """
    size = _picture_size(path, media)
    return Look(announced_s(path, "picture" if size else "sound", media), size)


def _picture_size(path: Path, media: MediaSettings) -> tuple[int, int] | None:
    try:
        with contextlib.closing(PictureReader(path, [0.0], media)) as reader:
            found = reader.next()
    except MediaError as error:
        if error.reason not in _BLIND:
            raise
        _hear(path, media, error)
        return None
    return None if found is None else (found[1].shape[1], found[1].shape[0])


def _hear(path: Path, media: MediaSettings, blind: MediaError) -> None:
    """See that there is sound; else the picture's error is raised, where there was a picture."""
    try:
        with contextlib.closing(SoundReader(path, media)) as reader:
            reader.span(0, _SOUND_S, None)
    except MediaError as error:
        raise blind if blind.reason is DropReason.UNDECODABLE_VIDEO else error from None
