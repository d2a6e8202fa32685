"""Model families: a configuration, presets and a build function each, found by preset name.

Owns the registry (entry-point group ``fv2es.models``); imports no torch. A family is one file that
defines a `ModelFamily`; `emotion_model` has the interface of its network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar, Self

from fv2es_prep.config import MODALITIES, ordered
from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.utils.registry import Registry
from fv2es_train.config import STAGES, stored_fields

if TYPE_CHECKING:
    from torch import Tensor

    from fv2es_prep.config import PrepSettings
    from fv2es_prep.types import Example
    from fv2es_train.data.batches import Batch
    from fv2es_train.models.emotion_model import EmotionModel

Extras = Callable[[Sequence["Example"]], dict[str, "Tensor"]]


@dataclass(frozen=True)
class ModelConfig:
    """The configuration of a model; each family extends it with its own sizes.

    Attributes:
        name: preset that it began as.
        modalities: the modalities that the model reads: text, audio, video, a subset of ``tav``.
        label_classes: the classes, in the order of the logits.
        ratings: the ratings that it learns, in the order of the outputs after the logits.
        rating_scale: mean and standard deviation of each rating in train; outputs are in units of
            the deviation from the mean.
        rating_range: the lowest and the highest value of each rating in train.
        mel_rows: rows of one mel chunk in a batch; 32 rows of 12.5 ms are 0.4 s.
    """

    family: ClassVar[str] = ""
    name: str = ""
    modalities: str = MODALITIES
    label_classes: tuple[str, ...] = field(default=(), metadata={"derived": True})
    ratings: tuple[str, ...] = field(default=(), metadata={"derived": True})
    rating_scale: tuple[tuple[float, float], ...] = field(default=(), metadata={"derived": True})
    rating_range: tuple[tuple[float, float], ...] = field(default=(), metadata={"derived": True})
    mel_rows: int = 32

    def __post_init__(self) -> None:
        chosen = ordered(self.modalities)
        if not chosen or sorted(chosen) != sorted(self.modalities):
            raise UsageError(
                f"the modalities are {self.modalities!r}, expected letters of t, a and v without "
                "duplicates",
                "pass e.g. --modalities tav, or --modalities a for audio only",
            )
        object.__setattr__(self, "modalities", chosen)

    @property
    def outputs(self) -> int:
        """Number of outputs per utterance: one logit per class, then one value per rating."""
        return len(self.label_classes) + len(self.ratings)

    @property
    def reads(self) -> Mapping[str, tuple[str, ...]]:
        """Modality letter -> stages that the model reads for it."""
        return {letter: (STAGES[letter],) for letter in self.modalities}

    @property
    def columns(self) -> tuple[str, ...]:
        """The stages whose main column the model reads as vectors from `Batch.extras`."""
        return ()

    @property
    def vocabulary_size(self) -> int | None:
        """Number of token ids that the model accepts; None if unknown."""
        return None

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, with the name of the family."""
        return {"family": self.family, **asdict(self)}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Restore what `to_json` wrote; TrainError for an unknown name."""
        return cls(**stored_fields(cls, {k: v for k, v in values.items() if k != "family"}))

    def check(self, settings: PrepSettings) -> None:
        """Check that shards with these settings have all that the model reads.

        Raises:
            SettingsError: the stage of a modality is missing, or a setting does not match.
        """
        read = [stage for stages in self.reads.values() for stage in stages]
        missing = [stage for stage in read if stage not in settings.stages]
        if missing:
            raise SettingsError(
                f"the shards lack the stages {', '.join(missing)}, which the model {self.name} "
                "reads",
                "prepare them with fv2es prep ... --stages, or choose other --modalities",
            )


@dataclass(frozen=True)
class Preset:
    """A named model configuration, and the fields of `TrainConfig` that it changes."""

    model: ModelConfig
    train: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelFamily:
    """A kind of model.

    Attributes:
        name: stored in checkpoints, and itself a preset name.
        config: its configuration type.
        presets: name -> preset. Each name is one line in the registry.
        build: configuration of this type and settings of the shards -> network with initial
            weights.
        extras: examples -> `Batch.extras`, for stages other than faces, mel and tokens.
    """

    name: str
    config: type[ModelConfig]
    presets: Mapping[str, Preset]
    build: Callable[[Any, PrepSettings], EmotionModel]
    extras: Extras | None = None


_FV2ES = "fv2es_train.models.fv2es_config:FAMILY"
_LATE_FUSION = "fv2es_train.models.feature_config:LATE_FUSION"
FAMILIES: Registry[ModelFamily] = Registry(
    "fv2es.models",
    "model",
    {
        **dict.fromkeys(("fv2es", "fv2es-lite", "fv2es-tiny", "mme2e"), _FV2ES),
        "linear": "fv2es_train.models.feature_config:LINEAR",
        **dict.fromkeys(("lf-rnn", "lf-transformer"), _LATE_FUSION),
        "mult": "fv2es_train.models.feature_config:MULT",
    },
)


def preset(name: str) -> Preset:
    """Find a preset by name; UsageError if it is unknown."""
    return FAMILIES.load(name).presets[name]


def config_from_json(values: dict[str, Any]) -> ModelConfig:
    """Restore the configuration that `ModelConfig.to_json` wrote, of any family.

    Raises:
        UsageError: the package of its family is not installed.
        TrainError: a name is unknown, because another version wrote it.
    """
    # Checkpoints without a family are older than families: they belong to the first one.
    return FAMILIES.load(values.get("family", "fv2es")).config.from_json(values)


def collate_of(
    config: ModelConfig, pad_id: int, unverified: str = "keep"
) -> Callable[[Sequence[Example]], Batch]:
    """Make a `collate` for all that a model reads; see there for the other arguments."""
    from fv2es_train.data.batches import collate

    extras = FAMILIES.load(config.family).extras
    return partial(
        collate,
        pad_id=pad_id,
        chunk_rows=config.mel_rows,
        extras=extras,
        unverified=unverified,
        reads=config.reads,
        columns=config.columns,
    )


def build(config: ModelConfig, settings: PrepSettings) -> EmotionModel:
    """Build the network of a configuration for shards with these settings, with initial weights.

    Raises:
        SettingsError: the shards do not match the model.
        TokenizerError: the text encoder cannot be loaded.
        TrainError: the text encoder does not accept all token ids of the shards.
    """
    config.check(settings)
    return FAMILIES.load(config.family).build(config, settings)
