"""The stage ``mfcc``: mel-frequency cepstral coefficients of the stored waveform."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import numpy as np
from msgspec import Meta

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import SettingsError
from fv2es_prep.stages.base import Check, Column, Stage
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.stages.waveform import FULL_SCALE, WAVEFORM
from fv2es_prep.utils.fields import check_fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

_Positive = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class MfccSettings:
    """The coefficients; the window is longer than that of ``mel``, so no band is empty.

    Attributes:
        n_mfcc: Coefficients in a row.
        n_mels: Mel bands that they are computed from.
        n_fft: Samples in a window.
        hop: Samples from one row to the next.
    """

    n_mfcc: _Positive = 40
    n_mels: _Positive = 80
    n_fft: _Positive = 1024
    hop: _Positive = 200

    def __post_init__(self) -> None:
        check_fields(self)
        if not self.n_mfcc <= self.n_mels <= self.n_fft // 2:
            raise SettingsError(
                f"mfcc has n_mfcc {self.n_mfcc}, n_mels {self.n_mels} and n_fft {self.n_fft}, "
                "expected n_mfcc <= n_mels <= n_fft / 2"
            )


def _wrong_rows(rows: StageRows) -> NDArray[np.bool_]:
    settings = rows.stage.settings_of(rows.settings)
    rate = WAVEFORM.settings_of(rows.settings).rate_hz
    seconds = rows.shard("end_s") - rows.shard("start_s")
    most = 2 + np.floor((seconds * rate + settings.n_fft) / settings.hop)
    bad: NDArray[np.bool_] = (rows.lengths < 1) | ~(rows.lengths <= most)
    return bad | rows.any(~np.isfinite(rows["values"]).all(axis=1))


class MfccStage(Stage):
    """torchaudio's MFCC, in decibels, with an orthonormal DCT."""

    name, needs, noun, symbol = "mfcc", ("waveform",), "MFCC", "ΣK"
    settings, can_drop = MfccSettings, False
    checks = (Check("I31", "mfcc is not finite, or its rows do not fit its span", _wrong_rows),)

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        width = self.settings_of(settings).n_mfcc
        meaning = "mel-frequency cepstral coefficients"
        return (Column("values", "ragged", "<f4", (width,), "dB", meaning),)

    def load(self, context: StageContext) -> Callable[[NDArray[np.int16]], NDArray[np.float32]]:
        import torch
        import torchaudio

        chosen = self.settings_of(context.settings)
        transform = torchaudio.transforms.MFCC(
            WAVEFORM.settings_of(context.settings).rate_hz,
            chosen.n_mfcc,
            melkwargs={"n_fft": chosen.n_fft, "n_mels": chosen.n_mels, "hop_length": chosen.hop},
        )

        def make(waveform: NDArray[np.int16]) -> NDArray[np.float32]:
            # Reflect padding at both ends needs this many samples.
            short = max(0, chosen.n_fft // 2 + 1 - len(waveform))
            samples = torch.from_numpy(np.pad(waveform, (0, short)).astype(np.float32) / FULL_SCALE)
            found: NDArray[np.float32] = transform(samples).T.contiguous().numpy()
            return found

        return make

    def expected_bytes(self, duration_s: float, settings: PrepSettings) -> int:
        rows = duration_s * WAVEFORM.settings_of(settings).rate_hz / self.settings_of(settings).hop
        return int(rows) * self.columns(settings)[0].row_bytes


MFCC = MfccStage()
