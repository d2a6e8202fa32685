"""facenet-pytorch's own MTCNN: the reference for `mtcnn`, and the detector on a GPU."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.config import FaceSettings
from fv2es_prep.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BATCH_ON_GPU = 32


class Facenet:
    """facenet-pytorch's networks and cascade.

    On the CPU it takes one picture at a time: results depend slightly on the rest of a batch.

    Args:
        settings: smallest face, thresholds and factor of the pyramid.
        device: torch's name of the device.

    Raises:
        UsageError: the device does not exist.
    """

    def __init__(self, settings: FaceSettings, device: str = "cpu") -> None:
        import torch
        from facenet_pytorch.models.mtcnn import ONet, PNet, RNet

        if device != "cpu" and not (device.startswith("cuda") and torch.cuda.is_available()):
            raise UsageError(
                f"there is no device {device!r} to detect faces on, expected cpu, or cuda with "
                "a GPU",
                "pass --device cpu, or install torch with CUDA on a machine with a GPU",
            )
        self.batch = 1 if device == "cpu" else _BATCH_ON_GPU
        networks = (network().to(device) for network in (PNet, RNet, ONet))
        thresholds = list(settings.thresholds)
        self._options = settings.min_face_px, *networks, thresholds, settings.factor, device

    def detect(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        every: bool,  # noqa: ARG002  # as in Mtcnn
    ) -> list[NDArray[np.float32]]:
        """Like `Mtcnn.detect`, for pictures of one size; always finds every face."""
        import torch
        from facenet_pytorch.models.utils.detect_face import detect_face

        found: list[NDArray[np.float32]] = []
        for begin in range(0, len(pictures), self.batch):
            stacked = np.stack(pictures[begin : begin + self.batch])
            with torch.no_grad():
                boxes, points = detect_face(stacked, *self._options)
            for rows, places in zip(boxes, points, strict=True):
                five = np.asarray(places, np.float32).reshape(-1, 10)
                found.append(np.hstack([np.asarray(rows, np.float32).reshape(-1, 5), five]))
        return found
