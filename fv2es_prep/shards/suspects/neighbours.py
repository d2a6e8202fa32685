"""Finds the nearest neighbours of many vectors, in blocks to limit memory."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_BLOCK = 1024


def nearest(
    vectors: NDArray[np.float32],
    count: int,
    groups: NDArray[np.int32] | None = None,
    within: bool = True,
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Find the nearest other vectors by Euclidean distance, nearest first.

    Args:
        vectors: float32 (N, D), finite.
        count: neighbours of each; fewer if N is smaller.
        groups: (N,), numbers of groups; None puts all into one.
        within: whether neighbours come from the same group, or from other groups.

    Returns:
        Their rows, int64 (N, K), and their distances, float32 (N, K), infinite where there is none.
    """
    total, count = len(vectors), max(min(count, len(vectors) - 1), 0)
    rows = np.zeros((total, count), np.int64)
    distances = np.zeros((total, count), np.float32)
    squares = np.square(vectors).sum(1)
    for begin in range(0, total if count else 0, _BLOCK):
        block = vectors[begin : begin + _BLOCK]
        found = squares - 2 * (block @ vectors.T)
        here = np.arange(len(block))
        found[here, begin + here] = np.inf
        if groups is not None:
            found[(groups[begin + here, None] == groups) != within] = np.inf
        chosen = np.argpartition(found, count - 1, axis=1)[:, :count]
        # Differences, because sums of squares cancel if vectors are equal.
        exact = np.linalg.norm(vectors[chosen] - block[:, None], axis=2)
        exact[np.isinf(np.take_along_axis(found, chosen, 1))] = np.inf
        order = np.argsort(exact, axis=1, kind="stable")
        rows[begin : begin + _BLOCK] = np.take_along_axis(chosen, order, 1)
        distances[begin : begin + _BLOCK] = np.take_along_axis(exact, order, 1)
    return rows, distances


def scaled(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Vectors (N, D) in units of each column's robust deviation from its median."""
    away = vectors - np.median(vectors, axis=0)
    spread = 1.4826 * np.median(np.abs(away), axis=0)
    result: NDArray[np.float32] = (away / np.maximum(spread, 1e-3)).astype(np.float32)
    return result


def robust_z(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """How many robust deviations each value (N,) lies above the median; NaN stays NaN."""
    middle = np.nanmedian(values)
    spread = 1.4826 * np.nanmedian(np.abs(values - middle))
    result: NDArray[np.float32] = (values - middle) / max(spread, 1e-6)
    return result
