"""The families that read feature columns, ``linear`` and late fusion; imports no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

from msgspec import Meta

from fv2es_prep.errors import SettingsError
from fv2es_prep.stages.registry import load_stage, modalities_of
from fv2es_train.models.families import ModelConfig, ModelFamily, Preset

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_train.models.linear import Linear
    from fv2es_train.models.sequences import Sequences

_Positive = Annotated[int, Meta(ge=1)]


@dataclass(frozen=True)
class FeatureConfig(ModelConfig):
    """Which feature columns a model reads.

    Attributes:
        features: stages to read, e.g. mfcc; each counts for the modality that it is made of, and
            those of other modalities are not read.
    """

    modalities: str = "a"
    features: tuple[str, ...] = ("mfcc",)

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
        self.widths(settings)

    def widths(self, settings: PrepSettings) -> dict[str, int]:
        """Stage -> length of its vectors; SettingsError if its main column holds none."""
        found = {}
        for name in self.columns:
            stage = load_stage(name)
            column = next(c for c in stage.plain_columns(settings) if c.path == stage.main)
            if len(column.row) != 1 or column.kind not in ("row", "ragged"):
                raise SettingsError(
                    f"{self.name} cannot read the stage {name}: a row of it has the shape "
                    f"{column.row}, expected one vector",
                    "read a feature stage, e.g. mfcc",
                )
            found[name] = int(column.row[0])
        return found


@dataclass(frozen=True)
class LinearConfig(FeatureConfig):
    """Logistic regression on mean and deviation over time.

    Attributes:
        l2: weight of half the squared norm of the weights, beside the mean loss.
    """

    family = "linear"
    name: str = "linear"
    l2: Annotated[float, Meta(ge=0)] = 0.1


@dataclass(frozen=True)
class SequenceConfig(FeatureConfig):
    """A sequence encoder for each feature stage, and late fusion.

    Attributes:
        encoder: sequence encoder.
        pool: rows that are averaged to one before the encoder.
        hidden: width of the encoder, in each direction.
        layers: layers of the encoder.
        bidirectional: whether an RNN also reads from the end.
        heads: attention heads of a transformer.
        dropout: dropout rate before the classifier and between layers.
    """

    family = "lf-rnn"
    name: str = "lf-rnn"
    encoder: Literal["lstm", "gru", "transformer"] = "gru"
    pool: _Positive = 4
    hidden: _Positive = 64
    layers: _Positive = 1
    bidirectional: bool = True
    heads: _Positive = 4
    dropout: Annotated[float, Meta(ge=0, lt=1)] = 0.3

    def check(self, settings: PrepSettings) -> None:
        """See `FeatureConfig`."""
        super().check(settings)
        if self.encoder == "transformer" and (self.hidden % self.heads or self.hidden % 2):
            raise SettingsError(
                f"{self.name} has a transformer of width {self.hidden} with {self.heads} heads, "
                "expected an even multiple of the heads"
            )


def _linear(config: LinearConfig, settings: PrepSettings) -> Linear:
    from fv2es_train.models.linear import Linear

    return Linear(config, config.widths(settings))


def _sequences(config: SequenceConfig, settings: PrepSettings) -> Sequences:
    from fv2es_train.models.sequences import Sequences

    return Sequences(config, config.widths(settings))


LINEAR = ModelFamily(
    name="linear",
    config=LinearConfig,
    presets={"linear": Preset(LinearConfig(), {"batch_size": 64, "threads": 1})},
    build=_linear,
)
_TRAIN = {"epochs": 40, "batch_size": 16, "lr": 1e-3, "early_stop": 10, "clip_norm": 1.0}
_RNN, _TRANSFORMER = (
    SequenceConfig(name="lf-rnn"),
    SequenceConfig(name="lf-transformer", encoder="transformer", layers=2),
)
LATE_FUSION = ModelFamily(
    name="lf-rnn",
    config=SequenceConfig,
    presets={
        "lf-rnn": Preset(_RNN, {**_TRAIN, "threads": 1}),
        "lf-transformer": Preset(_TRANSFORMER, {**_TRAIN, "threads": 1, "warmup": 50}),
    },
    build=_sequences,
)
