"""Faces to vectors: the published RepVGG stack, and its fusion into plain convolutions."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchvision.transforms import Normalize

if TYPE_CHECKING:
    from fv2es_train.models.fv2es_config import FV2ESConfig

Network = TypeVar("Network", bound=nn.Module)


class RepVggBlock(nn.Module):
    """A 3x3 convolution that trains as up to three branches (Ding et al. 2021, arXiv 2101.03697).

    The branches are 3x3 + BN, 1x1 + BN and, if the width stays, BN; ReLU is applied to their sum.

    Args:
        inputs: input channels.
        outputs: output channels.
    """

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
        """The 3x3 convolution with bias that equals the branches in eval mode.

        Each branch becomes a 3x3 kernel scaled by its batch norm; kernels and biases are added
        (Ding et al. 2021, section 3.3).
        """
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
    """Each face to a vector; layers are numbered as in the published ``V`` and ``v_flatten``."""

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__()
        self.normalize = Normalize(config.face_mean, config.face_std)
        self.stack = _stack(config)
        side = config.face_px // 2 ** (1 + len(config.face_stages))
        flat = config.face_stages[-1][-1] * side * side
        self.project = nn.Sequential(
            nn.Linear(flat, config.face_hidden),
            nn.ReLU(),
            nn.Linear(config.face_hidden, config.trans_dim),
        )

    def forward(self, faces: Tensor) -> Tensor:
        """Faces to vectors.

        Args:
            faces: float32 (N, 3, S, S), RGB, scale 0..255.

        Returns:
            float32 (N, trans_dim).
        """
        vectors: Tensor = self.project(self.stack(self.normalize(faces)).flatten(1))
        return vectors


def fused(network: Network) -> Network:
    """A copy for inference whose RepVGG blocks are single convolutions.

    Its outputs equal the original's in eval mode. It shares all weights but those of the blocks.

    Args:
        network: any module, including a `RepVggBlock`.
    """
    if isinstance(network, RepVggBlock):
        return _as_plain(network)  # type: ignore[return-value]
    shared = {id(tensor): tensor for tensor in (*network.parameters(), *network.buffers())}
    twin = copy.deepcopy(network, shared).eval()
    for parent in list(twin.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, RepVggBlock):
                setattr(parent, name, _as_plain(child))
    return twin


def _stack(config: FV2ESConfig) -> nn.Sequential:
    width = config.face_stem
    layers: list[nn.Module] = [
        nn.Conv2d(3, width, 5, padding=2),
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.MaxPool2d(2),
    ]
    for stage in config.face_stages:
        for outputs in stage:
            block = _plain if config.face_fused else RepVggBlock
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
    assert bn.running_mean is not None, "a batch norm that keeps statistics"
    assert bn.running_var is not None, "a batch norm that keeps statistics"
    scale = bn.weight / torch.sqrt(bn.running_var + bn.eps)
    return kernel * scale[:, None, None, None], bn.bias - bn.running_mean * scale
