"""The published network, written small and plain, to compare ours with.

Its parts have the published names, and its forward pass the published steps: utterances padded to
the longest, a mask that spares CLS, time first, the tokens padded to their full length. It is built
from torch's, timm's and transformers' layers and shares no code with ours. The sizes can be small;
the defaults are the published ones.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from timm.models.nest import Nest
from torch import Tensor, nn
from torchvision.transforms import Normalize
from transformers import AlbertConfig, AlbertModel


class Branches(nn.Module):
    """A RepVGG block as the sum of its branches, or as the convolution they were fused into."""

    def __init__(self, inputs: int, outputs: int, fused: bool) -> None:
        super().__init__()
        if fused:
            self.rbr_reparam = nn.Conv2d(inputs, outputs, 3, padding=1)
            return
        if inputs == outputs:
            self.rbr_identity = nn.BatchNorm2d(inputs)
        self.rbr_dense = nn.Sequential()
        self.rbr_dense.add_module("conv", nn.Conv2d(inputs, outputs, 3, padding=1, bias=False))
        self.rbr_dense.add_module("bn", nn.BatchNorm2d(outputs))
        self.rbr_1x1 = nn.Sequential()
        self.rbr_1x1.add_module("conv", nn.Conv2d(inputs, outputs, 1, bias=False))
        self.rbr_1x1.add_module("bn", nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(sum(branch(x) for branch in self.children()))

    @torch.no_grad()
    def fuse(self) -> Branches:
        """The fused form, from the block's answers to single pixels: it is linear before ReLU."""
        inputs = self.rbr_dense.conv.in_channels
        total = lambda x: sum(branch(x) for branch in self.children())  # noqa: E731
        bias = total(torch.zeros(1, inputs, 3, 3))[0, :, 1, 1]
        pixels = torch.zeros(inputs, inputs, 3, 3)
        pixels[range(inputs), range(inputs), 1, 1] = 1
        answers = total(pixels) - bias[None, :, None, None]
        twin = Branches(inputs, len(bias), fused=True)
        # A convolution is a correlation: the answer to a pixel is the kernel turned around.
        twin.rbr_reparam.weight.copy_(answers.transpose(0, 1).flip(2, 3))
        twin.rbr_reparam.bias.copy_(bias)
        return twin.eval()


class Pair(nn.Module):
    """A block of MME2E, the ancestor."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.bn2 = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        for conv, norm in ((self.conv1, self.bn1), (self.conv2, self.bn2)):
            x = norm(conv(x)).clamp_min(0)
        return x


class Text(nn.Module):
    def __init__(self, vocabulary: int, inner: int) -> None:
        super().__init__()
        config = AlbertConfig(
            vocab_size=vocabulary,
            hidden_size=768,
            num_attention_heads=12,
            intermediate_size=inner,
        )
        self.albert = AlbertModel(config)


class Sequences(nn.Module):
    def __init__(self, width: int, layers: int, heads: int) -> None:
        super().__init__()
        layer = nn.TransformerEncoderLayer(width, heads)
        self.encoder = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)
        self.cls_emb = nn.Embedding(1, width)

    def forward(self, vectors: Tensor, counts: Sequence[int]) -> Tensor:
        longest, width = max(counts), vectors.shape[1]
        rows, mask, start = [], [], 0
        for count in counts:
            fill = torch.zeros(longest - count, width)
            rows.append(torch.cat([self.cls_emb.weight, vectors[start : start + count], fill]))
            mask.append([False] * (1 + count) + [True] * (longest - count))
            start += count
        steps_first = torch.stack(rows, dim=1)
        return self.encoder(steps_first, src_key_padding_mask=torch.tensor(mask))[0]


class PublishedNet(nn.Module):
    """All parts are there, whichever modalities are used."""

    def __init__(
        self,
        modalities: str = "tav",
        fused: bool = False,
        stem: int = 64,
        stages: Sequence[Sequence[int]] = ((64, 64, 128), (256,), (512,)),
        dims: tuple[int, ...] = (128, 256, 512),
        depths: tuple[int, ...] = (2, 2, 20),
        hidden: int = 1024,
        width: int = 64,
        layers: int = 4,
        vocabulary: int = 30_000,
        inner: int = 3072,
        classes: int = 6,
        ancestor: bool = False,
    ) -> None:
        super().__init__()
        self.modalities, self.ancestor = modalities, ancestor
        self.T = Text(vocabulary, inner)
        self.normalize = Normalize([159, 111, 102], [37, 33, 32])

        def pictures(channels: int) -> nn.Sequential:
            blocks: list[nn.Module] = [nn.Conv2d(channels, stem, 5, padding=2)]
            blocks += [nn.BatchNorm2d(stem), nn.ReLU(), nn.MaxPool2d(2, 2)]
            last = stem
            for stage in stages:
                for width in stage:
                    block = Pair(last, width) if ancestor else Branches(last, width, fused)
                    blocks.append(block)
                    last = width
                blocks.append(nn.MaxPool2d(2, 2))
            return nn.Sequential(*blocks)

        self.V, last = pictures(3), stages[-1][-1]
        heads = tuple(dim // 32 for dim in dims)
        nest = Nest(
            img_size=32, in_chans=4, patch_size=1, embed_dims=dims, num_heads=heads, depths=depths
        )
        nest.patch_embed.proj = nn.Conv2d(4, dims[0], 3, padding=1)
        self.A = pictures(1) if ancestor else nn.Sequential(nest)

        def flatten(inputs: int) -> nn.Sequential:
            return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, width))

        self.v_flatten = flatten(last * 3 * 3)
        self.a_flatten = flatten(last * 8 * 2 if ancestor else dims[-1] * 8 * 8)
        self.v_transformer = Sequences(width, layers, 4)
        self.a_transformer = Sequences(width, layers, 4)
        self.v_out = nn.Linear(width, classes)
        self.t_out = nn.Linear(768, classes)
        self.a_out = nn.Linear(width, classes)
        self.weighted_fusion = nn.Linear(len(modalities), 1, bias=False)

    def forward(
        self,
        faces: Tensor,
        face_counts: Sequence[int],
        mel: Tensor,
        mel_counts: Sequence[int],
        text: dict[str, Tensor],
    ) -> Tensor:
        logits = []
        if "t" in self.modalities:
            logits.append(self.t_out(self.T.albert(**text).last_hidden_state[:, 0]))
        if "v" in self.modalities:
            seen = self.V(torch.stack([self.normalize(face) for face in faces]))
            vectors = self.v_flatten(seen.flatten(1))
            logits.append(self.v_out(self.v_transformer(vectors, face_counts)))
        if "a" in self.modalities:
            if self.ancestor:
                heard = self.A(mel)
            else:
                heard = self.A[0].forward_features(mel.reshape(len(mel), 4, 32, 32))
            vectors = self.a_flatten(heard.flatten(1))
            logits.append(self.a_out(self.a_transformer(vectors, mel_counts)))
        if len(logits) == 1:
            return logits[0]
        return self.weighted_fusion(torch.stack(logits, -1)).squeeze(-1)
