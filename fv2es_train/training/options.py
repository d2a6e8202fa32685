"""What a user asks of one training run.

Owns the request, how it goes over a preset, and how a run remembers it; imports no torch. Leaves
the fields' meaning to `config` and the run to `train`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from fv2es_prep.errors import TrainError, UsageError
from fv2es_prep.utils.files import write_json
from fv2es_train.config import TrainConfig
from fv2es_train.models.families import ModelConfig, preset

# What goes over the preset's training settings.
_ASKED = (
    "epochs",
    "batch_size",
    "lr",
    "early_stop",
    "seed",
    "threads",
    "workers",
    "shuffle_shards",
    "bucket",
    "accumulate",
    "schedule",
    "warmup",
    "freeze_text",
    "class_weights",
    "label_smoothing",
    "augment",
    "amp",
    "compile",
    "save_every",
)

NAME = "options.json"
_PLACES = ("shards", "split")
_NOT_KEPT = ("out", "overwrite", "resume")


@dataclass(frozen=True)
class TrainOptions:
    """What a user asks of one training run; None means the model's own default.

    Attributes:
        shards: directory of the shards.
        split: file of the split manifest.
        out: directory of the run, made by it.
        model: name of a preset, see `models.families`.
        epochs: see `TrainConfig`.
        batch_size: see `TrainConfig`.
        lr: see `TrainConfig`.
        early_stop: see `TrainConfig`.
        seed: see `TrainConfig`.
        threads: see `TrainConfig`.
        workers: see `TrainConfig`.
        shuffle_shards: see `TrainConfig`.
        bucket: see `TrainConfig`.
        accumulate: see `TrainConfig`.
        schedule: see `TrainConfig`.
        warmup: see `TrainConfig`.
        freeze_text: see `TrainConfig`.
        class_weights: see `TrainConfig`.
        label_smoothing: see `TrainConfig`.
        augment: see `TrainConfig`.
        amp: see `TrainConfig`.
        compile: see `TrainConfig`.
        save_every: see `TrainConfig`.
        modalities: see `ModelConfig`.
        text_encoder: name at the hub or directory in transformers' format; None means
            albert-base-v2 for ``fv2es`` and ``fv2es-lite``, a small random one for ``fv2es-tiny``.
        device: ``auto`` (CUDA when there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        overwrite: replace a run that is already in ``out``.
        resume: continue the run that is in ``out``.
    """

    shards: Path
    split: Path
    out: Path
    model: str = "fv2es"
    epochs: int | None = None
    batch_size: int | None = None
    lr: float | None = None
    early_stop: int | None = None
    seed: int = 0
    threads: int | None = None
    workers: int = 0
    shuffle_shards: int = 0
    bucket: int = 0
    accumulate: int = 1
    schedule: str = "constant"
    warmup: int = 0
    freeze_text: str = "none"
    class_weights: str = "positives"
    label_smoothing: float = 0.0
    augment: tuple[str, ...] = ()
    amp: str = "off"
    compile: bool = False
    save_every: int = 0
    modalities: str | None = None
    text_encoder: str | None = None
    device: str = "auto"
    overwrite: bool = False
    resume: bool = False

    def configs(self, label_classes: tuple[str, ...]) -> tuple[ModelConfig, TrainConfig]:
        """The preset with what was asked for put over it.

        Raises:
            UsageError: the model is unknown or a value is out of range.
        """
        chosen = preset(self.model)
        asked = {name: getattr(self, name) for name in _ASKED if getattr(self, name) is not None}
        changes: dict[str, Any] = {"label_classes": label_classes}
        for name in ("modalities", "text_encoder"):
            value = getattr(self, name)
            if value is not None and not hasattr(chosen.model, name):
                raise UsageError(f"the model {self.model!r} has no {name}", "leave it out")
            if value is not None:
                changes[name] = value
        model = replace(chosen.model, **changes)
        return model, replace(TrainConfig(**chosen.train), **asked)

    def remember(self) -> None:
        """Write RUN/options.json, from which `resumed` continues.

        Raises:
            OutputError: it cannot be written.
        """
        values = asdict(self) | {name: str(getattr(self, name).resolve()) for name in _PLACES}
        write_json(self.out / NAME, {k: v for k, v in values.items() if k not in _NOT_KEPT})

    @classmethod
    def resumed(cls, run: Path, **changes: Any) -> Self:
        """The options of a run that is to be continued.

        Args:
            run: directory of the run.
            **changes: what is asked otherwise now; None changes nothing.

        Raises:
            UsageError: there is no run that can be continued.
            TrainError: what it remembers is damaged.
        """
        path = run / NAME
        if not path.is_file():
            raise UsageError(
                f"{run} holds no run that can be continued: {path} is missing",
                f"train one: fv2es train --shards SHARDS --split FILE --out {run}",
            )
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            values |= {name: value for name, value in changes.items() if value is not None}
            values |= {name: Path(values[name]) for name in _PLACES}
            values["augment"] = tuple(values["augment"])
            return cls(**values, out=run, resume=True)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise TrainError(
                f"{path} cannot be read: {error!r}",
                "train anew, or continue with the fv2es version that wrote it",
            ) from error
