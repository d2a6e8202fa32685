"""From a view to the speaker's face: detect, crop to a small square, or fall back to the centre.

Owns the choice of the face, the crop and the fallback. Leaves detection to `mtcnn`, `facenet` and
`yunet`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fv2es_prep.config import FaceSettings
from fv2es_prep.media.view import centre_square

if TYPE_CHECKING:
    from numpy.typing import NDArray


class Face(NamedTuple):
    """One face.

    Attributes:
        rgb: uint8 (S, S, 3).
        box: float32 (4,), left, top, right, bottom in pixels of the view.
        prob: probability from 0 to 1.
        found: False for the fallback.
        points: float32 (5, 2), x and y of eyes, nose and corners of the mouth in pixels of the
            view; None for the fallback.
    """

    rgb: NDArray[np.uint8]
    box: NDArray[np.float32]
    prob: float
    found: bool
    points: NDArray[np.float32] | None = None


class FaceDetector:
    """MTCNN (Zhang et al. 2016, arXiv 1604.02878) with facenet-pytorch's weights, or YuNet.

    Crops are facenet-pytorch's.

    Pictures are uint8 (H, W, 3) RGB of any sizes.

    Args:
        settings: the detector and its options.
        device: ``cpu`` or torch's name of a GPU, which takes pictures in batches.
        model: the model file of YuNet, which runs on the CPU.

    Raises:
        UsageError: the device does not exist.
        TokenizerError: YuNet's file is missing or another one.
    """

    def __init__(
        self, settings: FaceSettings, device: str = "cpu", model: str | None = None
    ) -> None:
        self.settings = settings
        self._finder: Facenet | Mtcnn | Yunet
        if settings.detector == "yunet":
            from fv2es_prep.detectors.yunet import Yunet

            self._finder = Yunet(settings, model)
        # On a GPU, facenet-pytorch's own networks are fast enough.
        elif settings.detector == "facenet" or device != "cpu":
            from fv2es_prep.detectors.facenet import Facenet

            self._finder = Facenet(settings, device)
        else:
            from fv2es_prep.detectors.mtcnn import Mtcnn

            self._finder = Mtcnn(settings)

    @property
    def batch(self) -> int:
        """The fastest number of pictures per call."""
        return self._finder.batch

    def largest(self, pictures: Sequence[NDArray[np.uint8]]) -> list[Face]:
        """The largest face of each picture, or the fallback where there is none."""
        # facenet-pytorch crops the largest box, or the centre if that box lies outside.
        found = zip(pictures, self._find(pictures, every=False), strict=True)
        return [next(self._faces(rgb, rows[:1]), None) or self.fallback(rgb) for rgb, rows in found]

    def every(self, pictures: Sequence[NDArray[np.uint8]]) -> list[list[Face]]:
        """All faces of each picture, the largest first."""
        found = zip(pictures, self._find(pictures, every=True), strict=True)
        return [list(self._faces(rgb, rows)) for rgb, rows in found]

    def _find(
        self, pictures: Sequence[NDArray[np.uint8]], every: bool
    ) -> list[NDArray[np.float32]]:
        """Rows of `Mtcnn.detect` by box size, largest first; of equal ones the last first."""
        found = [np.zeros((0, 15), np.float32)] * len(pictures)
        shapes: dict[tuple[int, ...], list[int]] = {}
        for place, rgb in enumerate(pictures):
            # A picture smaller than the smallest face has no pyramid level.
            if min(rgb.shape[:2]) >= self.settings.min_face_px:
                shapes.setdefault(rgb.shape, []).append(place)
        for places in shapes.values():
            boxes = self._finder.detect([pictures[place] for place in places], every)
            for place, rows in zip(places, boxes, strict=True):
                areas = (rows[:, 2] - rows[:, 0]) * (rows[:, 3] - rows[:, 1])
                found[place] = rows[np.argsort(areas)[::-1]]
        return found

    def _faces(self, rgb: NDArray[np.uint8], rows: NDArray[np.float32]) -> Iterator[Face]:
        for row in rows:
            crop = self._crop(rgb, row[:4])
            if crop is not None:
                yield Face(crop, row[:4], row[4], True, row[5:].reshape(5, 2))

    def _crop(self, rgb: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8] | None:
        """facenet-pytorch's ``extract_face``; None where the box lies outside the picture."""
        import cv2

        side, margin = self.settings.image_size_px, self.settings.margin_px
        height, width = rgb.shape[:2]
        wide = margin * (box[2] - box[0]) / (side - margin) / 2
        tall = margin * (box[3] - box[1]) / (side - margin) / 2
        left, top = int(max(box[0] - wide, 0)), int(max(box[1] - tall, 0))
        right, bottom = int(min(box[2] + wide, width)), int(min(box[3] + tall, height))
        if right <= left or bottom <= top:
            return None
        cut = rgb[top:bottom, left:right]
        crop = cv2.resize(cut, (side, side), interpolation=cv2.INTER_AREA)
        return crop.astype(np.uint8, copy=False)

    def fallback(self, rgb: NDArray[np.uint8]) -> Face:
        """The patch that replaces a missing face, cut without scaling; its ``prob`` is 0."""
        side = self.settings.image_size_px
        height, width = rgb.shape[:2]
        # The published model computes the columns from the height, and half a side too far left.
        # Its views are squares; in other views that place may lie outside.
        above = (height - side) // 2
        before = above - side // 2
        within = before >= 0 and before + side <= width
        if self.settings.fallback == "published" and within:
            box = np.array([before, above, before + side, above + side], np.float32)
            patch = rgb[above : above + side, before : before + side]
            return Face(patch.copy(), box, 0.0, False)
        left, top = (width - side) / 2, (height - side) / 2
        box = np.array([left, top, left + side, top + side], np.float32)
        return Face(centre_square(rgb, side), box, 0.0, False)
