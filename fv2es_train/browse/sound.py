"""The sound of an example: stored, or estimated from its spectrum."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.config import MelSettings, PrepSettings
from fv2es_prep.stages.registry import load_stage
from fv2es_prep.stages.waveform import FULL_SCALE, wav_bytes
from fv2es_prep.types import Example, Waveform

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROUNDS = 24
_LOUDEST = 0.9


def stored_sound(example: Example, settings: PrepSettings) -> Waveform | None:
    """The sound that the stage ``waveform`` stored; None without it."""
    if "waveform" not in example:
        return None
    rate_hz = load_stage("waveform").settings_of(settings).rate_hz
    return Waveform(np.float32(1 / FULL_SCALE) * example["waveform"], rate_hz)


def estimated_sound(example: Example, settings: PrepSettings) -> Waveform | None:
    """Estimate sound from the spectrum of an example; None without one."""
    if "mel" not in example:
        return None
    mel = settings.mel
    return Waveform(from_spectrum(example["mel"].log_power, mel), mel.rate_hz)


def from_spectrum(log_power: NDArray[np.floating], settings: MelSettings) -> NDArray[np.float32]:
    """Estimate sound from a mel spectrum by the algorithm of Griffin and Lim (1984).

    Args:
        log_power: (T, M), natural logarithm of the power.
        settings: settings that made the spectrum.

    Returns:
        float32 (n,), T = 1 + n // hop.
    """
    import torch
    from torchaudio.transforms import GriffinLim, InverseMelScale

    power = torch.from_numpy(np.exp(np.asarray(log_power, np.float32))).T.contiguous()
    bins = settings.n_fft // 2 + 1
    with warnings.catch_warnings():
        # Bands narrower than the spacing of FFT frequencies may be empty.
        warnings.simplefilter("ignore", UserWarning)
        inverse = InverseMelScale(bins, settings.n_mels, settings.rate_hz, driver="gelsd")
    linear = inverse(power)
    # A fixed initial phase, so that equal spectra give equal sound.
    sound = GriffinLim(settings.n_fft, _ROUNDS, hop_length=settings.hop, power=2.0, rand_init=False)
    samples: NDArray[np.float32] = sound(linear.clamp(min=0)).numpy()
    return samples


def wav_of(sound: Waveform) -> bytes:
    """Encode sound as WAV, mono, 16 bit; sound beyond full scale is scaled down."""
    loudest = float(np.abs(sound.samples).max(initial=0.0))
    scale = _LOUDEST / loudest if loudest > _LOUDEST else 1.0
    return wav_bytes((sound.samples * scale * FULL_SCALE).astype("<i2"), sound.rate_hz)


def outline_of(sound: Waveform, columns: int) -> NDArray[np.float32]:
    """Minimum and maximum of each of at most ``columns`` equal parts, float32 (columns, 2).

    Full scale is [-1, 1].
    """
    count = min(columns, len(sound.samples))
    if not count:
        return np.zeros((0, 2), np.float32)
    starts = np.arange(count) * len(sound.samples) // count
    ends = (np.minimum, np.maximum)
    return np.stack([end.reduceat(sound.samples, starts) for end in ends], axis=1)
