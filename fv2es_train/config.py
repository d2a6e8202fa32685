"""How the network and its training are set, as frozen values stored in every checkpoint.

Owns the fields, their presets (`MODELS`) and their JSON form; imports no torch. Leaves what a user
asks for to `options`, building the network to `model`, the loop to `train`, and how shards are
prepared to fv2es_prep.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Self

from fv2es_prep.errors import SettingsError, TrainError, UsageError

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings

MODALITIES = "tav"
MODELS = ("fv2es", "fv2es-lite", "fv2es-tiny")
# The words that settings of `TrainConfig` know.
CHOICES = {
    "schedule": ("constant", "linear", "cosine"),
    "freeze_text": ("none", "embeddings", "all"),
    "class_weights": ("positives", "balanced", "none"),
    "augment": ("flip", "spec"),
    "amp": ("off", "bf16"),
}


@dataclass(frozen=True)
class ModelConfig:
    """The network's sizes; the defaults are those of the published FV2ES (arXiv 2209.10170).

    Attributes:
        name: the preset it began as.
        modalities: which of text, audio (mel) and vision (face) exist, a subset of ``tav``.
        label_classes: the classes, in the order of the logits.
        face_px: side in pixels of a face crop.
        face_mean: mean of each colour, R G B, on the scale 0..255.
        face_std: standard deviation of each colour, same scale.
        face_stem: channels after the first convolution.
        face_stages: channels of the RepVGG blocks; a 2x2 max pooling follows each stage.
        face_fused: each RepVGG block is a single convolution from the start; so it is where fused
            weights were converted. Such blocks are for inference.
        face_hidden: width between the flattened face features and ``trans_dim``.
        mel_bands: mel bands of the spectrum.
        mel_rows: rows of one chunk; 32 rows of 12.5 ms are 0.4 s.
        mel_input: what enters the network. ``power`` is the published input, linear and not
            normalized; ``log`` is ``(ln(power) - mel_mean) / mel_std``, which spans a few units
            where power spans ten decades, and so trains from nothing in few steps.
        mel_floor: smallest power before the logarithm, as in the shards' settings.
        mel_mean: subtracted from the logarithm.
        mel_std: the logarithm is divided by it.
        mel_patch: stride of the first convolution of NesT.
        mel_dims: NesT's width at each of its levels.
        mel_heads: NesT's attention heads at each level.
        mel_depths: NesT's layers at each level.
        mel_drop_path: NesT's highest rate of stochastic depth.
        mel_hidden: width between the flattened mel features and ``trans_dim``.
        trans_dim: width of the sequence encoders.
        trans_layers: layers of each sequence encoder.
        trans_heads: attention heads of each sequence encoder.
        trans_ffn: width of each layer's feed-forward part.
        dropout: dropout rate of the sequence encoders.
        fusion_init: how the late fusion begins. ``torch`` is Linear's own random start (may
            begin negative); ``mean`` begins as the mean over the modalities' logits.
        text_encoder: name at the hub or directory the text encoder began as; empty where it began
            random.
        text: the text encoder's transformers configuration; empty until it is built.
    """

    name: str = "fv2es"
    modalities: str = MODALITIES
    label_classes: tuple[str, ...] = ()
    face_px: int = 48
    face_mean: tuple[float, float, float] = (159.0, 111.0, 102.0)
    face_std: tuple[float, float, float] = (37.0, 33.0, 32.0)
    face_stem: int = 64
    face_stages: tuple[tuple[int, ...], ...] = ((64, 64, 128), (256,), (512,))
    face_fused: bool = False
    face_hidden: int = 1024
    mel_bands: int = 128
    mel_rows: int = 32
    mel_input: Literal["power", "log"] = "power"
    mel_floor: float = 1e-10
    mel_mean: float = -5.5
    mel_std: float = 4.5
    mel_patch: int = 1
    mel_dims: tuple[int, ...] = (128, 256, 512)
    mel_heads: tuple[int, ...] = (4, 8, 16)
    mel_depths: tuple[int, ...] = (2, 2, 20)
    mel_drop_path: float = 0.5
    mel_hidden: int = 1024
    trans_dim: int = 64
    trans_layers: int = 4
    trans_heads: int = 4
    trans_ffn: int = 2048
    dropout: float = 0.1
    fusion_init: Literal["torch", "mean"] = "torch"
    text_encoder: str = "albert-base-v2"
    text: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        chosen = "".join(letter for letter in MODALITIES if letter in self.modalities)
        if not chosen or sorted(chosen) != sorted(self.modalities):
            raise UsageError(
                f"the modalities are {self.modalities!r}, expected some of t, a and v, each once",
                "pass for example --modalities tav, or --modalities a for sound alone",
            )
        object.__setattr__(self, "modalities", chosen)

    @property
    def mel_channels(self) -> int:
        """Into how many square images, one per channel, a chunk's bands are cut: 128 / 32 = 4."""
        return self.mel_bands // self.mel_rows

    def to_json(self) -> dict[str, Any]:
        """The configuration as plain JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Self:
        """The configuration that `to_json` wrote.

        Raises:
            TrainError: a name is unknown, so another version wrote it.
        """
        return cls(**_known(cls, values))

    def check(self, settings: PrepSettings) -> None:
        """Make sure that shards of these settings fit the network.

        Raises:
            SettingsError: the size of a face or of the spectrum differs; both are named.
        """
        for name, found, expected in (
            ("faces.image_size_px", settings.faces.image_size_px, self.face_px),
            ("mel.n_mels", settings.mel.n_mels, self.mel_bands),
        ):
            if found != expected:
                raise SettingsError(
                    f"the shards' {name} is {found}, {self.name} expects {expected}",
                    "prepare the corpus again with the default settings",
                )


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
        return cls(**_known(cls, values))


def preset(name: str) -> tuple[ModelConfig, TrainConfig]:
    """The network and the training settings that go by a name.

    Raises:
        UsageError: there is no such name.
    """
    if name == "fv2es":
        return ModelConfig(), TrainConfig()
    if name == "fv2es-lite":
        return _lite(), TrainConfig()
    if name == "fv2es-tiny":
        return _tiny()
    raise UsageError(f"there is no model {name!r}", f"pass --model {' or --model '.join(MODELS)}")


def _lite() -> ModelConfig:
    """The published network with NesT-T for the sound in the place of NesT-B, the largest part.

    Sizes of NesT-T: Zhang et al. 2021, arXiv 2105.12723, table 1.
    """
    return ModelConfig(
        name="fv2es-lite",
        mel_dims=(96, 192, 384),
        mel_heads=(3, 6, 12),
        mel_depths=(2, 2, 8),
        mel_drop_path=0.2,
    )


def _tiny() -> tuple[ModelConfig, TrainConfig]:
    """The same code, small: learns some hundred utterances from nothing on a CPU in a minute."""
    model = ModelConfig(
        name="fv2es-tiny",
        face_stem=16,
        face_stages=((16, 16, 32), (64,), (64,)),
        face_hidden=128,
        mel_input="log",
        mel_patch=2,
        mel_dims=(32, 48, 64),
        mel_heads=(2, 4, 4),
        mel_depths=(1, 1, 1),
        mel_drop_path=0.1,
        mel_hidden=128,
        trans_layers=2,
        trans_heads=4,
        trans_ffn=128,
        fusion_init="mean",
        text_encoder="",
    )
    config = TrainConfig(
        epochs=20,
        batch_size=8,
        lr=5e-4,
        # Its text encoder begins random, so it learns as fast as the rest.
        text_lr_divisor=1.0,
        early_stop=10,
        clip_norm=1.0,
        # Tensors this small gain little from a second thread, and threads that wait for each other
        # on a busy machine made it many times slower. It also repeats with any number of cores.
        threads=1,
    )
    return model, config


def _known(kind: Any, values: dict[str, Any]) -> dict[str, Any]:
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
