"""The panel below each picture of an annotated video: a bar for each class, and the text."""

from __future__ import annotations

import functools
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
_BACKGROUND, _INK, _FAINT = (24, 24, 28), (235, 235, 235), (110, 110, 118)
_BAR, _DECIDED = (90, 130, 190), (60, 220, 90)
_NAME_PX, _NUMBER_PX = 62, 40


class Panel:
    """Draws the panel, once for each set of current utterances.

    Args:
        width: in pixels.
        thresholds: class -> threshold, drawn as a tick on its bar.
    """

    def __init__(self, width: int, thresholds: dict[str, float]) -> None:
        self._width, self._thresholds = width, thresholds
        self._font = _font()
        self._last: tuple[tuple[int, ...], NDArray[np.uint8]] | None = None

    def draw(self, current: Sequence[UtterancePrediction]) -> NDArray[np.uint8]:
        """The panel for the first two of the current utterances, side by side.

        Returns:
            uint8 (PANEL_PX, width, 3).
        """
        key = tuple(map(id, current))
        if self._last is None or self._last[0] != key:
            self._last = (key, self._draw(current[:2]))
        return self._last[1]

    def _draw(self, current: Sequence[UtterancePrediction]) -> NDArray[np.uint8]:
        import numpy as np
        from PIL import Image, ImageDraw

        panel = Image.new("RGB", (self._width, PANEL_PX), _BACKGROUND)
        draw = ImageDraw.Draw(panel)
        share = self._width // max(len(current), 1)
        for place, one in enumerate(current):
            bars = min(share // 2, 320)
            self._draw_bars(draw, one, place * share, bars)
            self._draw_text(draw, one, place * share + bars + 12, share - bars - 18)
        if not current:
            draw.text((8, 6), "no speech", _FAINT, self._font)
        return np.asarray(panel)

    def _draw_bars(self, draw: Any, one: UtterancePrediction, left: int, width: int) -> None:
        step = (PANEL_PX - 8) // max(len(self._thresholds), 1)
        begin, length = left + _NAME_PX, width - _NAME_PX - _NUMBER_PX
        for row, (name, threshold) in enumerate(self._thresholds.items()):
            value, decided = one.probability.get(name, 0.0), name in one.decided
            top, bottom = 4 + row * step + 3, 4 + (row + 1) * step - 3
            ink, fill = (_DECIDED, _DECIDED) if decided else (_INK, _BAR)
            draw.text((left + 6, top - 2), name[:8], ink, self._font)
            draw.rectangle((begin, top, begin + length, bottom), outline=_FAINT)
            draw.rectangle((begin, top, begin + round(length * value), bottom), fill=fill)
            tick = begin + round(length * threshold)
            draw.line((tick, top - 1, tick, bottom + 1), fill=_INK)
            draw.text((begin + length + 4, top - 2), f"{value:.2f}", ink, self._font)

    def _draw_text(self, draw: Any, one: UtterancePrediction, left: int, width: int) -> None:
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


@functools.cache
def _font() -> Any:
    """The font in matplotlib's package: it has more letters than cv2's."""
    import matplotlib
    from PIL import ImageFont

    path = Path(matplotlib.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), _FONT_PX)
