"""Deals utterances or whole groups to parts, so that each part gets its share of every class.

Utterances: iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification
of Multi-Label Data), all utterances with the same classes in one step. Groups: greedy, largest
first, each to the part that it brings closest to its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Costs that differ by less count as equal.
_TOLERANCE = 1e-12


def deal(label: NDArray[np.uint8], shares: Sequence[float]) -> NDArray[np.int32]:
    """Deal utterances to K parts with these shares, which sum to 1: int32 (N,).

    Labels, uint8 (N, C), are in dealing order; the first of equal rows go to part 0.
    """
    kinds, kind = np.unique(_keys(label), return_inverse=True)
    order = np.argsort(kind, kind="stable")
    counts = np.bincount(kind, minlength=len(kinds))
    classes = label[order[np.cumsum(counts) - counts]].astype(bool)
    allotted = _allot(classes, counts, np.asarray(shares, float))
    parts = np.empty(len(label), np.int32)
    dealt = np.tile(np.arange(len(shares), dtype=np.int32), len(kinds))
    parts[order] = np.repeat(dealt, allotted.ravel())
    return parts


def _keys(label: NDArray[np.uint8]) -> NDArray[Any]:
    """One number for each set of classes, (N,)."""
    if label.shape[1] > 62:
        keys: NDArray[Any] = np.unique(label, axis=0, return_inverse=True)[1].ravel()
        return keys
    bits = np.packbits(label, axis=1, bitorder="little")
    return np.pad(bits, ((0, 0), (0, 8 - bits.shape[1]))).view("<u8").ravel()


def _allot(
    classes: NDArray[np.bool_], counts: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """Number of each kind for each part, int64 (kinds, K); the rarest class is allotted first."""
    wanted = np.outer(shares, counts @ classes)
    wanted_rows = shares * counts.sum()
    allotted = np.zeros((len(counts), len(shares)), np.int64)
    open_ = counts > 0
    while open_.any():
        left = (counts * open_) @ classes
        rarest = int(np.argmin(np.where(left > 0, left, np.iinfo(np.int64).max)))
        has_class = bool(len(left)) and left[rarest] > 0
        for kind in np.flatnonzero(open_ & classes[:, rarest] if has_class else open_):
            desire = wanted[:, rarest] if has_class else wanted_rows
            allotted[kind] = _share_out(int(counts[kind]), desire, wanted_rows, shares)
            wanted -= np.outer(allotted[kind], classes[kind])
            wanted_rows = wanted_rows - allotted[kind]
            open_[kind] = False
    return allotted


def _share_out(
    count: int,
    desire: NDArray[np.float64],
    desire_rows: NDArray[np.float64],
    shares: NDArray[np.float64],
) -> NDArray[np.int64]:
    """Integers that sum to ``count``, in proportion to what each part still lacks."""
    lacking = np.maximum(desire, 0)
    exact = count * (lacking / lacking.sum() if lacking.sum() > 0 else shares)
    whole = np.floor(exact).astype(np.int64)
    # Deal the remainder one by one: by fraction, then by what the part lacks in total.
    best = np.lexsort((-desire_rows, -(exact - whole).round(9)))
    whole[best[: count - whole.sum()]] += 1
    return whole


def deal_groups(
    codes: NDArray[np.int32],
    shares: Sequence[float],
    seed: int,
    label: NDArray[np.uint8] | None = None,
) -> NDArray[np.int32]:
    """Deal whole groups to K parts with these shares, which sum to 1: int32 (N,).

    Args:
        codes: int32 (N,), the group of each utterance, 0 to G - 1.
        shares: shares of the K parts.
        seed: decides the order among groups of the same size.
        label: uint8 (N, C), to balance classes as well as sizes.
    """
    # Float64 (G, 1 or C + 1): utterances of each group, then those of each class.
    columns = [None, *([] if label is None else label.T)]
    weights = np.stack([np.bincount(codes, weights) for weights in columns], axis=1).astype(float)
    drawn = np.random.default_rng(seed).permutation(len(weights))
    totals = np.maximum(weights.sum(axis=0), 1)
    wanted = np.outer(np.asarray(shares, float), totals)
    have = np.zeros_like(wanted)
    parts = np.zeros(len(weights), np.int32)
    for group in drawn[np.argsort(-weights[drawn, 0], kind="stable")]:
        weight = weights[group]
        costs = weight * (weight - 2 * (wanted - have)) / (wanted * totals)
        fills = have[:, 0] / wanted[:, 0]
        part = _cheapest(np.add.accumulate(costs, axis=1)[:, -1].tolist(), fills.tolist())
        parts[group] = part
        have[part] += weight
    return parts[codes]


def _cheapest(costs: Sequence[float], fills: Sequence[float]) -> int:
    """The part with the lowest cost; among equal costs the emptiest."""
    best = 0
    for part in range(1, len(costs)):
        if costs[part] < costs[best] - _TOLERANCE or (
            costs[part] < costs[best] + _TOLERANCE and fills[part] < fills[best]
        ):
            best = part
    return best
