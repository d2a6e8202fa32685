"""The configuration of training, stored in every checkpoint.

Owns its fields and their JSON form; imports no torch. Leaves the configurations of models and their
presets to `models`, the request of a user to `training.options`, and the loop to `training.loop`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any, Self

from fv2es_prep.errors import TrainError, UsageError

# The words that settings of `TrainConfig` know.
CHOICES = {
    "schedule": ("constant", "linear", "cosine"),
    "freeze_text": ("none", "embeddings", "all"),
    "class_weights": ("positives", "balanced", "none"),
    "augment": ("flip", "spec"),
    "amp": ("off", "bf16"),
}


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained; the defaults are the published ones (reference: READMEs).

    Attributes:
        epochs: most passes over the train subset.
        batch_size: utterances in a batch.
        lr: Adam's learning rate.
        text_lr_divisor: the text encoder's learning rate is ``lr`` divided by this, because it
            comes pretrained; 1 where it begins random.
        early_stop: stop after this many epochs without a better f1_binary on valid; 0 never stops.
        weight_decay: Adam's weight decay.
        clip_norm: longest gradient, as a 2-norm over all parameters; 0 does not clip.
        seed: of weights, order and dropout.
        threads: CPU threads of torch; None leaves torch's own choice.
        workers: DataLoader worker processes; 0 reads in the training process.
        shuffle_shards: shuffle within so many shards at a time, for datasets larger than memory
            (see `sampler.BlockShuffle` for what it does to the order); 0 shuffles all at once.
        bucket: sort so many batches by length before they are cut, so that less is padded; 0 does
            not.
        accumulate: batches in an optimizer step.
        schedule: how the learning rate goes after the warm-up: ``constant``, or ``linear`` or
            ``cosine`` to zero at the last step of ``epochs``.
        warmup: optimizer steps in which the learning rate rises from zero.
        freeze_text: what of the text encoder does not learn: ``none``, ``embeddings``, ``all``, or
            a number: the embeddings and so many of its first layers.
        class_weights: ``positives``, ``balanced`` or ``none``, see `loss.make_loss`.
        label_smoothing: see `loss.Loss`.
        augment: ``flip`` and ``spec``, see `augment.augment`.
        amp: ``bf16`` computes the forward pass in training under autocast; ``off`` in float32.
        compile: let torch.compile make the encoders faster.
        save_every: optimizer steps between two saves of the state within an epoch; 0 saves at the
            end of each epoch alone.
    """

    epochs: int = 30
    batch_size: int = 2
    lr: float = 4.5e-6
    text_lr_divisor: float = 10.0
    early_stop: int = 6
    weight_decay: float = 0.0
    clip_norm: float = 0.0
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

    def __post_init__(self) -> None:
        least = dict.fromkeys(("epochs", "batch_size", "threads", "accumulate"), 1)
        least |= dict.fromkeys(("early_stop", "workers", "shuffle_shards"), 0)
        least |= dict.fromkeys(("bucket", "warmup", "save_every"), 0)
        for name, bound in least.items():
            value = getattr(self, name)
            if value is not None and value < bound:
                raise UsageError(f"{name} is {value}, expected at least {bound}")
        if not self.lr > 0:
            raise UsageError(f"lr is {self.lr}, expected a learning rate above 0")
        if not 0 <= self.label_smoothing < 1:
            raise UsageError(
                f"label_smoothing is {self.label_smoothing}, expected 0 or more and less than 1"
            )
        for name, known in CHOICES.items():
            self._refuse_unknown(name, known)

    def _refuse_unknown(self, name: str, known: tuple[str, ...]) -> None:
        value = getattr(self, name)
        for word in (value,) if isinstance(value, str) else value:
            if word not in known and not (name == "freeze_text" and word.isdecimal()):
                raise UsageError(
                    f"{name} is {word!r}, expected {', '.join(known)}"
                    + (" or a number of layers" if name == "freeze_text" else ""),
                    f"pass --{name.replace('_', '-')} {known[0]}, or leave it out",
                )

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The configuration that `to_json` wrote.

        Raises:
            TrainError: a name is unknown, so another version wrote it.
        """
        return cls(**stored_fields(cls, values))


def stored_fields(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Arguments of a configuration from its stored JSON values, with tuples for lists.

    Args:
        kind: the configuration's dataclass.
        values: what was stored.

    Raises:
        TrainError: a name is unknown: another version wrote it.
    """
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise TrainError(
            f"the stored {kind.__name__} has the unknown name {unknown[0]!r}",
            "read the checkpoint with the fv2es version that wrote it",
        )
    return {name: _frozen(value) for name, value in values.items()}


def _frozen(value: Any) -> Any:
    """JSON lists as tuples, through all levels of lists; a dict stays as it is."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
