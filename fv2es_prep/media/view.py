"""The speaker's part of a picture: crops, halving, and the JPEG files of published code."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Literal

import numpy as np

from fv2es_prep.types import View

if TYPE_CHECKING:
    from numpy.typing import NDArray


def cut_view(
    rgb: NDArray[np.uint8], view: View, jpeg: Literal["none", "cut", "whole"] = "none"
) -> NDArray[np.uint8]:
    """Copy the speaker's part of a picture, uint8 (H, W, 3).

    The picture is split at ``width // 2``; the half is halved until it has at most ``max_lines``
    lines; a square of ``crop_px``, if that is not None, is cut from its centre, padded with black.
    ``jpeg``: see `FrameSettings`.
    """
    if jpeg == "whole":
        rgb = through_jpeg(rgb)
    middle = rgb.shape[1] // 2
    columns = {"left": slice(0, middle), "right": slice(middle, None), "full": slice(None)}
    half = rgb[:, columns[view.half]]
    if view.max_lines is not None:
        halve = _halve_smoothly if jpeg == "whole" else halve_until
        half = halve(half, view.max_lines, 1 if view.halve_once else None)
    cut = half.copy() if view.crop_px is None else centre_square(half, view.crop_px)
    return through_jpeg(cut) if jpeg == "cut" else cut


def through_jpeg(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A picture as Pillow reads the JPEG file that ``cv2.imwrite`` makes of it; the same shape."""
    import cv2
    from PIL import Image

    if not rgb.size:
        return rgb
    _, file = cv2.imencode(".jpg", np.ascontiguousarray(rgb[..., ::-1]))
    with Image.open(io.BytesIO(file.tobytes())) as picture:
        return np.asarray(picture)


def _halve_smoothly(
    rgb: NDArray[np.uint8], max_lines: int, times: int | None = None
) -> NDArray[np.uint8]:
    """`halve_until` by Pillow's bilinear filter, which weighs sixteen pixels."""
    from PIL import Image

    halved_times = 0
    while rgb.shape[0] > max_lines and rgb.shape[1] > 1 and halved_times != times:
        halved_times += 1
        size = (rgb.shape[1] // 2, rgb.shape[0] // 2)
        rgb = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.BILINEAR))
    return rgb


def halve_until(
    rgb: NDArray[np.uint8], max_lines: int, times: int | None = None
) -> NDArray[np.uint8]:
    """Halve width and height, at most ``times`` times, until at most ``max_lines`` lines are left.

    Each pixel of the uint8 (H // 2**n, W // 2**n, 3) result is the mean of four, rounded half up.
    An odd last line or column is dropped, so that a pixel covers whole pixels of the input.
    """
    import cv2

    halved_times = 0
    while rgb.shape[0] > max_lines and rgb.shape[1] > 1 and halved_times != times:
        halved_times += 1
        height, width = rgb.shape[0] // 2, rgb.shape[1] // 2
        even = rgb[: 2 * height, : 2 * width]
        halved = cv2.resize(even, (width, height), interpolation=cv2.INTER_AREA)
        rgb = halved.astype("uint8", copy=False)
    return rgb


def centre_square(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """Copy the centre square, uint8 (side_px, side_px, 3), padded with black if need be."""
    for axis in (0, 1):
        missing = max(side_px - rgb.shape[axis], 0)
        before = (missing // 2, missing - missing // 2)
        rgb = np.pad(rgb, [before if axis == a else (0, 0) for a in range(3)]) if missing else rgb
        # Rounded as in torchvision's `center_crop`, to reproduce the published crops.
        first = round((rgb.shape[axis] - side_px) / 2)
        rgb = rgb[first : first + side_px] if axis == 0 else rgb[:, first : first + side_px]
    return rgb.copy()
