"""From sound to its mel spectrum.

Owns the spectrum. Leaves reading and resampling to `media.audio`, the cutting into chunks to the
model.
"""

from __future__ import annotations

import functools
import warnings
from typing import Any

from fv2es_prep.config import MelSettings
from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.media.audio import resampled
from fv2es_prep.types import MelSpectrum, Waveform


@functools.cache
def _mel_transform(settings: MelSettings) -> Any:
    import torchaudio

    with warnings.catch_warnings():
        # 128 bands over 201 bins leave some low bands without a bin: so it is in the published
        # model, and torchaudio says so each time.
        warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero")
        return torchaudio.transforms.MelSpectrogram(
            sample_rate=settings.rate_hz,
            n_fft=settings.n_fft,
            hop_length=settings.hop,
            n_mels=settings.n_mels,
            power=2.0,
        )


def mel_spectrum(waveform: Waveform, settings: MelSettings) -> MelSpectrum:
    """Compute the mel power spectrum of a whole utterance, stored as its natural logarithm.

    The spectrum is torchaudio's MelSpectrogram. float16 keeps 11 significant bits, so that the
    power that `MelSpectrum.power` gives back is within 0.4 % where it is above 1.2e-7
    (|log| < 16), and within 0.8 % from there down to the floor.

    Args:
        waveform: one channel; resampled by torchaudio where its rate differs from the settings'.
        settings: window, hop, bands and floor.

    Returns:
        float16 (T, M) with T = 1 + samples // hop.

    Raises:
        UtteranceError: there is too little sound for one window (reflect padding needs
            n_fft // 2 + 1 audio samples), or some of it or its power is no finite number.
    """
    import numpy as np
    import torch

    samples = torch.from_numpy(resampled(waveform, settings.rate_hz).samples)
    if len(samples) <= settings.n_fft // 2:
        raise UtteranceError(
            f"its span holds {len(samples)} audio samples, expected more than "
            f"{settings.n_fft // 2}",
            DropReason.NO_AUDIO_IN_SPAN,
        )
    power = _mel_transform(settings)(samples).T.numpy()
    if not np.isfinite(power).all():
        raise UtteranceError(
            "its span holds audio samples that are no finite numbers, or far above full scale",
            DropReason.UNDECODABLE_AUDIO,
        )
    log_power = np.log(np.maximum(power, settings.floor)).astype(np.float16)
    return MelSpectrum(np.ascontiguousarray(log_power), settings.hop_s)
