"""The strip below each picture of a film: a bar for each class, and the words.

Owns its looks. It is drawn once for each set of utterances that are on.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_train.predict.outputs import UtterancePrediction
from fv2es_train.predict.render import decision

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

PANEL_PX = 136
_FONT_PX, _LINE_PX = 13, 18
_PAPER, _INK, _FAINT = (24, 24, 28), (235, 235, 235), (110, 110, 118)
_BAR, _DECIDED = (90, 130, 190), (60, 220, 90)
_NAME_PX, _NUMBER_PX = 62, 40


class Panel:
    """Draws the strip.

    Args:
        width: in pixels.
        thresholds: class -> threshold, drawn as a tick on its bar.
    """

    def __init__(self, width: int, thresholds: dict[str, float]) -> None:
        self._width, self._thresholds = width, thresholds
        self._font = _font(_FONT_PX)
        self._last: tuple[tuple[int, ...], NDArray[np.uint8]] | None = None

    def of(self, now: Sequence[UtterancePrediction]) -> NDArray[np.uint8]:
        """The strip for the utterances that are on, the first two of them, side by side.

        Returns:
            uint8 (PANEL_PX, width, 3).
        """
        key = tuple(id(one) for one in now)
        if self._last is None or self._last[0] != key:
            self._last = (key, self._draw(now[:2]))
        return self._last[1]

    def _draw(self, now: Sequence[UtterancePrediction]) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image, ImageDraw

        strip = Image.new("RGB", (self._width, PANEL_PX), _PAPER)
        draw = ImageDraw.Draw(strip)
        share = self._width // max(len(now), 1)
        for place, one in enumerate(now):
            self._draw_one(draw, one, place * share, share)
        if not now:
            draw.text((8, 6), "nobody speaks", _FAINT, self._font)
        return np.asarray(strip)

    def _draw_one(self, draw: Any, one: UtterancePrediction, left: int, width: int) -> None:
        bars = min(width // 2, 320)
        step = (PANEL_PX - 8) // max(len(self._thresholds), 1)
        for row, (name, threshold) in enumerate(self._thresholds.items()):
            value = one.probability.get(name, 0.0)
            begin, length = left + _NAME_PX, bars - _NAME_PX - _NUMBER_PX
            top, bottom = 4 + row * step + 3, 4 + (row + 1) * step - 3
            ink = _DECIDED if name in one.decided else _INK
            draw.text((left + 6, top - 2), name[:8], ink, self._font)
            draw.rectangle((begin, top, begin + length, bottom), outline=_FAINT)
            draw.rectangle(
                (begin, top, begin + round(length * value), bottom),
                fill=_DECIDED if name in one.decided else _BAR,
            )
            tick = begin + round(length * threshold)
            draw.line((tick, top - 1, tick, bottom + 1), fill=_INK)
            draw.text((begin + length + 4, top - 2), f"{value:.2f}", ink, self._font)
        self._draw_words(draw, one, left + bars + 12, width - bars - 18)

    def _draw_words(self, draw: Any, one: UtterancePrediction, left: int, width: int) -> None:
        speaker = f"{one.speaker}: " if one.speaker else ""
        lines = [f"{speaker}{decision(one)}   from {one.used or 'nothing'}"]
        for word in (one.text or "").split():
            longer = f"{lines[-1]} {word}"
            if len(lines) > 1 and draw.textlength(longer, self._font) <= width:
                lines[-1] = longer
            else:
                lines.append(word)
        for row, line in enumerate(lines[: PANEL_PX // _LINE_PX]):
            draw.text((left, 6 + row * _LINE_PX), line, _INK if row else _DECIDED, self._font)


def _font(size: int) -> Any:
    """The font that travels with matplotlib: it has more letters than cv2's."""
    import matplotlib
    from PIL import ImageFont

    return ImageFont.truetype(
        str(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"), size
    )
