"""The FV2ES family: sizes of the published network and of smaller variants; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from fv2es_prep.errors import SettingsError
from fv2es_train.config import EARLIER
from fv2es_train.models.families import ModelConfig, ModelFamily, Preset

if TYPE_CHECKING:
    from fv2es_prep.config import PrepSettings
    from fv2es_train.models.fv2es import FV2ES


@dataclass(frozen=True)
class FV2ESConfig(ModelConfig):
    """Sizes of the network; the defaults are those of the published FV2ES (arXiv 2209.10170).

    Attributes:
        face_px: side of a face crop, in pixels.
        face_mean: mean of each colour, R G B, scale 0..255.
        face_std: standard deviation of each colour, same scale.
        face_stem: channels after the first convolution.
        face_block: ``repvgg``, or ``vgg``: two 3x3 convolutions, as in MME2E.
        face_stages: channels of the blocks; a 2x2 max pooling follows each stage.
        face_fused: each RepVGG block is a single convolution from the start, as in converted fused
            weights. Such blocks are for inference.
        face_hidden: width between the flattened face features and ``trans_dim``.
        mel_bands: mel bands of the spectrum.
        mel_encoder: ``nest`` of chunks, as published; ``vgg``: a stack of the sizes of
            ``face_stages``, as in MME2E; ``conv``: of the whole utterance, normalized by what train
            has, with ``mel_floor`` and the fields that begin with ``sound_``.
        mel_input: input of the audio encoder. ``power`` is the published input, linear and not
            normalized; ``log`` is ``(ln(power) - mel_mean) / mel_std``, which spans a few units
            where power spans ten decades, and so trains from random weights in few steps.
        mel_floor: smallest power before the logarithm, as in the shards' settings.
        mel_mean: subtracted from the logarithm.
        mel_std: divisor of the logarithm.
        mel_patch: stride of the first convolution of NesT.
        mel_dims: width of NesT at each of its levels.
        mel_heads: attention heads of NesT at each level.
        mel_depths: layers of NesT at each level.
        mel_drop_path: highest stochastic depth rate of NesT.
        mel_init: initial weights of the first convolution of NesT. ``nest`` is that of its other
            layers, as published; ``torch`` is the initialization of ``nn.Conv2d``, five times as
            wide.
        mel_hidden: width between the flattened mel features and ``trans_dim``.
        sound_merge: neighbouring bands and rows whose mean power is one value of the input.
        sound_range: the input is clamped to this far below its highest value in the utterance, in
            nepers of power; 18.4 are 80 dB.
        sound_dims: channels of its 3x3 convolutions; the last number is its width over time.
        sound_dropout: dropout rate before the head.
        trans_dim: width of the sequence encoders.
        trans_layers: layers of each sequence encoder.
        trans_heads: attention heads of each sequence encoder.
        trans_ffn: width of the feed-forward part of each layer.
        dropout: dropout rate of the sequence encoders.
        fusion_init: initial weights of the late fusion. ``torch`` is the random initialization of
            ``nn.Linear``, which may be negative; ``mean`` is the mean over the modalities.
        text_encoder: hub name or directory of the pretrained text encoder; empty for a small random
            one.
        text: transformers configuration of the text encoder; empty until it is built.
    """

    family = "fv2es"
    name: str = "fv2es"
    face_px: int = 48
    face_mean: tuple[float, float, float] = (159.0, 111.0, 102.0)
    face_std: tuple[float, float, float] = (37.0, 33.0, 32.0)
    face_stem: int = 64
    face_block: Literal["repvgg", "vgg"] = "repvgg"
    face_stages: tuple[tuple[int, ...], ...] = ((64, 64, 128), (256,), (512,))
    face_fused: bool = False
    face_hidden: int = 1024
    mel_bands: int = 128
    mel_encoder: Literal["nest", "vgg", "conv"] = "nest"
    mel_input: Literal["power", "log"] = "power"
    mel_floor: float = 1e-10
    mel_mean: float = -5.5
    mel_std: float = 4.5
    mel_patch: int = 1
    mel_dims: tuple[int, ...] = (128, 256, 512)
    mel_heads: tuple[int, ...] = (4, 8, 16)
    mel_depths: tuple[int, ...] = (2, 2, 20)
    mel_drop_path: float = 0.5
    mel_init: Literal["nest", "torch"] = "nest"
    mel_hidden: int = 1024
    sound_merge: tuple[int, int] = (2, 4)
    sound_range: float = 18.4
    sound_dims: tuple[int, ...] = (16, 32, 64, 64, 128)
    sound_dropout: float = 0.3
    trans_dim: int = 64
    trans_layers: int = 4
    trans_heads: int = 4
    trans_ffn: int = 2048
    dropout: float = 0.1
    fusion_init: Literal["torch", "mean"] = "torch"
    text_encoder: str = "albert-base-v2"
    text: dict[str, Any] = field(default_factory=dict, metadata={"derived": True})

    @property
    def mel_channels(self) -> int:
        """Number of square images (channels) that the bands of a chunk form: 128 / 32 = 4."""
        return self.mel_bands // self.mel_rows

    @property
    def vocabulary_size(self) -> int | None:
        """Number of token ids of the text encoder; None until it is built."""
        return self.text.get("vocab_size")

    def check(self, settings: PrepSettings) -> None:
        """See `ModelConfig`; also rejects other sizes of faces or spectra."""
        super().check(settings)
        for name, found, expected in (
            ("faces.image_size_px", settings.faces.image_size_px, self.face_px),
            ("mel.n_mels", settings.mel.n_mels, self.mel_bands),
        ):
            if found != expected:
                raise SettingsError(
                    f"{name} of the shards is {found}, but the model {self.name} expects "
                    f"{expected}",
                    "prepare the corpus again with the default settings",
                )


def _build(config: FV2ESConfig, settings: PrepSettings) -> FV2ES:
    from fv2es_train.models.fv2es import build_model

    return build_model(config, settings)


# The ancestor of FV2ES, called FE2E in its paper: Dai et al. 2021, arXiv 2103.09666.
_MME2E = FV2ESConfig(name="mme2e", face_block="vgg", mel_encoder="vgg")
# The published network, but with small convolutions for the sound, which learn from a few
# hundred utterances.
_LITE = FV2ESConfig(name="fv2es-lite", mel_encoder="conv", fusion_init="mean")
_LITE_TRAIN = {
    "epochs": 40,
    "batch_size": 16,
    "lr": 2e-3,
    # The pretrained text encoder learns at 1e-5.
    "text_lr_divisor": 200.0,
    "schedule": "cosine",
    "warmup": 50,
    "early_stop": 0,
    "keep": "last",
    "clip_norm": 1.0,
    "augment": ("flip", "spec"),
}
# A small version: learns from a few hundred utterances with random weights in a minute on a CPU.
_TINY = FV2ESConfig(
    name="fv2es-tiny",
    face_stem=16,
    face_stages=((16, 16, 32), (64,), (64,)),
    face_hidden=128,
    mel_encoder="conv",
    sound_dims=(16, 32, 32, 64),
    trans_layers=2,
    trans_ffn=128,
    fusion_init="mean",
    text_encoder="",
)
_TINY_TRAIN = {
    "epochs": 20,
    "batch_size": 8,
    "lr": 5e-4,
    # The text encoder starts with random weights, so its learning rate is that of the rest.
    "text_lr_divisor": 1.0,
    "early_stop": 10,
    "clip_norm": 1.0,
    # Tensors this small gain little from a second thread; on a busy machine, threads that waited
    # for each other made training many times slower. One thread is also reproducible on any number
    # of cores.
    "threads": 1,
}
FAMILY = ModelFamily(
    name="fv2es",
    config=FV2ESConfig,
    presets={
        "fv2es": Preset(FV2ESConfig(), EARLIER),
        "fv2es-lite": Preset(_LITE, _LITE_TRAIN),
        "mme2e": Preset(_MME2E, {**EARLIER, "lr": 5e-5, "epochs": 40, "batch_size": 8}),
        "fv2es-tiny": Preset(_TINY, _TINY_TRAIN),
    },
    build=_build,
)
