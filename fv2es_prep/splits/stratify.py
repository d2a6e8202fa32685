"""Dealing utterances, or whole groups, so that each part gets its share of every class.

Owns the two ways of dealing. Utterances: iterative stratification (Sechidis, Tsoumakas and Vlahavas
2011, On the Stratification of Multi-Label Data), all utterances of the same classes in one step.
Groups: greedily, the largest first, each to the part that it brings nearest to its share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# From this many steps of the inner loop on, compiling it takes less time than it saves.
_WORTH_COMPILING = 200_000


def deal(label: NDArray[np.uint8], shares: Sequence[float]) -> NDArray[np.int32]:
    """Deal utterances.

    Args:
        label: uint8 (N, C), in the order in which utterances are dealt.
        shares: of the K parts; they add up to 1.

    Returns:
        int32 (N,), the part of each. Of utterances with the same classes the first go to part 0.
    """
    kinds, kind = np.unique(_keys(label), return_inverse=True)
    order = np.argsort(kind, kind="stable")
    counts = np.bincount(kind, minlength=len(kinds))
    classes = label[order[np.cumsum(counts) - counts]].astype(bool)
    allotted = _allot(classes, counts, np.asarray(shares, float))
    parts = np.empty(len(label), np.int32)
    parts[order] = np.repeat(
        np.tile(np.arange(len(shares), dtype=np.int32), len(kinds)), allotted.ravel()
    )
    return parts


def _keys(label: NDArray[np.uint8]) -> NDArray[Any]:
    """One number for each set of classes."""
    if label.shape[1] > 62:
        keys: NDArray[Any] = np.unique(label, axis=0, return_inverse=True)[1].ravel()
        return keys
    keys = np.zeros(len(label), np.int64)
    for place in range(label.shape[1]):
        keys |= label[:, place].astype(np.int64) << place
    return keys


def _allot(
    classes: NDArray[np.bool_], counts: NDArray[np.int64], shares: NDArray[np.float64]
) -> NDArray[np.int64]:
    """How many of each kind go to each part, int64 (kinds, K); the rarest class is dealt first."""
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
    """Whole numbers that add up to ``count``, in the ratio of what each part still lacks."""
    lacking = np.maximum(desire, 0)
    exact = count * (lacking / lacking.sum() if lacking.sum() > 0 else shares)
    whole = np.floor(exact).astype(np.int64)
    # The rest one by one: by what is left, then by what the part lacks as a whole.
    best = np.lexsort((-desire_rows, -(exact - whole).round(9)))
    whole[best[: count - whole.sum()]] += 1
    return whole


def weights_of(
    codes: NDArray[np.int32], groups: int, label: NDArray[np.uint8], stratify: bool
) -> NDArray[np.float64]:
    """What each group weighs, float64 (G, 1 or C + 1): its utterances, then those of each class."""
    columns = [np.bincount(codes, minlength=groups)]
    if stratify:
        columns += [np.bincount(codes[place > 0], minlength=groups) for place in label.T]
    return np.stack(columns, axis=1).astype(np.float64)


def deal_groups(
    weights: NDArray[np.float64], shares: Sequence[float], seed: int
) -> NDArray[np.int32]:
    """Deal whole groups.

    Args:
        weights: float64 (G, W), see `weights_of`.
        shares: of the K parts; they add up to 1.
        seed: decides the order among groups of the same size.

    Returns:
        int32 (G,), the part of each group.
    """
    drawn = np.random.default_rng(seed).permutation(len(weights))
    order = drawn[np.argsort(-weights[drawn, 0], kind="stable")]
    totals = np.maximum(weights.sum(axis=0), 1)
    wanted = np.outer(np.asarray(shares, float), totals)
    step: Callable[..., NDArray[np.int32]] = _deal_in_order
    if len(weights) * wanted.size > _WORTH_COMPILING:
        from fv2es_prep.utils.jit import compiled

        step = compiled(_deal_in_order)
    return step(weights, order, wanted, totals)


def _deal_in_order(
    weights: NDArray[np.float64],
    order: NDArray[np.int64],
    wanted: NDArray[np.float64],
    totals: NDArray[np.float64],
) -> NDArray[np.int32]:
    # Plain loops, for they are compiled where there are many groups.
    parts = np.zeros(len(weights), np.int32)
    have = np.zeros_like(wanted)
    for group in order:
        best, best_cost, best_fill = 0, np.inf, np.inf
        for part in range(len(wanted)):
            cost = 0.0
            for i in range(len(totals)):
                weight, lack = weights[group, i], wanted[part, i] - have[part, i]
                cost += weight * (weight - 2 * lack) / (wanted[part, i] * totals[i])
            fill = have[part, 0] / wanted[part, 0]
            if cost < best_cost - 1e-12 or (cost < best_cost + 1e-12 and fill < best_fill):
                best, best_cost, best_fill = part, cost, fill
        parts[group] = best
        for i in range(len(totals)):
            have[best, i] += weights[group, i]
    return parts
