"""The configuration of a bench, and the trainings that follow from it. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import combinations
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from fv2es_prep.config import MODALITIES, ordered
from fv2es_prep.errors import UsageError
from fv2es_prep.utils.fields import check_fields
from fv2es_train.config import Count, Positive, TrainConfig
from fv2es_train.models import families
from fv2es_train.training.run_config import train_config

_REQUIRED = {"required": True}
_MODELS = ("linear", "lf-rnn", "lf-transformer", "mult")
RUNS = "runs"


@dataclass(frozen=True)
class BenchConfig:
    """A bench: models x modalities x seeds x folds, each trained and measured on test.

    Attributes:
        shards: Directory that ``fv2es prep`` wrote.
        split: Split manifest; or a directory with fold-0.json, fold-1.json ...; none where the
            protocol makes its folds.
        out: Directory for the runs and the table; what is finished in it is not trained again.
        protocol: Protocol of papers, by name or as FILE.toml; it checks dataset and split, sets
            defaults, and shows published results beside.
        models: Presets of models; the first one is the baseline.
        modalities: Subsets of t (text), a (audio) and v (video), e.g. a,ta; or all seven.
        seeds: Seeds of weights, order and dropout.
        features: Feature stages that the models on features read.
        metrics: Metrics of the table; single_label. before those of the argmax. None: chosen by the
            labels.
        jobs: Trainings at a time, each in a process of its own (1 = in this process).
        resamples: Bootstrap resamples of the intervals.
        train: Options of training for all models, e.g. train.epochs=3; after the name of a model
            for this one only, e.g. train.mult.model.hidden=20.
    """

    shards: Path = field(default=Path(), metadata=_REQUIRED)
    split: Path | None = None
    out: Path = field(default=Path(), metadata=_REQUIRED)
    protocol: str = ""
    models: tuple[str, ...] = _MODELS
    modalities: tuple[str, ...] = (MODALITIES,)
    seeds: tuple[Count, ...] = (0,)
    features: tuple[str, ...] = ("mfcc",)
    metrics: tuple[str, ...] = ()
    jobs: Positive = 1
    resamples: Annotated[int, Meta(ge=1)] = 1000
    train: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        check_fields(self)
        for name in ("models", "modalities", "seeds"):
            values = getattr(self, name)
            if not values or len(set(values)) < len(values):
                listed = ", ".join(map(str, values)) or "nothing"
                raise UsageError(
                    f"the {name} of a bench are {listed}, expected one or more without duplicates"
                )

    @property
    def subsets(self) -> tuple[str, ...]:
        """The subsets of modalities, each in the order of ``tav``."""
        if self.modalities != ("all",):
            return tuple(map(ordered, self.modalities))
        return tuple(
            "".join(letters)
            for count in range(1, len(MODALITIES) + 1)
            for letters in combinations(MODALITIES, count)
        )


@dataclass(frozen=True)
class TableRow:
    """A row of the table: one training per seed and fold."""

    model: str
    modalities: str
    seeds: tuple[tuple[TrainConfig, ...], ...]

    @property
    def name(self) -> str:
        """Its directory under OUT/runs."""
        return f"{self.model}-{self.modalities}"


def rows_of(config: BenchConfig, manifests: tuple[Path, ...]) -> list[TableRow]:
    """Make all rows, grouped by subset of modalities.

    Raises:
        UsageError: a model or an option is unknown, or a value is invalid.
    """
    return [
        TableRow(
            model,
            letters,
            tuple(
                tuple(
                    _run(config, model, letters, seed, manifest, manifests)
                    for manifest in manifests
                )
                for seed in config.seeds
            ),
        )
        for letters in config.subsets
        for model in config.models
    ]


def _run(
    config: BenchConfig,
    model: str,
    letters: str,
    seed: int,
    manifest: Path,
    manifests: tuple[Path, ...],
) -> TrainConfig:
    place = config.out / RUNS / f"{model}-{letters}" / f"seed-{seed}"
    given: dict[str, Any] = {"model.modalities": letters}
    if hasattr(families.preset(model).model, "features"):
        given["model.features"] = config.features
    for path, value in config.train.items():
        head, _, rest = path.partition(".")
        if head == model:
            given[rest] = value
        elif head not in config.models:
            given.setdefault(path, value)
    given |= {"shards": config.shards, "split": manifest, "seed": seed}
    given["out"] = place if len(manifests) == 1 else place / manifest.stem
    return train_config(model, **given)
