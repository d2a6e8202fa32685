"""The stage ``mel``: the log-mel power spectrum of an utterance.

Owns the spectrum, its columns, its compact form (8-bit steps of the logarithm) and its invariants.
Steps are lossy, so spectra are quantized once, and training reads the decoded steps.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MelSettings, PrepSettings, StorageSettings
from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.media.audio import resampled
from fv2es_prep.stages.base import Check, Column, Stage
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.types import MelSpectrum, Waveform

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STEPS = 255


@functools.cache
def _mel_transform(settings: MelSettings) -> Any:
    import torchaudio

    with warnings.catch_warnings():
        # 128 bands over 201 bins leave some low bands without a bin, as in the published model;
        # torchaudio warns about it each time.
        warnings.filterwarnings("ignore", message="At least one mel filterbank has all zero")
        return torchaudio.transforms.MelSpectrogram(
            sample_rate=settings.rate_hz,
            n_fft=settings.n_fft,
            hop_length=settings.hop,
            n_mels=settings.n_mels,
            power=2.0,
        )


def mel_spectrum(waveform: Waveform, settings: MelSettings) -> MelSpectrum:
    """The log-mel power spectrum of a whole utterance: float16 (T, M), T = 1 + samples // hop.

    torchaudio's MelSpectrogram at the settings' rate, then the natural logarithm. float16 keeps 11
    significant bits: the power that `MelSpectrum.power` gives back is within 0.4 % where it is
    above 1.2e-7 (|log| < 16), and within 0.8 % from there down to the floor.

    Raises:
        UtteranceError: there is too little sound for one window (reflect padding needs
            n_fft // 2 + 1 audio samples), or a sample or power is not finite.
    """
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


class MelSteps(MelSpectrum):
    """A spectrum as steps of `mel_grid`, uint8 (T, M), looked up on first access."""

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


def stored_mel(mel: MelSpectrum, storage: StorageSettings, settings: MelSettings) -> MelSpectrum:
    """A spectrum in its stored form; power above the grid becomes its top."""
    if storage.mel == "float16" or isinstance(mel, MelSteps):
        return mel
    low, width = _grid(settings)
    steps = np.rint((mel.log_power.astype(np.float32) - low) / width)
    return MelSteps(np.clip(steps, 0, _STEPS).astype(np.uint8), settings)


@functools.lru_cache(maxsize=8)
def mel_grid(settings: MelSettings) -> NDArray[np.float16]:
    """Log power of each of the 256 steps: float16 (256,).

    The grid has equal steps from the logarithm of the floor to that of 3/16 of the squared window
    length, 30 000 for 400. By Parseval's theorem no sound within full scale has more power in a
    band (a Hann window, and bands of at most weight 1).
    """
    low, width = _grid(settings)
    return (low + width * np.arange(_STEPS + 1)).astype(np.float16)


def _grid(settings: MelSettings) -> tuple[float, float]:
    """The lowest value of the grid and the width of a step, in ln power."""
    low = math.log(settings.floor)
    return low, (math.log(3 / 16 * settings.n_fft**2) - low) / _STEPS


def _wrong_length(rows: StageRows) -> NDArray[np.bool_]:
    mel, found = rows.settings.mel, rows.lengths
    seconds = rows.shard("end_s") - rows.shard("start_s")
    # The number of audio samples is not stored; allow one more row for rounding and resampling.
    most = 2 + np.floor(seconds * mel.rate_hz / mel.hop)
    bad: NDArray[np.bool_] = (found < 1 + (mel.n_fft // 2 + 1) // mel.hop) | ~(found <= most)
    return bad


class MelStage(Stage):
    """torchaudio's MelSpectrogram, as logarithm."""

    name, needs, noun, symbol, section = "mel", ("sound",), "spectrum", "ΣT", "mel"
    drawn_height = 1.4
    checks = (Check("I12", "the spectrum has more or fewer rows than its span", _wrong_length),)

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        row = (settings.mel.n_mels,)
        if settings.storage.mel == "uint8":
            grid = "log-mel power on a fixed grid"
            return (Column("values", "ragged", "|u1", row, "step", grid),)
        return (Column("values", "ragged", "<f2", row, "ln power", "log-mel power spectrum"),)

    def load(self, context: StageContext) -> Callable[[Waveform], MelSpectrum]:
        return lambda waveform: mel_spectrum(waveform, context.settings.mel)

    def store(self, value: MelSpectrum, settings: PrepSettings) -> MelSpectrum:
        return stored_mel(value, settings.storage, settings.mel)

    def encode(self, value: MelSpectrum) -> dict[str, Any]:
        return {"values": value.steps if isinstance(value, MelSteps) else value.log_power}

    def decode(self, columns: Mapping[str, Any], settings: PrepSettings, place: str) -> MelSpectrum:
        if settings.storage.mel == "float16":
            return MelSpectrum(columns["values"], settings.mel.hop_s)
        return MelSteps(columns["values"], settings.mel)

    def arrays(self, value: MelSpectrum) -> dict[str, Any]:
        return {"values": value.log_power}

    def form(self, storage: StorageSettings) -> list[Any]:
        return [storage.mel]

    def problem(self, value: Mapping[str, Any], settings: PrepSettings) -> tuple[str, str] | None:
        mel, floor = value["values"], np.log(np.float64(settings.mel.floor)).astype(np.float16)
        if (np.isfinite(mel) & (mel >= floor)).all():
            return None
        return "I12", "the spectrum is below the floor or not finite"

    def expected_bytes(self, duration_s: float, settings: PrepSettings) -> int:
        rows = 1 + math.floor(duration_s / settings.mel.hop_s)
        return rows * self.columns(settings)[0].row_bytes

    def describe(self, value: MelSpectrum) -> dict[str, Any]:
        mel = value.log_power
        return {
            "shape": list(mel.shape),
            "hop_s": value.hop_s,
            "lowest": float(mel.min()) if mel.size else None,
            "highest": float(mel.max()) if mel.size else None,
        }

    def lines(self, value: MelSpectrum) -> list[str]:
        return ["{} rows of {} bands".format(*value.log_power.shape)]

    def draw(self, axes: Any, value: MelSpectrum, start_s: float) -> None:
        decibels = 10 / np.log(10) * value.log_power.T.astype(np.float32)
        axes.imshow(
            np.maximum(decibels, decibels.max() - 80),
            origin="lower",
            aspect="auto",
            extent=(0, len(value.log_power) * value.hop_s, 0, len(decibels)),
            cmap="magma",
        )
        axes.set_xlabel("seconds", fontsize=8)
        axes.set_ylabel("mel band", fontsize=8)
        axes.tick_params(labelsize=8)


MEL = MelStage()
