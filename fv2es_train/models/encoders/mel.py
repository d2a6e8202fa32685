"""Mel chunks to vectors: timm's NesT on a chunk reshaped to four square images.

Owns the reshaping, the input scale and two published changes to NesT: a 3x3 first convolution and
no pooling at the end.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from fv2es_train.models.fv2es_config import FV2ESConfig


class MelEncoder(nn.Module):
    """Each chunk to a vector.

    ``nest`` has timm's names, which are the published ``A.0`` names without the unused head;
    ``project`` is the published ``a_flatten``. NesT: Zhang et al. 2021, arXiv 2105.12723.

    Args:
        config: the network's sizes.
    """

    def __init__(self, config: FV2ESConfig) -> None:
        super().__init__()
        from timm.models.nest import Nest

        self.mel_input = config.mel_input
        self.floor, self.mean, self.std = config.mel_floor, config.mel_mean, config.mel_std
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
        side = config.mel_rows // config.mel_patch // 2 ** (len(config.mel_dims) - 1)
        self.project = nn.Sequential(
            nn.Linear(config.mel_dims[-1] * side * side, config.mel_hidden),
            nn.ReLU(),
            nn.Linear(config.mel_hidden, config.trans_dim),
        )

    def forward(self, mel: Tensor) -> Tensor:
        """Chunks to vectors.

        Args:
            mel: float32 (N, 1, M, R), linear power, bands by rows of time.

        Returns:
            float32 (N, trans_dim).
        """
        if self.mel_input == "log":
            mel = (torch.log(mel.clamp_min(self.floor)) - self.mean) / self.std
        # (N, 1, 128, 32) to (N, 4, 32, 32): each quarter of the bands is a channel.
        features = self.nest.forward_features(mel.reshape(-1, *self.image))
        vectors: Tensor = self.project(features.flatten(1))
        return vectors
