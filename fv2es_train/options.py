"""What a user asks of one training run.

Owns the request and how it goes over a preset; imports no torch. Leaves the fields' meaning to
`config` and the run to `train`.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from fv2es_train.config import MODALITIES, ModelConfig, TrainConfig, preset

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
)


@dataclass(frozen=True)
class TrainOptions:
    """What a user asks of one training run; None means the model's own default.

    Attributes:
        shards: directory of the shards.
        split: file of the split manifest.
        out: directory of the run, made by it.
        model: ``fv2es`` or ``fv2es-tiny``.
        epochs: see `TrainConfig`.
        batch_size: see `TrainConfig`.
        lr: see `TrainConfig`.
        early_stop: see `TrainConfig`.
        seed: see `TrainConfig`.
        threads: see `TrainConfig`.
        workers: see `TrainConfig`.
        shuffle_shards: see `TrainConfig`.
        modalities: see `ModelConfig`.
        text_encoder: name at the hub or directory in transformers' format; None means
            albert-base-v2 for ``fv2es``, a small random one for ``fv2es-tiny``.
        device: ``auto`` (CUDA when there is one), ``cpu``, ``cuda`` or ``cuda:N``.
        overwrite: replace a run that is already in ``out``.
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
    modalities: str = MODALITIES
    text_encoder: str | None = None
    device: str = "auto"
    overwrite: bool = False

    def configs(self, label_classes: tuple[str, ...]) -> tuple[ModelConfig, TrainConfig]:
        """The preset with what was asked for put over it.

        Raises:
            UsageError: the model is unknown or a value is out of range.
        """
        model, config = preset(self.model)
        encoder = model.text_encoder if self.text_encoder is None else self.text_encoder
        asked = {name: getattr(self, name) for name in _ASKED if getattr(self, name) is not None}
        model = replace(
            model,
            modalities=self.modalities,
            label_classes=label_classes,
            text_encoder=encoder,
        )
        return model, replace(config, **asked)
