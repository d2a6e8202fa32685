"""facenet-pytorch's own MTCNN: the yardstick of our cascade, and what runs on a GPU.

Owns handing it pictures such that it does not fail. Leaves which face is taken to `faces`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fv2es_prep.config import FaceSettings
from fv2es_prep.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH_ON_GPU = 32


class Facenet:
    """facenet-pytorch's networks and its code around them.

    One picture at a time on the CPU: its answer depends slightly on what else is in a batch. On a
    GPU in batches.

    Args:
        settings: smallest face, thresholds and step of the pyramid.
        device: torch's name of the device.

    Raises:
        UsageError: there is no such device here.

    Attributes:
        batch: pictures taken at once.
    """

    def __init__(self, settings: FaceSettings, device: str = "cpu") -> None:
        import torch
        from facenet_pytorch import MTCNN

        if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
            raise UsageError(
                f"there is no device {device!r} to look for faces on",
                "name cpu, or cuda where the machine and its torch have a GPU",
            )
        self.batch = 1 if device == "cpu" else _BATCH_ON_GPU
        self._mtcnn = MTCNN(
            min_face_size=settings.min_face_px,
            thresholds=list(settings.thresholds),
            factor=settings.factor,
            device=device,
        )

    def detect(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.float32]]:
        """All faces of pictures of one size.

        Args:
            pictures: uint8 (H, W, 3), colour order RGB.

        Returns:
            float32 (N, 15) for each: left, top, right, bottom in pixels, probability, x and y of
            five points: the eyes, the nose, the corners of the mouth, from left to right.
        """
        import numpy as np
        import torch
        from facenet_pytorch.models.utils.detect_face import detect_face

        nets = self._mtcnn
        found: list[NDArray[np.float32]] = []
        for begin in range(0, len(pictures), self.batch):
            stacked = np.stack(pictures[begin : begin + self.batch])
            with torch.no_grad():
                boxes, points = detect_face(
                    stacked,
                    nets.min_face_size,
                    nets.pnet,
                    nets.rnet,
                    nets.onet,
                    nets.thresholds,
                    nets.factor,
                    nets.device,
                )
            for rows, places in zip(boxes, points, strict=True):
                five = np.asarray(places, np.float32).reshape(-1, 10)
                found.append(np.hstack([np.asarray(rows, np.float32).reshape(-1, 5), five]))
        return found
