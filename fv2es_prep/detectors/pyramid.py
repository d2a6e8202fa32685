"""The first network over all levels of a pyramid: which windows pass, and their exact values.

Owns the rough pass in bfloat16 and its check in float32. Leaves the graphs to `networks`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import openvino as ov
from numpy.lib.stride_tricks import sliding_window_view

from fv2es_prep.detectors.networks import first_network, window_network
from fv2es_prep.utils.openvino_core import has_bfloat16

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Size = tuple[int, int]

# Side of a window, and step between windows, in pixels of the level.
CELL, STRIDE = 12, 2
# A window is computed in float32 if its rough probability is at most this far below the threshold.
# Over 14 million windows of real pictures bfloat16 was off by at most 0.06.
_MARGIN = 0.15
# A larger error than this casts doubt on the margin: the whole pyramid is computed in float32.
_DOUBT = 0.1
# Smaller pyramids are not worth two passes.
_LEAST_PIXELS = 200_000
# A window alone costs as much as this many windows of a level.
_ALONE = 24
# Windows per call of the network for single windows. Its values are those of a whole level bit
# for bit; with other numbers of windows OpenVINO may choose another order of additions.
_BATCH = 16


class Passed(NamedTuple):
    """The windows of one level that pass the threshold, by rows.

    Attributes:
        places: int64 (N, 2), row and column of the window.
        probability: float32 (N,).
        correction: float32 (N, 4), of the four edges as shares of the window.
    """

    places: NDArray[np.int64]
    probability: NDArray[np.float32]
    correction: NDArray[np.float32]


class PyramidNetwork:
    """The first network over all levels of a pyramid, finding windows of a probability.

    A rough pass in bfloat16 takes half the time of float32. It rejects most windows, and only the
    others are computed in float32. The result is that of float32 alone, bit for bit.

    Args:
        sizes: height and width of each level.
        rough: whether to make the rough pass; by default if the processor has bfloat16 and the
            pyramid is large.

    Attributes:
        pyramid: float32 (h, w, 3) per level, the input, to be filled.
    """

    def __init__(self, sizes: Sequence[Size], rough: bool | None = None) -> None:
        self.pyramid = [np.empty((*size, 3), np.float32) for size in sizes]
        self._sizes = sizes
        if rough is None:
            pixels = sum(height * width for height, width in sizes)
            rough = pixels >= _LEAST_PIXELS and has_bfloat16()
        self._rough = self._request(rough=True) if rough else None
        # Made when it is first needed, which with a rough pass is rare.
        self._exact: ov.InferRequest | None = None
        self._single: dict[Size, ov.InferRequest] = {}

    def run(self, threshold: float) -> list[Passed]:
        """The windows of each level with at least this probability."""
        least = threshold - _MARGIN
        if self._rough is None or not 0 < least < 1:
            return self._run_exact(threshold)
        self._rough.infer()
        odds = math.log(least / (1 - least))
        maps = [self._rough.get_output_tensor(i).data[0, 0] for i in range(len(self.pyramid))]
        near = [np.argwhere(level >= odds) for level in maps]
        if _ALONE * sum(map(len, near)) > sum(level.size for level in maps):
            return self._run_exact(threshold)
        exact = self._windows(near)
        for level, passed in zip(maps, exact, strict=True):
            rough = 1 / (1 + np.exp(-level[passed.places[:, 0], passed.places[:, 1]]))
            if np.abs(rough - passed.probability).max(initial=0) > _DOUBT:
                return self._run_exact(threshold)
        return [_at_least(passed, threshold) for passed in exact]

    def _run_exact(self, threshold: float) -> list[Passed]:
        """Compute every window in float32."""
        if self._exact is None:
            self._exact = self._request(rough=False)
        self._exact.infer()
        found = []
        for i in range(len(self.pyramid)):
            probability = self._exact.get_output_tensor(2 * i).data[0, 1]
            correction = self._exact.get_output_tensor(2 * i + 1).data[0]
            places = np.argwhere(probability >= np.float32(threshold))
            at = places[:, 0], places[:, 1]
            found.append(Passed(places, probability[at], correction[:, *at].T))
        return found

    def _windows(self, near: Sequence[NDArray[np.int64]]) -> list[Passed]:
        """Compute single windows of each level in float32, those of equal size together."""
        groups: dict[Size, list[tuple[int, NDArray[np.int64]]]] = {}
        found = []
        for number, (level, places) in enumerate(zip(self.pyramid, near, strict=True)):
            count = len(places)
            values = np.empty(count, np.float32), np.empty((count, 4), np.float32)
            found.append(Passed(places, *values))
            # The last window of an odd number of pixels is one pixel smaller.
            sizes = np.minimum(level.shape[:2] - STRIDE * places, CELL)
            for size in ((CELL, CELL), (CELL, CELL - 1), (CELL - 1, CELL), (CELL - 1, CELL - 1)):
                rows = np.flatnonzero((sizes == size).all(axis=1))
                if len(rows):
                    groups.setdefault(size, []).append((number, rows))
        for size, members in groups.items():
            self._compute(size, members, found)
        return found

    def _compute(
        self, size: Size, members: Sequence[tuple[int, NDArray[np.int64]]], found: list[Passed]
    ) -> None:
        """Fill the values of windows of one size: ``members`` are levels with rows of ``found``."""
        pixels = []
        for number, rows in members:
            y, x = STRIDE * found[number].places[rows].T
            pixels.append(sliding_window_view(self.pyramid[number], (*size, 3))[y, x, 0])
        windows = np.concatenate(pixels)
        values = np.empty((len(windows), 5), np.float32)
        request = self._single_request(size)
        crops = request.get_input_tensor(0).data
        probability, correction = (request.get_output_tensor(i).data for i in (0, 1))
        for first in range(0, len(windows), _BATCH):
            count = len(windows[first : first + _BATCH])
            crops[:count] = windows[first : first + count]
            request.infer()
            values[first : first + count, 0] = probability[:count, 1, 0, 0]
            values[first : first + count, 1:] = correction[:count, :, 0, 0]
        ends = np.cumsum([len(rows) for _, rows in members])
        for (number, rows), part in zip(members, np.split(values, ends[:-1]), strict=True):
            found[number].probability[rows] = part[:, 0]
            found[number].correction[rows] = part[:, 1:]

    def _request(self, rough: bool) -> ov.InferRequest:
        request = first_network(self._sizes, rough).create_infer_request()
        for i, level in enumerate(self.pyramid):
            request.set_input_tensor(i, ov.Tensor(level[None], shared_memory=True))
        return request

    def _single_request(self, size: Size) -> ov.InferRequest:
        if size not in self._single:
            self._single[size] = window_network(_BATCH, *size).create_infer_request()
            self._single[size].get_input_tensor(0).data[:] = 0
        return self._single[size]


class Pyramids:
    """First networks by pyramid; the least recently used one is removed first.

    A network takes about 110 bytes per pixel of its pyramid. At most ``most`` networks and
    ``most_pixels`` pixels are held, but always the two newest: the ``fast`` detector takes two per
    picture.
    """

    def __init__(self, most: int = 16, most_pixels: int = 4_000_000) -> None:
        self._most, self._most_pixels = most, most_pixels
        self._held: dict[tuple[Size, ...], PyramidNetwork] = {}

    def __len__(self) -> int:
        return len(self._held)

    def of(self, sizes: tuple[Size, ...]) -> PyramidNetwork:
        """The network of a pyramid, by height and width of each level."""
        network = self._held.pop(sizes, None) or PyramidNetwork(sizes)
        self._held[sizes] = network
        while len(self._held) > 2 and self._too_much():
            del self._held[next(iter(self._held))]
        return network

    def _too_much(self) -> bool:
        pixels = sum(height * width for sizes in self._held for height, width in sizes)
        return len(self._held) > self._most or pixels > self._most_pixels


def _at_least(passed: Passed, threshold: float) -> Passed:
    chosen = passed.probability >= np.float32(threshold)
    return Passed(passed.places[chosen], passed.probability[chosen], passed.correction[chosen])
