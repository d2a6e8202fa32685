"""Encoders of faces, of mel chunks, and of the vectors of an utterance.

Owns the published RepVGG and VGG stacks, the fusion of RepVGG into plain convolutions, the
reshaping of mel chunks to square images for timm's NesT, and the transformer with a learned CLS.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pad_sequence

if TYPE_CHECKING:
    from fv2es_train.models.fv2es_config import FV2ESConfig

# What timm gives all other weights of NesT.
_NEST_STD = 0.02
Network = TypeVar("Network", bound=nn.Module)


class RepVggBlock(nn.Module):
    """ReLU of 3x3 + BN, 1x1 + BN and, if the width stays, BN (Ding et al. 2021, 2101.03697)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.dense = ConvNorm(inputs, outputs, 3)
        self.pointwise = ConvNorm(inputs, outputs, 1)
        self.identity = nn.BatchNorm2d(inputs) if inputs == outputs else None

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        total = self.dense(x) + self.pointwise(x)
        if self.identity is not None:
            total = total + self.identity(x)
        return functional.relu(total)

    @torch.no_grad()
    def as_conv(self) -> nn.Conv2d:
        """The 3x3 convolution that equals the branches in eval mode (ibid., section 3.3)."""
        kernel, bias = _absorb(self.dense.conv.weight, self.dense.bn)
        small, shift = _absorb(self.pointwise.conv.weight, self.pointwise.bn)
        kernel, bias = kernel + functional.pad(small, (1, 1, 1, 1)), bias + shift
        outputs, inputs = kernel.shape[:2]
        if self.identity is not None:
            unit = torch.eye(inputs, dtype=kernel.dtype, device=kernel.device)
            same, shift = _absorb(unit[:, :, None, None], self.identity)
            kernel, bias = kernel + functional.pad(same, (1, 1, 1, 1)), bias + shift
        conv = nn.Conv2d(inputs, outputs, 3, padding=1, device=kernel.device, dtype=kernel.dtype)
        conv.weight.copy_(kernel)
        conv.bias.copy_(bias)  # type: ignore[union-attr]  # Conv2d has a bias by default
        return conv


class VggBlock(nn.Module):
    """Two 3x3 convolutions, each with batch norm and ReLU, as in MME2E (arXiv 2103.09666)."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        x = functional.relu(self.bn1(self.conv1(x)))
        return functional.relu(self.bn2(self.conv2(x)))


class ConvNorm(nn.Module):
    """A convolution that keeps height and width, without bias, and its batch norm."""

    def __init__(self, inputs: int, outputs: int, kernel: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, padding=kernel // 2, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """(N, inputs, H, W) to (N, outputs, H, W)."""
        normed: Tensor = self.bn(self.conv(x))
        return normed


class FaceEncoder(nn.Module):
    """Encode each face to a vector; layers have the numbers of ``V`` and ``v_flatten``."""

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__()
        # Plain torch, because importing torchvision takes longer than importing torch.
        self.mean: Tensor
        self.std: Tensor
        for name, values in (("mean", config.face_mean), ("std", config.face_std)):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)
        block = VggBlock if config.face_block == "vgg" else RepVggBlock
        self.stack = _stack(config, 3, _plain if config.face_fused else block)
        side = config.face_px // 2 ** (1 + len(config.face_stages))
        flat = config.face_stages[-1][-1] * side * side
        self.project = nn.Sequential(
            nn.Linear(flat, config.face_hidden),
            nn.ReLU(),
            nn.Linear(config.face_hidden, config.trans_dim),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Map faces, RGB, scale 0..255, float32 (N, 3, S, S), to vectors (N, trans_dim)."""
        vectors: Tensor = self.project(self.stack((faces - self.mean) / self.std).flatten(1))
        return vectors


def fused(network: Network) -> Network:
    """Copy for inference with RepVGG blocks as single convolutions; shares the other weights."""
    if isinstance(network, RepVggBlock):
        return _as_plain(network)  # type: ignore[return-value]
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared).eval()
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RepVggBlock):
                setattr(parent, name, _as_plain(child))
    return twin


def _stack(
    config: FV2ESConfig, channels: int, block: Callable[[int, int], nn.Module]
) -> nn.Sequential:
    width = config.face_stem
    layers: list[nn.Module] = [
        nn.Conv2d(channels, width, 5, padding=2),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    for stage in config.face_stages:
        for outputs in stage:
            layers.append(block(width, outputs))
            width = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


def _plain(inputs: int, outputs: int) -> nn.Sequential:
    """The form of a fused block."""
    return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.ReLU())


def _as_plain(block: RepVggBlock) -> nn.Sequential:
    return nn.Sequential(block.as_conv(), nn.ReLU()).eval()


def _absorb(kernel: Tensor, bn: nn.BatchNorm2d) -> tuple[Tensor, Tensor]:
    """Kernel and bias of a convolution followed by a batch norm in eval mode.

    ``W' = W * gamma / sqrt(var + eps)`` and ``b' = beta - mean * gamma / sqrt(var + eps)``.
    """
    scale = bn.weight / torch.sqrt(bn.get_buffer("running_var") + bn.eps)
    return kernel * scale[:, None, None, None], bn.bias - bn.get_buffer("running_mean") * scale


