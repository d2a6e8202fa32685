"""Compare inputs of the published network with those of a reference: spectrum and faces.

Both lines of the parity table are optional, because they need methods of the reference, see
`parity`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Half

RATE_HZ, SECONDS, PICTURES = 16_000, 3, 20
# Smaller power is stored as this value; larger power is stored as float16, within 0.5 %.
_FLOOR = 1.2e-7


@runtime_checkable
class HearsSound(Protocol):
    """A reference that computes the spectrum."""

    def mel(self, sound: NDArray[np.float32], rate_hz: int) -> NDArray[np.float32]:
        """Map sound, float32 (S,), -1 to 1, to linear power (T, 128)."""


@runtime_checkable
class FindsFaces(Protocol):
    """A reference that finds faces."""

    def faces(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[Any] | None]:
        """Find the face in each picture, uint8 (H, W, 3): (48, 48, 3), 0 to 255, or None."""


def mel_difference(reference: HearsSound) -> float:
    """The largest relative difference of power above the floor, for three seconds of noise."""
    from fv2es_prep.config import MelSettings
    from fv2es_prep.stages.mel import mel_spectrum
    from fv2es_prep.types import Waveform

    rng = np.random.default_rng(0)
    loudness = np.linspace(0, 0.3, RATE_HZ * SECONDS)
    sound = np.asarray(rng.normal(0, 1, RATE_HZ * SECONDS) * loudness, np.float32).clip(-1, 1)
    ours = mel_spectrum(Waveform(sound, RATE_HZ), MelSettings()).power
    theirs = reference.mel(sound, RATE_HZ)
    if ours.shape != theirs.shape:
        return float("inf")
    loud = theirs > _FLOOR
    return float((np.abs(ours - theirs)[loud] / theirs[loud]).max())


def face_differences(reference: FindsFaces, video: Path, half: Half = "full") -> Iterator[float]:
    """Yield the difference in grey levels between our face and that of the reference.

    The pictures are half a second apart and show one half of the video. Ours are those of
    ``--preset published`` for IEMOCAP: the central 224 pixels, as JPEG. If only one of them finds a
    face, the difference is infinite.
    """
    from fv2es_prep.config import FaceSettings, FrameSettings
    from fv2es_prep.detectors.detector import FaceDetector
    from fv2es_prep.media.recording import OpenRecording
    from fv2es_prep.media.view import cut_view
    from fv2es_prep.types import Recording, Utterance, View

    utterance = Utterance("parity", "parity", 0.0, PICTURES / 2, "", (), view=View(half))
    with OpenRecording(Recording("parity", video, None), [utterance], FrameSettings()) as source:
        pictures = [rgb for _, rgb in source.frames(utterance)]
    views = [cut_view(rgb, View(crop_px=224), "cut") for rgb in pictures]
    ours = FaceDetector(FaceSettings(fallback="published")).largest(views)
    for own, theirs in zip(ours, reference.faces(pictures), strict=True):
        if theirs is None or not own.found:
            yield 0.0 if theirs is None and not own.found else float("inf")
        else:
            yield float(np.abs(own.rgb - np.round(theirs)).mean())
