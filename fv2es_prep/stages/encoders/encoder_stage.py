"""An encoder stage: its columns, its invariant, and how its values are stored.

Needs neither the encoder nor transformers unless values are made: the columns follow from what the
dataset stores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import SettingsError, TokenizerError
from fv2es_prep.stages.base import Check, Column, Kind, Stage
from fv2es_prep.stages.encoders.encoder_settings import EncoderSettings
from fv2es_prep.stages.registry import ENCODER_INPUTS, StageContext
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.utils.hub import is_here

if TYPE_CHECKING:
    from numpy.typing import NDArray

_ROWS = {"audio": "20 ms of sound or so", "video": "face", "text": "token"}
# A rough rate of speech, for the expected size.
_TOKENS_PER_S = 4
_LARGEST = float(np.finfo(np.float16).max)


def _wrong(rows: StageRows) -> NDArray[np.bool_]:
    finite = np.isfinite(rows["values"][0:]).all(axis=1)
    if not rows.ragged:
        bad: NDArray[np.bool_] = ~finite
        return bad
    bad = rows.any(~finite) | (rows.lengths < 1)
    rate = rows.stage.settings_of(rows.settings).rate_hz
    if rate:
        seconds = rows.shard("end_s") - rows.shard("start_s")
        bad |= ~(rows.lengths <= 2 + np.floor(seconds * rate))
    return bad


class EncoderStage(Stage):
    """The hidden states of a pretrained encoder."""

    symbol, settings, can_drop, many, tolerance = "ΣE", EncoderSettings, False, True, 2e-3
    checks = (Check("I34", "an encoder's rows are not finite, or do not fit their span", _wrong),)

    def __init__(self, name: str) -> None:
        self.kind = name.partition("-")[0]
        self.name, self.needs, self.noun = name, (ENCODER_INPUTS[self.kind],), name

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        chosen = self.settings_of(settings)
        pooled = chosen.pool == "mean"
        kind: Kind = "row" if pooled else "ragged"
        rows = "mean of the rows" if pooled else f"a row for each {_ROWS[self.kind]}"
        meaning = f"{chosen.architecture}, layer {chosen.layer} of {chosen.layers}; {rows}"
        return (Column("values", kind, "<f2", (chosen.width,), "", meaning),)

    def load(self, context: StageContext) -> Callable[[Any], NDArray[np.float32]]:
        many = self.load_many(context)
        return lambda value: many([(value,)])[0]

    def load_many(
        self, context: StageContext
    ) -> Callable[[Sequence[Sequence[Any]]], list[NDArray[np.float32]]]:
        from fv2es_prep.stages.encoders.encoder_loading import load_encoder

        chosen = self.settings_of(context.settings)
        source = dict(context.encoders).get(self.name, "")
        if not source and is_here(chosen.encoder):
            # A cached download is enough: its digest is checked.
            source = chosen.encoder
        if not source:
            raise SettingsError(
                f"the encoder {chosen.encoder!r} is not on this machine, and values of the stage "
                f"{self.name} have to be made",
                f"pass its directory: {self.kind}:{self.name.removeprefix(f'{self.kind}-')}=DIR",
            )
        encode = load_encoder(self.kind, source, chosen, context)

        def make(inputs: Sequence[Sequence[Any]]) -> list[NDArray[np.float32]]:
            values = encode([one for (one,) in inputs])
            if not all(np.isfinite(rows).all() for rows in values):
                raise TokenizerError(
                    f"the encoder {source!r} gives values that are not finite",
                    "download its weights again, or choose another layer or encoder",
                )
            return values

        return make

    def store(self, value: NDArray[Any], settings: PrepSettings) -> NDArray[np.float16]:
        if self.settings_of(settings).pool == "mean" and value.ndim > 1:
            value = value.mean(0)
        # Some encoders have a few values beyond the largest of float16.
        stored: NDArray[np.float16] = np.clip(value, -_LARGEST, _LARGEST).astype(np.float16)
        return stored

    def expected_bytes(self, duration_s: float, settings: PrepSettings) -> int:
        chosen = self.settings_of(settings)
        rows = {
            "audio": int(duration_s * chosen.rate_hz),
            "video": settings.frames.count(duration_s),
            "text": int(_TOKENS_PER_S * duration_s),
        }[self.kind]
        return 2 * int(chosen.width) * (1 if chosen.pool == "mean" else rows)
