"""A folder of picture files, read like a video.

Owns file names, order and presentation times.
"""

from __future__ import annotations

import math
import re
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import DropReason, MediaError, UtteranceError
from fv2es_prep.types import PictureFiles, plain_text
from fv2es_prep.utils.files import why_unreadable

if TYPE_CHECKING:
    from numpy.typing import NDArray

# As in `video`: absorbs floating-point rounding of times.
_TOLERANCE_S = 1e-6


def picture_paths(folder: Path, files: PictureFiles) -> dict[int, Path]:
    """The pictures of a folder by their numbers, in ascending order.

    Raises:
        OSError: the folder cannot be read.
    """
    name = re.compile(re.escape(files.prefix) + r"(0|[1-9]\d{0,8})\.jpg", re.ASCII)
    found = ((name.fullmatch(path.name), path) for path in folder.iterdir())
    return dict(sorted((int(match[1]), path) for match, path in found if match))


class PictureFolder:
    """The pictures on screen at wanted times; same interface as `video.PictureReader`.

    Picture n appears n / rate after picture 0 and stays until the next existing picture. A time
    before the first picture gets the first picture. Only the wanted pictures are read.
    """

    def __init__(
        self, folder: Path, files: PictureFiles, times_s: Sequence[float], media: MediaSettings
    ) -> None:
        self.reached_s, self.opened, self.ended, self.damaged = 0.0, False, False, False
        self._folder, self._files, self._media = folder, files, media
        self._times, self._done = times_s, 0
        self._paths: list[Path] = []
        self._starts: list[float] = []
        self._until_s = 0.0
        self._shown: tuple[Path, NDArray[np.uint8]] | None = None

    def next(self, until_s: float = math.inf) -> tuple[int, NDArray[np.uint8]] | None:  # noqa: ARG002
        """See `PictureReader.next`; ``until_s`` is ignored, since the end is known from the start.

        Raises:
            MediaError: a file cannot be decoded or exceeds a limit, or the folder cannot be read.
            UtteranceError: there is no picture.
        """
        if not self.ended:
            self._open()
        if self._done == len(self._times):
            return None
        time_s = self._times[self._done] + _TOLERANCE_S
        if time_s >= self._until_s:
            return None
        self._done += 1
        path = self._paths[max(bisect_right(self._starts, time_s) - 1, 0)]
        if self._shown is None or self._shown[0] != path:
            self._shown = path, _read(path, self._media)
        return self._done - 1, self._shown[1]

    def close(self) -> None:
        """Release the last picture."""
        self._shown = None

    def _open(self) -> None:
        try:
            found = picture_paths(self._folder, self._files)
        except OSError as error:
            sentence = f"the folder {plain_text(self._folder.name)}: {error.strerror}"
            raise MediaError(sentence, DropReason.UNREADABLE_FILE) from error
        if not found:
            raise UtteranceError(
                f"{plain_text(self._folder.name)} holds no {self._files.prefix}0.jpg and so on",
                DropReason.NO_FRAME_IN_SPAN,
            )
        step_s, first_s = 1 / self._files.rate_hz, self._files.first_s
        self._paths = list(found.values())
        self._starts = [(first_s or 0) + number * step_s for number in found]
        self._until_s = self._starts[-1] + step_s
        # Without the time of picture 0 the end is uncertain by up to one step.
        self.reached_s = self._until_s + (step_s if first_s is None else 0)
        self.opened = self.ended = True


def _read(path: Path, media: MediaSettings) -> NDArray[np.uint8]:
    from PIL import Image, UnidentifiedImageError

    problem = why_unreadable(path)
    if problem is not None:
        raise MediaError(plain_text(problem[1]), problem[0])
    try:
        with Image.open(path, formats=("JPEG",)) as picture:
            if picture.width * picture.height > media.max_pixels:
                sentence = f"{path.name} has more than {media.max_pixels} pixels"
                hint = "raise the limit, e.g. --set media.max_pixels=67108864"
                raise MediaError(sentence, DropReason.TOO_MANY_PIXELS, hint)
            return np.asarray(picture.convert("RGB"))
    except UnidentifiedImageError as error:
        raise _undecodable(path, "it is not a JPEG file") from error
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise _undecodable(path, str(error)) from error


def _undecodable(path: Path, why: str) -> MediaError:
    sentence = f"{path.name} cannot be decoded: {why}"
    return MediaError(sentence, DropReason.UNDECODABLE_VIDEO, "look at the file")
