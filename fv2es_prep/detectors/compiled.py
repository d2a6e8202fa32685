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
    table = sums.reshape(sums.shape[0], -1)
    # Of each window: begin and end in a row of the table. Of each of its channels: width, sum.
    begin, end = np.empty(columns, np.int64), np.empty(columns, np.int64)
    wide, total = np.empty(3 * columns, np.float32), np.empty(3 * columns, np.float32)
    band = np.empty(table.shape[1], table.dtype)
    for n in range(len(corners)):
        left, top, right, bottom = corners[n]
        height, width = bottom - top, right - left
        # The windows of adaptive average pooling in torch overlap.
        for j in range(columns):
            first = j * width // columns
            last = ((j + 1) * width + columns - 1) // columns
            begin[j], end[j] = 3 * first, 3 * last
            wide[3 * j : 3 * j + 3] = np.float32(last - first)
        for i in range(rows):
            above = top + i * height // rows
            below = top + ((i + 1) * height + rows - 1) // rows
            tall = np.float32(below - above)
            # Slices and loops this simple are vectorized.
            upper = table[above, 3 * left : 3 * right + 3]
            lower = table[below, 3 * left : 3 * right + 3]
            for m in range(3 * width + 3):
                band[m] = lower[m] - upper[m]
            for j in range(columns):
                first, last = begin[j], end[j]
                for k in range(3):
                    total[3 * j + k] = band[last + k] - band[first + k]
            row = crops[n, i].reshape(3 * columns)
            for m in range(3 * columns):
                row[m] = (total[m] / tall / wide[m] - _MIDDLE) * _STEP


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
