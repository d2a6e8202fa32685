"""The stage ``waveform``: the speaker's sound as 16-bit samples, for stages that compute features.

A stage that needs ``waveform`` instead of ``sound`` can be added later, without the corpus.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
from msgspec import Meta

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.media.audio import resampled
from fv2es_prep.stages.base import Check, Column, Stage
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.types import Waveform
from fv2es_prep.utils.fields import check_fields

if TYPE_CHECKING:
    from numpy.typing import NDArray

FULL_SCALE = 32767


@dataclass(frozen=True)
class WaveformSettings:
    """The stored sound.

    Attributes:
        rate_hz: Audio samples per second that are stored; pretrained encoders expect 16000.
    """

    rate_hz: Annotated[int, Meta(ge=1000, le=192_000)] = 16_000

    def __post_init__(self) -> None:
        check_fields(self)


def _wrong_length(rows: StageRows) -> NDArray[np.bool_]:
    rate = rows.stage.settings_of(rows.settings).rate_hz
    seconds = rows.shard("end_s") - rows.shard("start_s")
    # Allow one sample for each rounding: of the start, of the end, and of resampling.
    bad: NDArray[np.bool_] = (rows.lengths < 1) | ~(rows.lengths <= 3 + np.floor(seconds * rate))
    return bad


class WaveformStage(Stage):
    """The speaker's channel, resampled."""

    name, needs, noun, symbol = "waveform", ("sound",), "waveform", "ΣS"
    settings = WaveformSettings
    checks = (Check("I30", "the waveform has more or fewer samples than its span", _wrong_length),)
    drawn_height = 0.7

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        meaning = f"sound of the speaker's channel; {FULL_SCALE} is full scale"
        return (Column("values", "ragged", "<i2", (), "1/32767", meaning),)

    def load(self, context: StageContext) -> Callable[[Waveform], NDArray[np.int16]]:
        rate = self.settings_of(context.settings).rate_hz

        def make(waveform: Waveform) -> NDArray[np.int16]:
            samples = resampled(waveform, rate).samples
            if not np.isfinite(samples).all() or not len(samples):
                raise UtteranceError(
                    "its span holds no audio samples, or some that are no finite numbers",
                    DropReason.UNDECODABLE_AUDIO,
                )
            # Sound above full scale is clipped, as in every 16-bit file.
            return np.rint(np.clip(samples, -1, 1) * FULL_SCALE).astype(np.int16)

        return make

    def expected_bytes(self, duration_s: float, settings: PrepSettings) -> int:
        return 2 * int(duration_s * self.settings_of(settings).rate_hz)

    def lines(self, value: NDArray[np.int16]) -> list[str]:
        loudest = int(np.abs(value.astype(np.int32)).max(initial=0))
        return [f"{len(value)} samples, loudest {loudest / FULL_SCALE:.2f} of full scale"]

    def draw(self, axes: Any, value: NDArray[np.int16], start_s: float) -> None:
        axes.plot(value / FULL_SCALE, linewidth=0.4)
        axes.set_xlim(0, len(value))
        axes.set_ylabel("sound", fontsize=8)


WAVEFORM = WaveformStage()


def wav_bytes(samples: Any, rate_hz: int) -> bytes:
    """A WAV file of int16 samples (S,), one channel."""
    file = io.BytesIO()
    with wave.open(file, "wb") as sound:
        sound.setnchannels(1)
        sound.setsampwidth(2)
        sound.setframerate(rate_hz)
        sound.writeframes(np.ascontiguousarray(samples, "<i2").tobytes())
    return file.getvalue()
