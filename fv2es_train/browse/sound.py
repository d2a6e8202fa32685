"""The sound of an example as a WAV file: as it is stored, or estimated from its spectrum."""

from __future__ import annotations

import io
import warnings
import wave
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.config import MelSettings, PrepSettings
from fv2es_prep.stages.registry import load_stage
from fv2es_prep.stages.waveform import FULL_SCALE
from fv2es_prep.types import Example

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 24
_LOUDEST = 0.9


def wav_of(example: Example, settings: PrepSettings) -> tuple[bytes, bool] | None:
    """A WAV file, mono, 16 bit, and whether it is only an estimate; None without sound."""
    if "waveform" in example:
        rate_hz = load_stage("waveform").settings_of(settings).rate_hz
        return _wav(np.float32(1 / FULL_SCALE) * example["waveform"], rate_hz), False
    if "mel" not in example:
        return None
    mel = settings.mel
    samples = from_spectrum(example["mel"].log_power, mel)
    return _wav(samples, mel.rate_hz), True


def from_spectrum(log_power: NDArray[np.floating], settings: MelSettings) -> NDArray[np.float32]:
    """Sound with about this spectrum, by the algorithm of Griffin and Lim (1984).

    Args:
        log_power: (T, M), natural logarithm of the power.
        settings: how it was made.

    Returns:
        float32 (n,), T = 1 + n // hop.
    """
    import torch
    from torchaudio.transforms import GriffinLim, InverseMelScale

    power = torch.from_numpy(np.exp(np.asarray(log_power, np.float32))).T.contiguous()
    bins = settings.n_fft // 2 + 1
    with warnings.catch_warnings():
        # Narrow bands between two frequencies of the window are empty.
        warnings.simplefilter("ignore", UserWarning)
        inverse = InverseMelScale(bins, settings.n_mels, settings.rate_hz, driver="gelsd")
    linear = inverse(power)
    # A fixed phase to begin with: equal spectra sound the same.
    sound = GriffinLim(settings.n_fft, _ROUNDS, hop_length=settings.hop, power=2.0, rand_init=False)
    samples: NDArray[np.float32] = sound(linear.clamp(min=0)).numpy()
    return samples


def _wav(samples: NDArray[np.float32], rate_hz: int) -> bytes:
    loudest = float(np.abs(samples).max(initial=0.0))
    scale = _LOUDEST / loudest if loudest > _LOUDEST else 1.0
    target = io.BytesIO()
    with wave.open(target, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate_hz)
        file.writeframes((samples * scale * 32767).astype("<i2").tobytes())
    return target.getvalue()
