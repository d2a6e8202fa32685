"""The configuration of one training: options, TOML file, and the form stored in a checkpoint.

Leaves models and presets to `models`, and a run's file to `training.run_config`. Imports no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from msgspec import Meta

from fv2es_prep.config import VerifyReads
from fv2es_prep.errors import TrainError
from fv2es_prep.utils.fields import check_fields

Count = Annotated[int, Meta(ge=0)]
Positive = Annotated[int, Meta(ge=1)]
# The stage that a model reads for each modality, unless its `check` says otherwise.
STAGES = {"t": "tokens", "a": "mel", "v": "faces"}
_REQUIRED = {"required": True}
# Behaviour of earlier versions, whose runs do not store these fields.
EARLIER: dict[str, Any] = {"decision": "thresholds", "unverified_faces": "keep"}
# Fields that a checkpoint does not store.
_OF_THE_RUN = (
    *("shards", "split", "out", "overwrite", "resume", "device", "model", "verify_reads", "init"),
)


@dataclass(frozen=True)
class TrainConfig:
    """One training: data, model and how it learns; the defaults are the published ones.

    Attributes:
        shards: Directory that ``fv2es prep`` wrote, or its URL.
        split: Split manifest; or a directory with fold-0.json, fold-1.json ... to train on each.
        out: New directory for the run.
        overwrite: Replace the run in the output directory.
        resume: Continue the run in the output directory.
        device: Device: auto (CUDA if available), cpu, cuda or cuda:N.
        model: Configuration of the model, see its family.
        init: Run, packed run or published state dict whose weights training starts from; without
            --model, its sizes are the model's, too.
        init_modalities: Modalities whose branches start from init; empty: all that both have, with
            the fusion if the modalities are the same.
        init_head: Output layers; auto takes those of init where the classes are the same, keep
            always, new never. A published file names no classes.
        epochs: Maximum number of epochs.
        batch_size: Utterances in a batch, over all processes.
        lr: Learning rate; see text_lr_divisor for the text encoder.
        text_lr_divisor: The learning rate of the text encoder is lr divided by this; 1 suits an
            encoder with random weights.
        text_lr_head: The output layer of text learns at the rate of the text encoder, too, as
            published.
        early_stop: Stop after this many epochs without a better f1_binary on valid (0 = never).
        keep: Epoch that is kept: best has the highest f1_binary on valid; last suits a schedule
            that ends at 0, and a small valid subset, whose best epoch is chance.
        optimizer: Optimizer; sgd has no momentum.
        weight_decay: Weight decay of the optimizer.
        clip_norm: Maximum 2-norm of the gradient over all parameters (0 = no clipping).
        seed: Seed of weights, order, dropout and augmentation.
        threads: CPU threads of torch; none: torch chooses.
        workers: DataLoader worker processes (0 = read in the training process).
        shuffle_shards: Shuffle within this many shards at a time, for datasets larger than memory
            (0 = over all).
        bucket: Sort this many batches by length before cutting them, to pad less (0 = off).
        accumulate: Batches in an optimizer step.
        schedule: Learning-rate schedule after the warm-up; linear and cosine end at 0 with the last
            step of the last epoch.
        warmup: Optimizer steps in which the learning rate rises from 0.
        freeze_text: Text-encoder layers to freeze; a number freezes the embeddings and this many
            layers.
        freeze: Parts that do not learn and stay in eval mode, by name: text, face, mel, ...
        ratings: Ratings to learn beside the classes, e.g. valence,activation.
        rating_share: Share of the ratings' loss in the loss; 1 learns the ratings alone.
        rating_loss: Loss of a rating in units of its standard deviation: squared or absolute error.
        loss: Loss: bce (binary cross-entropy of each class), ce (softmax over the classes, for
            utterances of one class), mse or l1 (logits against 0 and 1).
        targets: Targets of the classes: hard are the labels; soft are the shares of the raters who
            chose each class, where the corpus has their votes, else the label.
        class_weights: Class weights of bce; positives is the published weighting.
        label_smoothing: Label smoothing: share of each label replaced by 1/2.
        augment: Augmentation: flip faces, spec (SpecAugment).
        amp: bf16 computes the forward pass of training in bfloat16 (autocast).
        compile: Compile the encoders with torch.compile.
        decision: Decision rule; auto takes the largest probability where each utterance has exactly
            one class, else thresholds; both are calibrated. thresholds is the published rule,
            which is not calibrated.
        threshold_ties: Of equally good thresholds take the middle or, as published, the lowest.
        unverified_faces: What becomes of an utterance in whose pictures no face was found: drop
            treats its video as missing; keep uses the centre of the picture, as published.
        verify_reads: Check the digests of an example when a process first reads it, always, or
            never; the shards are hashed once per run in any case.
        save_every: Optimizer steps between two saves within an epoch (0 = at its end only).
    """

    shards: Path = field(default=Path(), metadata=_REQUIRED)
    split: Path = field(default=Path(), metadata=_REQUIRED)
    out: Path = field(default=Path(), metadata=_REQUIRED)
    overwrite: bool = False
    resume: bool = field(default=False, metadata={"derived": True})
    device: str = "auto"
    model: Any = None
    init: Path | None = None
    init_modalities: str = ""
    init_head: Literal["auto", "keep", "new"] = "auto"
    epochs: Positive = 30
    batch_size: Positive = 2
    lr: Annotated[float, Meta(gt=0)] = 4.5e-6
    text_lr_divisor: Annotated[float, Meta(gt=0)] = 10.0
    text_lr_head: bool = False
    early_stop: Count = 6
    keep: Literal["best", "last"] = "best"
    optimizer: Literal["adam", "sgd"] = "adam"
    weight_decay: Annotated[float, Meta(ge=0)] = 0.0
    clip_norm: Annotated[float, Meta(ge=0)] = 0.0
    seed: int = 0
    threads: Positive | None = None
    workers: Count = 0
    shuffle_shards: Count = 0
    bucket: Count = 0
    accumulate: Positive = 1
    schedule: Literal["constant", "linear", "cosine"] = "constant"
    warmup: Count = 0
    freeze_text: Literal["none", "embeddings", "all"] | Count = "none"
    freeze: tuple[str, ...] = ()
    ratings: tuple[str, ...] = ()
    rating_share: Annotated[float, Meta(gt=0, le=1)] = 0.5
    rating_loss: Literal["mse", "l1"] = "mse"
    loss: Literal["bce", "ce", "mse", "l1"] = "bce"
    targets: Literal["hard", "soft"] = "hard"
    class_weights: Literal["positives", "balanced", "none"] = "positives"
    label_smoothing: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    augment: tuple[Literal["flip", "spec"], ...] = ()
    amp: Literal["off", "bf16"] = "off"
    compile: bool = False
    decision: Literal["auto", "thresholds", "largest"] = "auto"
    threshold_ties: Literal["middle", "lowest"] = "middle"
    unverified_faces: Literal["drop", "keep"] = "drop"
    verify_reads: VerifyReads = "never"
    save_every: Count = 0

    def __post_init__(self) -> None:
        check_fields(self)

    def to_json(self) -> dict[str, Any]:
        """The part that a checkpoint stores, how the model was trained, as plain JSON values."""
        return {name: value for name, value in asdict(self).items() if name not in _OF_THE_RUN}

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """Restore what `to_json` wrote; TrainError for an unknown name."""
        return cls(**stored_fields(cls, {**EARLIER, **values}))


def stored_fields(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
    """Turn stored JSON values into the arguments of a configuration, lists into tuples.

    Raises:
        TrainError: a name is unknown, because another version wrote it.
    """
    unknown = sorted(set(values) - {f.name for f in fields(kind)})
    if unknown:
        raise TrainError(
            f"the stored {kind.__name__} has the unknown field {unknown[0]!r}",
            "use the fv2es version that wrote the checkpoint",
        )
    return {name: _frozen(value) for name, value in values.items()}


def _frozen(value: Any) -> Any:
    """Turn nested lists into tuples; leave a dict as it is."""
    return tuple(_frozen(item) for item in value) if isinstance(value, list) else value
