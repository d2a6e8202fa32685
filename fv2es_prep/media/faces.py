"""From a view to the speaker's face: found by MTCNN, cut to a small square, or the centre instead.

Owns detection and the fall-back. Leaves to the model how faces are normalised.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

from fv2es_prep.media.video import centre_square
from fv2es_prep.settings import FaceSettings
from fv2es_prep.types import Faces

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class Face(NamedTuple):
    """One face: rgb uint8 (S, S, 3), box float32 (4,) in pixels of the view, prob in [0, 1]."""

    rgb: NDArray[np.uint8]
    box: NDArray[np.float32]
    prob: float
    found: bool


class FaceDetector:
    """facenet-pytorch's MTCNN with its own weights (Zhang et al. 2016, arXiv 1604.02878).

    One picture at a time: facenet-pytorch's answer depends slightly on what else is in a batch,
    and its batches fail when one picture holds no face.
    """

    def __init__(self, settings: FaceSettings) -> None:
        from facenet_pytorch import MTCNN

        self.settings = settings
        self._mtcnn = MTCNN(
            image_size=settings.image_size_px,
            margin=settings.margin_px,
            min_face_size=settings.min_face_px,
            thresholds=list(settings.thresholds),
            factor=settings.factor,
            post_process=False,
            select_largest=True,
        )

    def largest(self, rgb: NDArray[np.uint8]) -> Face:
        """The largest face of a picture, or its centre where there is none.

        Args:
            rgb: uint8 (H, W, 3), colour order RGB.

        Returns:
            The face; ``found`` is False and ``prob`` 0 where the centre stands in, cut without
            scaling.
        """
        import numpy as np

        # Below the smallest face there is no pyramid level, and facenet-pytorch fails on none.
        if min(rgb.shape[:2]) >= self.settings.min_face_px:
            boxes, probs = self._mtcnn.detect(rgb)
            if boxes is not None:
                crop = self._crop(rgb, boxes[0])
                if crop is not None:
                    return Face(crop, boxes[0].astype(np.float32), float(probs[0]), True)
        return self._centre(rgb)

    def _crop(self, rgb: NDArray[np.uint8], box: NDArray[np.float32]) -> NDArray[np.uint8] | None:
        from facenet_pytorch.models.utils.detect_face import extract_face

        height, width = rgb.shape[:2]
        # A box that lies outside the picture leaves nothing to cut.
        if box[2] < 1 or box[3] < 1 or box[0] > width - 1 or box[1] > height - 1:
            return None
        size, margin = self.settings.image_size_px, self.settings.margin_px
        planes = extract_face(rgb, box, image_size=size, margin=margin)
        crop: NDArray[np.uint8] = planes.byte().permute(1, 2, 0).contiguous().numpy()
        return crop

    def _centre(self, rgb: NDArray[np.uint8]) -> Face:
        import numpy as np

        side = self.settings.image_size_px
        height, width = rgb.shape[:2]
        left, top = (width - side) / 2, (height - side) / 2
        box = np.array([left, top, left + side, top + side], np.float32)
        return Face(centre_square(rgb, side), box, 0.0, False)


def crop_faces(frames: Iterable[tuple[float, NDArray[np.uint8]]], detector: FaceDetector) -> Faces:
    """The face of each picture, taken as the pictures come, so that none is held.

    Args:
        frames: (time in seconds, uint8 (H, W, 3)) in order of time.
        detector: a loaded detector.

    Returns:
        Faces with as many rows as there were pictures, possibly none.
    """
    import numpy as np

    side = detector.settings.image_size_px
    times, faces = [], []
    for time_s, rgb in frames:
        times.append(time_s)
        faces.append(detector.largest(rgb))
    return Faces(
        rgb=np.array([face.rgb for face in faces], np.uint8).reshape(-1, side, side, 3),
        times_s=np.array(times, np.float64),
        found=np.array([face.found for face in faces], np.bool_),
        box=np.array([face.box for face in faces], np.float32).reshape(-1, 4),
        prob=np.array([face.prob for face in faces], np.float32),
    )
