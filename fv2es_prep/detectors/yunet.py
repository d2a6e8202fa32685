"""YuNet, a face detector with the user's model file: `face_detection_yunet_*.onnx` of OpenCV's zoo.

Owns the file, its checks and its description. OpenCV decodes the network's outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from fv2es_prep.config import FaceSettings
from fv2es_prep.errors import TokenizerError
from fv2es_prep.utils.files import sha256_of

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The network was trained on faces of 10 to 300 pixels, so larger pictures are reduced.
_LONGEST_PX = 640
_OVERLAP = 0.3
_MOST_CANDIDATES = 5000


class Yunet:
    """Finds faces with YuNet (Wu et al. 2023, doi 10.1007/s11633-023-1423-y) on the CPU.

    Pictures with a side above 640 pixels are reduced. Boxes below ``min_face_px`` and
    probabilities below the last of ``thresholds`` are left out.

    Args:
        settings: ``model_sha256`` is the SHA-256 of the file.
        path: the ONNX file; None if it is not known.

    Raises:
        TokenizerError: the file is missing, differs, or is no YuNet.
    """

    batch = 1

    def __init__(self, settings: FaceSettings, path: str | None) -> None:
        hint = "pass the file that made the shards: --encoder faces:FILE"
        of = f"the face detector yunet needs its model file ({settings.model_sha256[:12]})"
        if path is None or not Path(path).is_file():
            raise TokenizerError(f"{of}, but {path or 'none'} is there", hint)
        if (found := sha256_of(Path(path))) != settings.model_sha256:
            raise TokenizerError(f"{of}, but {path} is another one ({found[:12]})", hint)
        self._least_px = settings.min_face_px
        self._network = _network(Path(path), settings.thresholds[-1])

    def detect(
        self,
        pictures: Sequence[NDArray[np.uint8]],
        every: bool,  # noqa: ARG002  # as in Mtcnn
    ) -> list[NDArray[np.float32]]:
        """Like `Mtcnn.detect`; always finds every face."""
        return [self._detect(rgb) for rgb in pictures]

    def _detect(self, rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = rgb.shape[:2]
        scale = min(1.0, _LONGEST_PX / max(height, width))
        bgr = cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2BGR)
        if scale < 1:
            size = max(1, round(width * scale)), max(1, round(height * scale))
            bgr = cv2.resize(bgr, size, interpolation=cv2.INTER_AREA)
        self._network.setInputSize((bgr.shape[1], bgr.shape[0]))
        # Rows: left, top, width, height, then x and y of five points, then the probability.
        rows = self._network.detect(bgr)[1]
        if rows is None:
            return np.zeros((0, 15), np.float32)
        places = rows[:, :14] / np.float32(scale)
        size = places[:, 2:4]
        kept = size.min(axis=1) >= self._least_px
        box = np.hstack([places[:, :2], places[:, :2] + size])
        found: NDArray[np.float32] = np.hstack([box, rows[:, 14:], places[:, 4:]])[kept]
        return found


def with_model(settings: FaceSettings, path: Path) -> FaceSettings:
    """The settings of YuNet with a model file.

    Raises:
        TokenizerError: the file is missing, or is no YuNet.
    """
    if not path.is_file():
        raise TokenizerError(
            f"the model file of the face detector, {path}, is missing",
            "download face_detection_yunet_2023mar.onnx of OpenCV's model zoo, and pass "
            "faces:FILE among --stages",
        )
    _network(path, settings.thresholds[-1])
    return replace(settings, detector="yunet", model_sha256=sha256_of(path))


def _network(path: Path, threshold: float) -> Any:
    # OpenCV says on stderr which engine it does not use, and takes every core.
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_ERROR)
    cv2.setNumThreads(1)
    try:
        network = cv2.FaceDetectorYN.create(
            str(path), "", (64, 64), threshold, _OVERLAP, _MOST_CANDIDATES
        )
        network.detect(np.zeros((64, 64, 3), np.uint8))
    except cv2.error as error:
        raise TokenizerError(
            f"{path} is not a model of YuNet: {error.err or error.msg}",
            "download face_detection_yunet_2023mar.onnx of OpenCV's model zoo",
        ) from error
    return network
