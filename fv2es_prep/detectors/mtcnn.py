"""The MTCNN cascade with facenet-pytorch's weights on the CPU.

Owns the cascade: pyramid, candidates and their selection. Leaves inference to `networks`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import cv2
import numpy as np

from fv2es_prep.config import FaceSettings
from fv2es_prep.detectors.compiled import fill_crops, suppress
from fv2es_prep.detectors.networks import CropNetwork
from fv2es_prep.detectors.pyramid import CELL, STRIDE, Passed, Pyramids

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Sums = NDArray[np.int32] | NDArray[np.float64]

# Overlap above which the weaker of two candidates is removed: within a level, across levels, later.
_OVERLAP_IN_LEVEL, _OVERLAP = 0.5, 0.7
# `fast` first skips this many of the finest levels. It accepts a face that is this many times as
# large as the smallest face that the searched levels can find: with 1.5 the finest levels would
# still move the box of one face in 540 by a few pixels, with 2 of none in 11 274.
_SKIPPED_LEVELS, _SURE = 2, 2.0
# Sums below this are exact in 32 bits.
_INT32_MAX = 2**31 - 1


class Mtcnn:
    """Finds faces as facenet-pytorch's ``MTCNN.detect`` does, one picture at a time.

    The cascade is that of Zhang et al. 2016 (arXiv 1604.02878). Pyramid and crops are exact means
    from a table of sums; the networks differ in the last bits, so the other of two nearly equal
    candidates may be kept. The ``fast`` detector looks for small faces only where it finds no large
    one, or if all faces are wanted.
    """

    batch = 1

    def __init__(self, settings: FaceSettings) -> None:
        self._settings = settings
        self._pyramids = Pyramids()
        self._second, self._third = CropNetwork("rnet"), CropNetwork("onet")

    def detect(
        self, pictures: Sequence[NDArray[np.uint8]], every: bool
    ) -> list[NDArray[np.float32]]:
        """Find the largest face, or ``every`` face, of each uint8 (H, W, 3) picture.

        Returns:
            float32 (N, 15) per picture: box, probability, x and y of five points. The box is left,
            top, right, bottom in pixels; the points are eyes, nose and corners of the mouth, from
            left to right. The largest face may be among others.
        """
        fast = self._settings.detector == "fast" and not every
        return [self._detect(rgb, fast) for rgb in pictures]

    def _detect(self, rgb: NDArray[np.uint8], fast: bool) -> NDArray[np.float32]:
        height, width = rgb.shape[:2]
        scales = scales_of(height, width, self._settings)
        sums = sum_table(rgb)
        if fast and len(scales) > _SKIPPED_LEVELS:
            coarse = self._candidates(sums, scales[_SKIPPED_LEVELS:])
            found = self._verified(sums, coarse)
            if _largest_side(found) >= _SURE * CELL / scales[_SKIPPED_LEVELS]:
                return found
            fine = self._candidates(sums, scales[:_SKIPPED_LEVELS])
            return self._verified(sums, fine + coarse)
        return self._verified(sums, self._candidates(sums, scales))

    def _candidates(self, sums: Sums, scales: Sequence[float]) -> list[NDArray[np.float32]]:
        """First network: per level float32 (N, 9) box, probability, correction."""
        height, width = sums.shape[0] - 1, sums.shape[1] - 1
        sizes = tuple((int(height * s + 1), int(width * s + 1)) for s in scales)
        first = self._pyramids.of(sizes)
        whole = np.array([[0, 0, width, height]])
        for level in first.pyramid:
            fill_crops(sums, whole, level[None])
        levels = first.run(self._settings.thresholds[0])
        return [_boxes(passed, scale) for passed, scale in zip(levels, scales, strict=True)]

    def _verified(self, sums: Sums, levels: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
        """Second and third network: float32 (N, 15)."""
        _, second, third = self._settings.thresholds
        found = np.concatenate([level[keep(level, _OVERLAP_IN_LEVEL)] for level in levels])
        found = found[keep(found, _OVERLAP)]
        found = _moved(found, found[:, 5:], 0)
        found, correction = self._passed(self._second, sums, found, second)
        best = keep(found, _OVERLAP)
        found = _moved(found[best], correction[best], 1)
        found, regression = self._passed(self._third, sums, found, third)
        points = _points(found, regression[:, 4:])
        found[:, :4] = _moved(found, regression[:, :4], 1)
        return np.hstack([found, points])[keep(found, _OVERLAP, "smaller")]

    def _passed(
        self,
        network: CropNetwork,
        sums: Sums,
        boxes: NDArray[np.float32],
        threshold: float,
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """The boxes that a network accepts, as squares (N, 5), and its regression."""
        crops, boxes = crop_all(sums, _squares(boxes), network.side)
        if not len(boxes):
            return np.zeros((0, 5), np.float32), np.zeros((0, network.width), np.float32)
        probability, regression = network.run(crops)
        passed = probability > np.float32(threshold)
        return np.column_stack([boxes, probability])[passed], regression[passed]


def scales_of(height: int, width: int, settings: FaceSettings) -> list[float]:
    """The scale of each pyramid level, the finest first: it maps the smallest face to 12 pixels."""
    scale = CELL / settings.min_face_px
    shortest, scales = min(height, width) * scale, []
    while shortest >= CELL:
        scales.append(scale)
        scale, shortest = scale * settings.factor, shortest * settings.factor
    return scales


def sum_table(rgb: NDArray[np.uint8]) -> Sums:
    """Sums of all pixels above and to the left (Crow 1984), int32 or float64 (H + 1, W + 1, 3)."""
    depth = cv2.CV_32S if rgb.size // 3 * 255 <= _INT32_MAX else cv2.CV_64F
    table: Sums = cv2.integral(rgb, sdepth=depth)  # type: ignore[assignment]  # cv2: any numbers
    return table


def crop_all(
    sums: Sums, boxes: NDArray[np.float32], side: int
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Each of N boxes scaled to a square by exact means over its pixels.

    Returns:
        float32 (M, side, side, 3), and the M boxes that overlap the picture.
    """
    height, width = sums.shape[0] - 1, sums.shape[1] - 1
    corners = boxes[:, :4].astype(np.int64)
    corners[:, :2] = np.maximum(corners[:, :2], 1) - 1
    corners[:, 2:] = np.minimum(corners[:, 2:], (width, height))
    inside = (corners[:, 2:] > corners[:, :2]).all(axis=1)
    boxes, corners = boxes[inside], corners[inside]
    crops = np.empty((len(boxes), side, side, 3), np.float32)
    fill_crops(sums, corners, crops)
    return crops, boxes


