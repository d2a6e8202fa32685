"""The compact form of faces and spectra: JPEG files, and 8-bit steps of the logarithm.

Owns both encodings. Encoding loses something, so it happens once, in `example`; from then on the
encoded bytes travel with the example and what is trained on is what they decode to. Leaves where
the bytes lie to `shards`.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MelSettings, StorageSettings
from fv2es_prep.errors import REBUILD_HINT, ShardError
from fv2es_prep.types import Faces, MelSpectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 255


class JpegFaces(Faces):
    """Faces as JPEG files; the pixels are decoded when they are first looked at.

    Args:
        files: uint8 (B,), the files of all faces end to end.
        sizes: uint32 (F,), bytes of each file.
        side_px: side of a face.
        times_s: as of `Faces`.
        found: as of `Faces`.
        box: as of `Faces`.
        prob: as of `Faces`.
        place: where the files are from, for the message of an error.

    Raises:
        ShardError: on looking at ``rgb``, if a file cannot be decoded.
    """

    files: NDArray[np.uint8]
    sizes: NDArray[np.uint32]
    side_px: int
    place: str

    def __init__(
        self,
        files: NDArray[np.uint8],
        sizes: NDArray[np.uint32],
        side_px: int,
        times_s: NDArray[np.float64],
        found: NDArray[np.bool_],
        box: NDArray[np.float32],
        prob: NDArray[np.float32],
        place: str = "",
    ) -> None:
        # Faces is frozen, and its constructor would look at the pixels.
        vars(self).update(files=files, sizes=sizes, side_px=side_px, place=place)
        vars(self).update(times_s=times_s, found=found, box=box, prob=prob)

    @functools.cached_property
    def rgb(self) -> NDArray[np.uint8]:
        """uint8 (F, S, S, 3), colour order RGB."""
        pixels = np.empty((len(self.sizes), self.side_px, self.side_px, 3), np.uint8)
        end = 0
        for face, size in zip(pixels, self.sizes.tolist(), strict=True):
            begin, end = end, end + size
            face[:] = self._decoded(self.files[begin:end])
        return pixels

    def _decoded(self, file: NDArray[np.uint8]) -> NDArray[np.uint8]:
        import cv2

        try:
            bgr = cv2.imdecode(file, cv2.IMREAD_COLOR)
        except cv2.error:
            bgr = None
        shape = (self.side_px, self.side_px, 3)
        if bgr is None or bgr.shape != shape:
            found = "what is none" if bgr is None else f"one of {bgr.shape}"
            raise ShardError(
                f"{self.place} is damaged: a JPEG file of {shape} is {found}", REBUILD_HINT
            )
        rgb: NDArray[Any] = bgr[..., ::-1]
        return rgb


class MelSteps(MelSpectrum):
    """A spectrum as steps of a fixed grid; the logarithm is looked up when it is first asked for.

    Args:
        steps: uint8 (T, M).
        settings: of the spectrum; they decide the grid.
    """

    steps: NDArray[np.uint8]
    settings: MelSettings

    def __init__(self, steps: NDArray[np.uint8], settings: MelSettings) -> None:
        if steps.ndim != 2:
            raise ValueError(f"mel has the shape {steps.shape}, expected (T, M)")
        vars(self).update(steps=steps, settings=settings, hop_s=settings.hop_s)

    @functools.cached_property
    def log_power(self) -> NDArray[np.float16]:
        """float16 (T, M), natural logarithm of the power."""
        return mel_grid(self.settings)[self.steps]


def stored_faces(faces: Faces, storage: StorageSettings) -> Faces:
    """Faces in the form in which they are stored; those that have it already are left as they are.

    Args:
        faces: as cut, or as read from a shard with the same settings.
        storage: the form: JPEG has the full resolution of colour (4:4:4).
    """
    if storage.faces == "raw" or isinstance(faces, JpegFaces):
        return faces
    import cv2

    options = (
        *(cv2.IMWRITE_JPEG_QUALITY, storage.jpeg_quality),
        *(cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
        # Huffman tables of the face's own: a fifth of so small a file.
        *(cv2.IMWRITE_JPEG_OPTIMIZE, 1),
    )
    files = [
        cv2.imencode(".jpg", np.ascontiguousarray(face[..., ::-1]), options)[1].ravel()
        for face in faces.rgb
    ]
    return JpegFaces(
        files=np.concatenate([np.zeros(0, np.uint8), *files]),
        sizes=np.array([len(file) for file in files], np.uint32),
        side_px=faces.rgb.shape[1],
        times_s=faces.times_s,
        found=faces.found,
        box=faces.box,
        prob=faces.prob,
    )


def stored_mel(mel: MelSpectrum, storage: StorageSettings, settings: MelSettings) -> MelSpectrum:
    """A spectrum in the form in which it is stored; one that has it already is left as it is.

    Args:
        mel: as computed, or as read from a shard with the same settings.
        storage: the form.
        settings: of the spectrum; what is above their grid is stored as its top.
    """
    if storage.mel == "float16" or isinstance(mel, MelSteps):
        return mel
    low, width = _grid(settings)
    steps = np.rint((mel.log_power.astype(np.float32) - low) / width)
    return MelSteps(np.clip(steps, 0, _STEPS).astype(np.uint8), settings)


@functools.lru_cache(maxsize=8)
def mel_grid(settings: MelSettings) -> NDArray[np.float16]:
    """The logarithm of power that each of the 256 steps stands for: float16 (256,).

    The grid goes in equal steps from the logarithm of the floor to that of 3/16 of the window's
    length squared, 30 000 for 400: by Parseval's theorem no sound within full scale has more power
    in a band (a Hann window, and bands of at most weight 1).
    """
    low, width = _grid(settings)
    return (low + width * np.arange(_STEPS + 1)).astype(np.float16)


def _grid(settings: MelSettings) -> tuple[float, float]:
    """The lowest value of the grid and the width of a step, in ln power."""
    low = math.log(settings.floor)
    return low, (math.log(3 / 16 * settings.n_fft**2) - low) / _STEPS
