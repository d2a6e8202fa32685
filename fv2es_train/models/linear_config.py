"""The family ``linear``: logistic regression on feature columns; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from msgspec import Meta

from fv2es_prep.errors import SettingsError
from fv2es_prep.stages.registry import load_stage, modalities_of
from fv2es_train.models.families import ModelConfig, ModelFamily, Preset

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_train.models.linear import Linear


@dataclass(frozen=True)
class LinearConfig(ModelConfig):
    """Logistic regression on mean and deviation over time.

    Attributes:
        features: stages to read, e.g. mfcc; each counts for the modality that it is made of, and
            those of other modalities are not read.
        l2: weight of half the squared norm of the weights, beside the mean loss.
    """

    family = "linear"
    name: str = "linear"
    modalities: str = "a"
    features: tuple[str, ...] = ("mfcc",)
    l2: Annotated[float, Meta(ge=0)] = 0.1

    @property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """See `ModelConfig`."""
        of = {name: modalities_of(load_stage(name)) for name in self.features}
        return {m: tuple(name for name in of if of[name] == m) for m in self.modalities}

    @property
    def columns(self) -> tuple[str, ...]:
        """See `ModelConfig`."""
        return tuple(name for names in self.reads.values() for name in names)

    def check(self, settings: PrepSettings) -> None:
        """See `ModelConfig`; also for features that are no vectors."""
        for letter, names in self.reads.items():
            if not names:
                raise SettingsError(
                    f"{self.name} reads {', '.join(self.features)}, none of which is made of the "
                    f"modality {letter!r}",
                    "name its stages with --set model.features=..., or choose other --modalities",
                )
        super().check(settings)
        widths_of(self, settings)


def widths_of(config: LinearConfig, settings: PrepSettings) -> dict[str, int]:
    """Stage -> length of its vectors; SettingsError for a stage whose main column has none."""
    found = {}
    for name in config.columns:
        stage = load_stage(name)
        column = next(c for c in stage.plain_columns(settings) if c.path == stage.main)
        if len(column.row) != 1 or column.kind not in ("row", "ragged"):
            raise SettingsError(
                f"{config.name} cannot read the stage {name}: a row of it has the shape "
                f"{column.row}, expected one vector",
                "read a feature stage, e.g. mfcc",
            )
        found[name] = int(column.row[0])
    return found


def _build(config: LinearConfig, settings: PrepSettings) -> Linear:
    from fv2es_train.models.linear import Linear

    return Linear(config, widths_of(config, settings))


FAMILY = ModelFamily(
    name="linear",
    config=LinearConfig,
    presets={"linear": Preset(LinearConfig(), {"batch_size": 64, "threads": 1})},
    build=_build,
)