class MelInput(nn.Module):
    """Base of the encoders of mel chunks: the scale of their input."""

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__()
        self.mel_input = config.mel_input
        self.floor, self.mean, self.std = config.mel_floor, config.mel_mean, config.mel_std

    def scaled(self, mel: Tensor) -> Tensor:
        """Return linear power or its normalized logarithm; see `FV2ESConfig`."""
        if self.mel_input == "power":
            return mel
        return (torch.log(mel.clamp_min(self.floor)) - self.mean) / self.std


class VggMelEncoder(MelInput):
    """Encode each mel chunk to a vector by the VGG stack of MME2E; ``stack`` is its ``A``."""

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__(config)
        self.stack = _stack(config, 1, VggBlock)
        smaller = 2 ** (1 + len(config.face_stages))
        flat = config.mel_bands // smaller * (config.mel_rows // smaller)
        self.project = nn.Sequential(
            nn.Linear(config.face_stages[-1][-1] * flat, config.mel_hidden),
            nn.ReLU(),
            nn.Linear(config.mel_hidden, config.trans_dim),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Linear power, bands by rows of time, float32 (N, 1, M, R), to vectors (N, trans_dim)."""
        vectors: Tensor = self.project(self.stack(self.scaled(mel)).flatten(1))
        return vectors


class MelEncoder(MelInput):
    """Encode each mel chunk to a vector by timm's NesT (Zhang et al. 2021, arXiv 2105.12723).

    As published, the first convolution is 3x3 and there is no pooling at the end. ``nest`` has the
    names of the published ``A.0``, without the unused head; ``project`` is ``a_flatten``.
    """

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__(config)
        from timm.models.nest import Nest

        self.image = (config.mel_channels, config.mel_rows, config.mel_rows)
        self.nest = Nest(
            img_size=config.mel_rows,
            in_chans=config.mel_channels,
            patch_size=config.mel_patch,
            num_levels=len(config.mel_dims),
            embed_dims=config.mel_dims,
            num_heads=config.mel_heads,
            depths=config.mel_depths,
            drop_path_rate=config.mel_drop_path,
            num_classes=0,
        )
        self.nest.patch_embed.proj = nn.Conv2d(
            config.mel_channels, config.mel_dims[0], 3, stride=config.mel_patch, padding=1
        )
        if config.mel_init == "nest":
            nn.init.trunc_normal_(self.nest.patch_embed.proj.weight, std=_NEST_STD)
            nn.init.zeros_(self.nest.patch_embed.proj.bias)
        side = config.mel_rows // config.mel_patch // 2 ** (len(config.mel_dims) - 1)
        self.project = nn.Sequential(
            nn.Linear(config.mel_dims[-1] * side * side, config.mel_hidden),
            nn.ReLU(),
            nn.Linear(config.mel_hidden, config.trans_dim),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Linear power, bands by rows of time, float32 (N, 1, M, R), to vectors (N, trans_dim)."""
        mel = self.scaled(mel)
        # (N, 1, 128, 32) to (N, 4, 32, 32): each quarter of the bands becomes a channel.
        features = self.nest.forward_features(mel.reshape(-1, *self.image))
        vectors: Tensor = self.project(features.flatten(1))
        return vectors


class SequenceEncoder(nn.Module):
    """torch's TransformerEncoder without positions, as published: it encodes a set."""

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(
            config.trans_dim,
            config.trans_heads,
            dim_feedforward=config.trans_ffn,
            dropout=config.dropout,
            batch_first=True,
        )
        # Disable nested tensors: torch warns about them, and they only save time on padding.
        self.encoder = nn.TransformerEncoder(layer, config.trans_layers, enable_nested_tensor=False)
        self.cls_emb = nn.Embedding(1, config.trans_dim)

    def forward(self, vectors: Tensor, counts: Sequence[int]) -> Tensor:
        """Encode the vectors of B utterances to the output at CLS, float32 (B, trans_dim).

        Args:
            vectors: float32 (sum of counts, trans_dim), utterance after utterance.
            counts: number of vectors of each utterance.
        """
        padded = pad_sequence(list(torch.split(vectors, list(counts))), batch_first=True)
        cls = self.cls_emb.weight.expand(len(counts), 1, -1)
        lengths = torch.tensor(counts, device=vectors.device)
        places = torch.arange(padded.shape[1] + 1, device=vectors.device)
        encoded: Tensor = self.encoder(
            torch.cat([cls, padded], dim=1),
            src_key_padding_mask=places[None] > lengths[:, None],
        )
        return encoded[:, 0]

    def one(self, vectors: Tensor) -> Tensor:
        """The vectors (N, trans_dim) of a single utterance to its output at CLS, (1, trans_dim)."""
        encoded: Tensor = self.encoder(torch.cat([self.cls_emb.weight, vectors])[None])
        return encoded[:, 0]
