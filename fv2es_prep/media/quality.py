"""Quality rules: silence, black pictures and frozen pictures, see `QualitySettings`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.config import QualitySettings
from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.types import Waveform

if TYPE_CHECKING:
    from numpy.typing import NDArray

Frame = tuple[float, "NDArray[np.uint8]"]


def check_sound(waveform: Waveform, settings: QualitySettings) -> None:
    """Raise UtteranceError if no audio sample exceeds the silent level."""
    loudest = float(np.abs(waveform.samples).max(initial=0))
    if len(waveform.samples) and loudest <= settings.silent_level:
        raise UtteranceError(
            f"its loudest audio sample is {loudest:.2g} of full scale, expected more than "
            f"{settings.silent_level:g}",
            DropReason.SILENT_AUDIO,
        )


class PictureCheck:
    """Checks the pictures of one utterance as they stream through; holds only the first."""

    def __init__(self, settings: QualitySettings) -> None:
        self._settings = settings
        self._count = 0
        self._brightest = 0
        self._first: NDArray[np.uint8] | None = None
        self._changed = False

    def passing(self, frames: Iterable[Frame]) -> Iterator[Frame]:
        """Pass the pictures through."""
        for time_s, rgb in frames:
            self._count += 1
            if self._brightest <= self._settings.black_level:
                self._brightest = max(self._brightest, int(rgb.max(initial=0)))
            if self._first is None:
                self._first = rgb
            elif not self._changed:
                self._changed = not np.array_equal(self._first, rgb)
            yield time_s, rgb

    def judge(self) -> None:
        """Raise UtteranceError if all pictures that passed are black or equal."""
        settings = self._settings
        if self._count and self._brightest <= settings.black_level:
            raise UtteranceError(
                f"the brightest value of its {self._count} pictures is {self._brightest} of 255, "
                f"expected more than {settings.black_level}",
                DropReason.BLACK_PICTURE,
            )
        if 0 < settings.frozen_pictures <= self._count and not self._changed:
            raise UtteranceError(
                f"its {self._count} sampled pictures are all the same", DropReason.FROZEN_PICTURE
            )
