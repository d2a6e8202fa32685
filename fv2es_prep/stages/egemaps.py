"""The stages ``egemaps`` and ``egemaps-lld``: openSMILE's features of the stored waveform.

The extended Geneva Minimalistic Acoustic Parameter Set: Eyben et al. 2016,
doi:10.1109/TAFFC.2015.2457417. openSMILE is free for research and teaching; commercial use needs a
licence of audEERING.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar, Literal

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import UsageError
from fv2es_prep.stages.base import Check, Column, Kind, Stage
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.stages.waveform import FULL_SCALE, WAVEFORM

if TYPE_CHECKING:
    from numpy.typing import NDArray

_HOP_S = 0.01


def _infinite(rows: StageRows) -> NDArray[np.bool_]:
    finite = np.isfinite(rows["values"][0:]).all(axis=1)
    bad: NDArray[np.bool_] = rows.any(~finite) if rows.ragged else ~finite
    return bad


class EgemapsStage(Stage):
    """eGeMAPSv02 by openSMILE; 0 where the sound is too short or has no voice to measure."""

    name, needs, noun, can_drop = "egemaps", ("waveform",), "eGeMAPS", False
    symbol = "ΣG"
    checks = (Check("I32", "egemaps is not finite", _infinite),)
    level: ClassVar[Literal["Functionals", "LowLevelDescriptors"]] = "Functionals"
    width: ClassVar[int] = 88

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        one = self.level == "Functionals"
        kind: Kind = "row" if one else "ragged"
        meaning = "functionals of the utterance" if one else "low-level descriptors, every 10 ms"
        return (Column("values", kind, "<f4", (self.width,), "", f"eGeMAPSv02, {meaning}"),)

    def load(self, context: StageContext) -> Callable[[NDArray[np.int16]], NDArray[np.float32]]:
        try:
            import opensmile
        except ImportError as error:
            raise UsageError(
                f"the stage {self.name} needs the package opensmile, which is not installed",
                "install it with `pip install 'fv2es[egemaps]'`",
            ) from error
        smile = opensmile.Smile(
            feature_set=opensmile.FeatureSet.eGeMAPSv02,
            feature_level=getattr(opensmile.FeatureLevel, self.level),
        )
        rate = WAVEFORM.settings_of(context.settings).rate_hz

        def make(waveform: NDArray[np.int16]) -> NDArray[np.float32]:
            with warnings.catch_warnings():
                # openSMILE fills values of too short sound with NaN and warns each time.
                warnings.filterwarnings("ignore", message="Segment too short")
                found = smile(waveform.astype(np.float32) / FULL_SCALE, rate)[0]
            values = np.nan_to_num(found.T, nan=0, posinf=0, neginf=0).astype(np.float32)
            return np.ascontiguousarray(values if self.level != "Functionals" else values[0])

        return make

    def expected_bytes(self, duration_s: float, settings: PrepSettings) -> int:
        rows = 1 if self.level == "Functionals" else int(duration_s / _HOP_S)
        return 4 * self.width * rows


class EgemapsLldStage(EgemapsStage):
    """eGeMAPSv02 by openSMILE; 0 where the sound is too short or has no voice to measure."""

    name, level, width = "egemaps-lld", "LowLevelDescriptors", 25
    checks = (Check("I33", "egemaps-lld is not finite", _infinite),)


EGEMAPS, EGEMAPS_LLD = EgemapsStage(), EgemapsLldStage()
