"""Face boxes in the whole picture; those of a prediction are in pixels of its view.

Inverts `media.view.cut_view`. Drawing is left to `annotated_video` and to web pages.
"""

from __future__ import annotations

from dataclasses import dataclass

from fv2es_prep.types import View
from fv2es_train.predict.outputs import FaceBox, UtterancePrediction
from fv2es_train.predict.request import parse_view


@dataclass(frozen=True)
class RelativeBox:
    """A face at a sampled moment, in fractions of the whole picture.

    Attributes:
        time_s: seconds from the beginning of the video.
        found: whether a face was detected.
        left: left edge, 0 to 1.
        top: upper edge, 0 to 1.
        width: 0 to 1.
        height: 0 to 1.
    """

    time_s: float
    found: bool
    left: float
    top: float
    width: float
    height: float


def picture_box(
    box: FaceBox, view: View, width: int, height: int
) -> tuple[float, float, float, float]:
    """A box in pixels of the whole picture.

    Args:
        box: in pixels of the view.
        view: the view that `cut_view` cut.
        width: of the whole picture, in pixels.
        height: of the whole picture, in pixels.

    Returns:
        left, top, right, bottom; they may lie outside the picture.
    """
    left, top = _corner(view, width, height)
    return box.left + left, box.top + top, box.right + left, box.bottom + top


def relative_boxes(one: UtterancePrediction, width: int, height: int) -> list[RelativeBox]:
    """The boxes of an utterance as fractions of the whole picture, clipped at its edges.

    Args:
        one: a prediction.
        width: of the whole picture as it is displayed (after rotation), in pixels.
        height: of the whole picture as it is displayed, in pixels.
    """
    view = parse_view(one.view)
    return [_relative(box, view, width, height) for box in one.boxes]


def _relative(box: FaceBox, view: View, width: int, height: int) -> RelativeBox:
    left, top, right, bottom = picture_box(box, view, width, height)
    left, right = (min(max(edge / width, 0.0), 1.0) for edge in (left, right))
    top, bottom = (min(max(edge / height, 0.0), 1.0) for edge in (top, bottom))
    edges = (round(value, 6) for value in (left, top, right - left, bottom - top))
    return RelativeBox(box.time_s, box.found, *edges)


def _corner(view: View, width: int, height: int) -> tuple[int, int]:
    """The view's upper left pixel in the picture; negative if the view was padded."""
    middle = width // 2
    left = middle if view.half == "right" else 0
    if view.crop_px is None:
        return left, 0
    half = {"left": middle, "right": width - middle}.get(view.half, width)
    return left + _first(half, view.crop_px), _first(height, view.crop_px)


def _first(length: int, side: int) -> int:
    """The first pixel of a centred square, as `view.centre_square` cuts it."""
    return round((length - side) / 2) if length >= side else -((side - length) // 2)
