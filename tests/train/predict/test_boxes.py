"""Boxes of a view in the whole picture: what lies in one lies in the other."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np
import pytest

from fv2es_prep.media.view import cut_view
from fv2es_train.predict.outputs import FaceBox, UtterancePrediction, picture_box, relative_boxes
from fv2es_train.predict.request import parse_view


def box_of(left: float, top: float, right: float, bottom: float) -> FaceBox:
    return FaceBox(1.5, left, top, right, bottom, 0.9, True)


@pytest.mark.parametrize("size", [(61, 40), (60, 41), (17, 90)])
@pytest.mark.parametrize("view", ["full", "left", "right", "left:20", "right:21", "full:64:1"])
def test_a_box_of_a_view_shows_the_same_pixels_in_the_picture(
    view: str, size: tuple[int, int]
) -> None:
    width, height = size
    # Each pixel is another one: none is black, as what is padded.
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[..., 0], rgb[..., 1], rgb[..., 2] = np.arange(width), np.arange(height)[:, None], 1
    cut = cut_view(rgb, parse_view(view))
    rows, columns = np.nonzero(cut[..., 2])
    box = box_of(columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    left, top, right, bottom = picture_box(box, parse_view(view), width, height)
    inside = cut[rows.min() : rows.max() + 1, columns.min() : columns.max() + 1]
    assert (rgb[int(top) : int(bottom), int(left) : int(right)] == inside).all()
    assert inside.size


def test_relative_boxes_are_clipped_at_the_edges() -> None:
    boxes = (box_of(0, 0, 320, 240), box_of(-50, 200, 20, 500))
    one = UtterancePrediction(
        *("x", 0, 3, None, "", "", "right", 2, 2, "v", {}, {}, (), {}), boxes=boxes
    )
    assert [asdict(box) for box in relative_boxes(one, 640, 480)] == [
        {"time_s": 1.5, "found": True, "left": 0.5, "top": 0, "width": 0.5, "height": 0.5},
        pytest.approx(
            {
                "time_s": 1.5,
                "found": True,
                "left": 270 / 640,
                "top": 200 / 480,
                "width": 70 / 640,
                "height": 280 / 480,
            },
            abs=1e-6,
        ),
    ]
