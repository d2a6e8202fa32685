"""The families that read feature columns: ``linear``, late fusion, ``mult``; imports no torch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from msgspec import Meta

from fv2es_prep.errors import SettingsError
from fv2es_prep.stages.registry import load_stage, modalities_of
from fv2es_train.config import STAGES
from fv2es_train.models.families import ModelConfig, ModelFamily, Preset

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_train.models.linear import Linear
    from fv2es_train.models.mult import MulT
    from fv2es_train.models.sequences import Sequences

_Positive = Annotated[int, Meta(ge=1)]
_Rate = Annotated[float, Meta(ge=0, lt=1)]
# The stage whose values are ids instead of vectors.
TOKENS = STAGES["t"]


@dataclass(frozen=True)
class FeatureConfig(ModelConfig):
    """Which feature columns a model reads.

    Attributes:
        features: stages to read, e.g. mfcc, landmarks or tokens; each counts for the modality that
            it is made of, and those of other modalities are not read.
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
        """See `ModelConfig`; also rejects features that are not vectors."""
        for letter, names in self.reads.items():
            if not names:
                raise SettingsError(
                    f"{self.name} reads the features {', '.join(self.features)}, but none of them "
                    f"is made from the modality {letter!r}",
                    "add one of its stages with --set model.features=..., or choose other "
                    "--modalities",
                )
        super().check(settings)
        self.widths(settings)

    def widths(self, settings: PrepSettings) -> dict[str, int]:
        """Stage -> length of its vectors; for token ids, the size of the vocabulary.

        Raises:
            SettingsError: the rows of the main column of a stage are not floating-point vectors.
        """
        found = {}
        for name in self.columns:
            stage = load_stage(name)
            column = next(c for c in stage.plain_columns(settings) if c.path == stage.main)
            # In columns of other kinds, a row holds the values of a whole example.
            ranks = {"row": (1,), "ragged": (1, 2, 3)}.get(column.kind, ())
            if name == TOKENS:
                found[name] = settings.text.vocabulary_size
            elif len(column.row) in ranks and np.dtype(column.dtype).kind == "f":
                found[name] = math.prod(map(int, column.row))
            else:
                raise SettingsError(
                    f"{self.name} cannot read the stage {name}: a row of it has the shape "
                    f"{column.row} and the type {np.dtype(column.dtype or 'S').name}, expected "
                    "floating-point vectors",
                    "read a feature stage, e.g. mfcc, landmarks or tokens",
                )
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
        pool: rows that are averaged to one before the encoder; tokens are not.
        hidden: width of the encoder, in each direction; 0 is that of the feature (RNN only).
        layers: layers of the encoder.
        bidirectional: whether an RNN also reads from the end.
        summary: what the classifier reads: mean and maximum of all states, or the last state of an
            RNN in each direction, through a layer of half that width.
        heads: attention heads of a transformer.
        dropout: dropout rate before the classifier and between layers.
    """

    family = "lf-rnn"
    name: str = "lf-rnn"
    encoder: Literal["lstm", "gru", "transformer"] = "gru"
    pool: _Positive = 4
    hidden: Annotated[int, Meta(ge=0)] = 64
    layers: _Positive = 1
    bidirectional: bool = True
    summary: Literal["pooled", "last"] = "pooled"
    heads: _Positive = 4
    dropout: _Rate = 0.3

    def check(self, settings: PrepSettings) -> None:
        """See `FeatureConfig`."""
        super().check(settings)
        if self.encoder == "transformer":
            _check_width(self.name, self.hidden, self.heads)
            if self.summary == "last":
                raise SettingsError(
                    f"{self.name} has a transformer with the summary 'last', expected 'pooled'",
                    "choose an RNN with --set model.encoder=lstm",
                )


@dataclass(frozen=True)
class MultConfig(FeatureConfig):
    """A cross-modal transformer for each ordered pair of modalities.

    Attributes:
        pool: rows that are averaged to one before the transformers; tokens are not.
        hidden: width of a cross-modal transformer.
        layers: layers of each transformer.
        heads: attention heads.
        dropout: dropout rate of attention, between layers and before the classifier.
    """

    family = "mult"
    name: str = "mult"
    pool: _Positive = 8
    hidden: _Positive = 40
    layers: _Positive = 2
    heads: _Positive = 4
    dropout: _Rate = 0.2

    def check(self, settings: PrepSettings) -> None:
        """See `FeatureConfig`."""
        super().check(settings)
        _check_width(self.name, self.hidden, self.heads)


def _check_width(name: str, hidden: int, heads: int) -> None:
    if not hidden or hidden % heads or hidden % 2:
        raise SettingsError(
            f"{name} has a transformer of width {hidden} with {heads} heads, expected a width that "
            "is "
            "even and a multiple of the heads"
        )


def _linear(config: LinearConfig, settings: PrepSettings) -> Linear:
    from fv2es_train.models.linear import Linear

    return Linear(config, config.widths(settings))


def _sequences(config: SequenceConfig, settings: PrepSettings) -> Sequences:
    from fv2es_train.models.sequences import Sequences

    return Sequences(config, config.widths(settings))


def _mult(config: MultConfig, settings: PrepSettings) -> MulT:
    from fv2es_train.models.mult import MulT

    return MulT(config, config.widths(settings))


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
MULT = ModelFamily(
    name="mult",
    config=MultConfig,
    presets={"mult": Preset(MultConfig(), {**_TRAIN, "threads": 1, "warmup": 50})},
    build=_mult,
)
