"""Dropout whose mask belongs to the utterance: the same in any batch, process and after a resume.

torch draws masks from one stream of random numbers, so they depend on what was drawn before and on
who else is in the batch. Here a mask is computed from the run's seed, the epoch, the utterance's id
and the place in the network. So two processes that share a batch drop what one would drop, and
a run that continues needs no stream of random numbers to be where it was.

Owns the masks and where in a network they take the place of torch's. Leaves rates to `config`.
A text encoder that drops attention weights inside transformers' own functions keeps doing so.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, softmax

from fv2es_train.data.augmentation import keys_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from fv2es_train.data.batches import Batch

Kind = TypeVar("Kind", bound=nn.Module)

# Odd numbers with bits all over: one for the place in the network, one for each axis.
_PLACE = 0x9E3779B97F4A7C15
_AXES = (0xD1B54A32D192ED03, 0xABC98388FB8FAC03, 0x8CB92BA72F3D8DD7)
_MIX = ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB))
_BITS = 24


class Noise:
    """What the masks of the present batch are computed from.

    Attributes:
        keys: int64, one for each row of ``utterance`` (B,) and of ``chunk`` (sum of K,).
    """

    def __init__(self) -> None:
        self.keys: dict[str, Tensor] = {}

    def begin(self, batch: Batch, seed: int, epoch: int) -> None:
        """Take the keys of a batch; call it before the network sees the batch."""
        device = batch.label.device
        keys = torch.tensor(keys_of(batch.ids, seed, epoch), dtype=torch.int64)
        counts = torch.tensor(batch.chunk_counts)
        first = torch.repeat_interleave(counts.cumsum(0) - counts, counts)
        chunk = torch.repeat_interleave(keys, counts)
        chunk = _mixed(chunk + (torch.arange(len(chunk)) - first + 1) * _signed(_PLACE))
        self.keys = {"utterance": keys.to(device), "chunk": chunk.to(device)}


def uniform(keys: Tensor, place: int, shape: Sequence[int]) -> Tensor:
    """Random numbers that depend on key, place and position alone, so not on any size.

    The finalizer of splitmix64 (Steele et al. 2014, doi 10.1145/2660193.2660195) over a number for
    each position.

    Args:
        keys: int64 (N,).
        place: number of the layer.
        shape: (N, ...), up to three axes after the first.

    Returns:
        float32 of that shape, evenly from [0, 1).
    """
    state = _mixed(keys + _signed(place * _PLACE))
    for size, factor in zip(shape[1:], _AXES, strict=False):
        steps = torch.arange(size, device=keys.device) * _signed(factor)
        state = state.unsqueeze(-1) + steps
    drawn: Tensor = ((_mixed(state) >> (63 - _BITS)) & (2**_BITS - 1)).float() / 2**_BITS
    return drawn


class KeyedDropout(nn.Module):
    """Dropout by `Noise`.

    Args:
        p: share that is dropped.
        noise: of the run.
        rows: what the first axis of its input counts, ``utterance`` or ``chunk``.
        place: number of the layer.
        whole: drop whole rows, as timm's DropPath does (Huang et al. 2016, arXiv 1603.09382).
    """

    def __init__(self, p: float, noise: Noise, rows: str, place: int, whole: bool = False) -> None:
        super().__init__()
        self.p, self.noise, self.rows, self.place, self.whole = p, noise, rows, place, whole

    def forward(self, x: Tensor) -> Tensor:
        """Zero a share ``p`` of ``x`` and scale the rest by 1 / (1 - p); in eval mode, nothing."""
        if not self.training or self.p == 0:
            return x
        shape = (len(x), *[1] * (x.ndim - 1)) if self.whole else x.shape
        kept = uniform(self.noise.keys[self.rows], self.place, shape) >= self.p
        return x * kept.to(x.dtype) / (1 - self.p)


class KeyedAttention(nn.MultiheadAttention):
    """torch's self-attention, with the dropout of its weights by `Noise`."""

    drop: KeyedDropout

    def forward(  # type: ignore[override]  # the parts that TransformerEncoderLayer uses
        self, query: Tensor, key: Tensor, value: Tensor, **given: object
    ) -> tuple[Tensor, Tensor | None]:
        """As torch's, batch first, query = key = value."""
        padding = given.get("key_padding_mask")
        if not self.training:
            return super().forward(query, key, value, **given)  # type: ignore[arg-type]  # as given
        count, length, width = query.shape
        joined = linear(query, self.in_proj_weight, self.in_proj_bias)
        parts = joined.view(count, length, 3, self.num_heads, width // self.num_heads)
        q, k, v = parts.permute(2, 0, 3, 1, 4)
        scores = q @ k.transpose(-2, -1) / math.sqrt(q.shape[-1])
        if isinstance(padding, Tensor):
            # TransformerEncoder has made minus infinity of what is padding.
            scores = scores + padding[:, None, None]
        heads: Tensor = self.drop(softmax(scores, dim=-1)) @ v
        out: Tensor = self.out_proj(heads.transpose(1, 2).reshape(count, length, width))
        return out, None


def take_over(model: nn.Module) -> Noise:
    """Put our dropout in the place of torch's and timm's in a whole network.

    Parameters, their names and what the network computes in eval mode stay as they are.

    Args:
        model: changed in place.

    Returns:
        What has to be told of each batch.
    """
    from timm.layers import DropPath

    noise = Noise()
    for place, (name, module) in enumerate(list(model.named_modules())):
        rows = "chunk" if name.startswith("mel.") else "utterance"
        if isinstance(module, nn.Dropout):
            fresh: nn.Module = KeyedDropout(module.p, noise, rows, place)
        elif isinstance(module, DropPath):
            fresh = KeyedDropout(module.drop_prob, noise, rows, place, whole=True)
        elif isinstance(module, nn.MultiheadAttention):
            fresh = sharing(KeyedAttention, module)
            fresh.drop = KeyedDropout(module.dropout, noise, rows, place)
        else:
            continue
        model.set_submodule(name, fresh.train(module.training))
    return noise


def sharing(kind: type[Kind], module: nn.Module) -> Kind:
    """A module of a subclass with the very same parameters, buffers and settings."""
    twin = kind.__new__(kind)
    twin.__dict__ = module.__dict__
    return twin


def _mixed(state: Tensor) -> Tensor:
    for shift, factor in _MIX:
        state = (state ^ _shifted(state, shift)) * _signed(factor)
    return state ^ _shifted(state, 31)


def _shifted(state: Tensor, bits: int) -> Tensor:
    """To the right with zeros coming in; torch's own shift copies the sign."""
    shifted: Tensor = (state >> bits) & (2 ** (64 - bits) - 1)
    return shifted


def _signed(value: int) -> int:
    """The lowest 64 bits as the signed number that int64 takes them for."""
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value
