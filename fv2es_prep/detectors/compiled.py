"""Inner loops of the MTCNN cascade, compiled by Numba on the first call.

Owns exact window means and greedy suppression: float32 in the order of operations of torch and
facenet-pytorch, so that no bit differs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.utils.jit import compiled as _compiled

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Side of a window of the first network, and step between windows, in pixels of the level.
_CELL, _STRIDE = 12, 2
_MIDDLE, _STEP = np.float32(127.5), np.float32(0.0078125)


@_compiled
def fill_crops(sums: NDArray[Any], corners: NDArray[np.int64], crops: NDArray[np.float32]) -> None:
    """Scale each box: torch's ``interpolate(mode="area")``, then (x - 127.5) / 128.

    Args:
        sums: (H + 1, W + 1, 3), see `mtcnn.sum_table`.
        corners: (N, 4) left, top, right, bottom in pixels; not empty, inside the picture.
        crops: float32 (N, h, w, 3), the output.
    """
    rows, columns = crops.shape[1], crops.shape[2]
    for n in range(len(corners)):
        left, top, right, bottom = corners[n]
        height, width = bottom - top, right - left
        # The windows of adaptive average pooling in torch overlap.
        for i in range(rows):
            above = top + i * height // rows
            below = top + ((i + 1) * height + rows - 1) // rows
            tall = np.float32(below - above)
            for j in range(columns):
                begin = left + j * width // columns
                end = left + ((j + 1) * width + columns - 1) // columns
                wide = np.float32(end - begin)
                for k in range(3):
                    total = sums[below, end, k] - sums[above, end, k]
                    total = total - sums[below, begin, k] + sums[above, begin, k]
                    mean = np.float32(total) / tall / wide
                    crops[n, i, j, k] = (mean - _MIDDLE) * _STEP


@_compiled
def collect(
    probability: NDArray[np.float32],
    correction: NDArray[np.float32],
    scale: np.float32,
    threshold: np.float32,
) -> NDArray[np.float32]:
    """The candidates of the first network on one level, with at least ``threshold`` probability.

    From probability float32 (y, x) and correction (4, y, x) to float32 (N, 9): box in pixels of
    the picture, probability, correction.
    """
    rows, columns = probability.shape
    count = 0
    for y in range(rows):
        for x in range(columns):
            count += probability[y, x] >= threshold
    found = np.empty((count, 9), np.float32)
    row = 0
    for y in range(rows):
        for x in range(columns):
            if probability[y, x] >= threshold:
                found[row, 0] = np.floor(np.float32(_STRIDE * x + 1) / scale)
                found[row, 1] = np.floor(np.float32(_STRIDE * y + 1) / scale)
                found[row, 2] = np.floor(np.float32(_STRIDE * x + _CELL) / scale)
                found[row, 3] = np.floor(np.float32(_STRIDE * y + _CELL) / scale)
                found[row, 4] = probability[y, x]
                for k in range(4):
                    found[row, 5 + k] = correction[k, y, x]
                row += 1
    return found


@_compiled
def suppress(
    boxes: NDArray[np.float32],
    order: NDArray[np.int64],
    overlap: np.float32,
    edge: np.float32,
    of_smaller: bool,
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: return the kept rows, in the given order.

    Args:
        boxes: float32 (N, 4 or more): left, top, right, bottom.
        order: row numbers, most probable first.
        overlap: share of overlap with a kept box above which a box is removed.
        edge: added to each width and height.
        of_smaller: whether the share is relative to the smaller box instead of the union.
    """
    count, zero = len(order), np.float32(0)
    gone = np.zeros(count, np.bool_)
    stay = np.empty(count, np.int64)
    kept = 0
    for place in range(count):
        if gone[place]:
            continue
        best = order[place]
        stay[kept] = best
        kept += 1
        left, top, right, bottom = boxes[best, 0], boxes[best, 1], boxes[best, 2], boxes[best, 3]
        area = (right - left + edge) * (bottom - top + edge)
        for later in range(place + 1, count):
            if gone[later]:
                continue
            row = order[later]
            x, y, ex, ey = boxes[row, 0], boxes[row, 1], boxes[row, 2], boxes[row, 3]
            wide = max(min(right, ex) - max(left, x) + edge, zero)
            tall = max(min(bottom, ey) - max(top, y) + edge, zero)
            shared = wide * tall
            other = (ex - x + edge) * (ey - y + edge)
            whole = min(area, other) if of_smaller else area + other - shared
            gone[later] = shared / whole > overlap
    return stay[:kept]