def keep(
    boxes: NDArray[np.float32], overlap: float, of: Literal["union", "smaller"] = "union"
) -> NDArray[np.int64]:
    """Greedy non-maximum suppression: return the kept rows, most probable first.

    Boxes are float32 (N, 5 or more) with the probability in the fifth column. A box is removed if
    it overlaps a kept one by more than a share ``of`` the union (torchvision's ``nms``), or of the
    smaller box with edges counted in whole pixels (facenet-pytorch's ``Min``).
    """
    # Order of equal probabilities: torchvision takes the first, facenet-pytorch the last.
    smaller = of == "smaller"
    if smaller:
        order = np.flip(np.argsort(boxes[:, 4])).copy()
    else:
        order = np.argsort(-boxes[:, 4], kind="stable")
    kept: NDArray[np.int64] = suppress(
        boxes, order, np.float32(overlap), np.float32(smaller), smaller
    )
    return kept


def _boxes(passed: Passed, scale: float) -> NDArray[np.float32]:
    """The windows of a level as float32 (N, 9): box in pixels of the picture, the rest as it is."""
    corners = STRIDE * passed.places[:, ::-1]
    edges = np.hstack([corners + 1, corners + CELL]).astype(np.float32)
    boxes = np.floor(edges / np.float32(scale))
    return np.column_stack([boxes, passed.probability, passed.correction])


def _squares(boxes: NDArray[np.float32]) -> NDArray[np.float32]:
    """Each box extended about its centre to a square of its longer side."""
    half = np.float32(0.5)
    size = boxes[:, 2:4] - boxes[:, :2]
    side = size.max(axis=1, keepdims=True)
    begin = boxes[:, :2] + size * half - side * half
    return np.hstack([begin, begin + side])


def _moved(
    boxes: NDArray[np.float32], correction: NDArray[np.float32], edge: int
) -> NDArray[np.float32]:
    """Each side moved by a share of the box's size, plus ``edge`` pixels."""
    size = boxes[:, 2:4] - boxes[:, :2] + np.float32(edge)
    return boxes[:, :4] + correction * np.hstack([size, size])


def _points(boxes: NDArray[np.float32], shares: NDArray[np.float32]) -> NDArray[np.float32]:
    """Five points as x, y, x, y, ... in pixels, from shares of the box, x before y."""
    one = np.float32(1)
    size = boxes[:, 2:4] - boxes[:, :2] + one
    axes = [
        size[:, i : i + 1] * shares[:, 5 * i : 5 * i + 5] + boxes[:, i : i + 1] - one
        for i in (0, 1)
    ]
    return np.stack(axes, axis=2).reshape(-1, 10)


def _largest_side(boxes: NDArray[np.float32]) -> float:
    if not len(boxes):
        return 0.0
    return float((boxes[:, 2:4] - boxes[:, :2]).max())
