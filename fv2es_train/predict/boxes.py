"""Where a face lies in the whole picture; the boxes of a prediction are in pixels of its view.

Owns the way back from a view, the inverse of `view.cut_view`. Leaves drawing to `film` and pages.
"""

from __future__ import annotations

from typing import Any

from fv2es_prep.types import View
from fv2es_train.predict.outputs import FaceBox, UtterancePrediction
from fv2es_train.predict.request import parse_view


def placed(box: FaceBox, view: View, width: int, height: int) -> tuple[float, float, float, float]:
    """A box in pixels of the whole picture.

    Args:
        box: in pixels of the view.
        view: what `cut_view` cut.
        width: of the whole picture, in pixels.
        height: see ``width``.

    Returns:
        left, top, right, bottom; they may lie outside the picture.
    """
    left, top = _corner(view, width, height)
    return box.left + left, box.top + top, box.right + left, box.bottom + top


def places_of(one: UtterancePrediction, width: int, height: int) -> list[dict[str, Any]]:
    """The boxes of an utterance as shares of the whole picture, cut at its edges.

    Args:
        one: what the predictor gave.
        width: of the whole picture, in pixels, as it is shown: turned, where the file says so.
        height: see ``width``.

    Returns:
        For each sampled moment ``time_s``, ``found``, and ``left``, ``top``, ``width`` and
        ``height`` from 0 to 1.
    """
    view = parse_view(one.view)
    return [
        {"time_s": b.time_s, "found": b.found, **_shares(b, view, width, height)} for b in one.boxes
    ]


def _shares(box: FaceBox, view: View, width: int, height: int) -> dict[str, float]:
    left, top, right, bottom = placed(box, view, width, height)
    left, right = (min(max(edge / width, 0.0), 1.0) for edge in (left, right))
    top, bottom = (min(max(edge / height, 0.0), 1.0) for edge in (top, bottom))
    shares = {"left": left, "top": top, "width": right - left, "height": bottom - top}
    return {name: round(value, 6) for name, value in shares.items()}


def _corner(view: View, width: int, height: int) -> tuple[int, int]:
    """Where a view's left upper pixel lies in the picture; negative where it was padded."""
    middle = width // 2
    left = middle if view.half == "right" else 0
    if view.crop_px is None:
        return left, 0
    half = {"left": middle, "right": width - middle}.get(view.half, width)
    return left + _first(half, view.crop_px), _first(height, view.crop_px)


def _first(length: int, side: int) -> int:
    """The first pixel of the middle of a row, as `view.centre_square` takes it."""
    return round((length - side) / 2) if length >= side else -((side - length) // 2)
