"""Expressions of ffmpeg's filters."""

from __future__ import annotations

from collections.abc import Callable, Sequence


def count_true(conditions: Sequence[str], value: Callable[[int], int] = lambda count: count) -> str:
    """How many of some conditions are true, where each implies all before it; ``value`` of that.

    A binary tree, so that ffmpeg evaluates few of them for a picture.
    """
    return _between(conditions, value, 0, len(conditions))


def _between(conditions: Sequence[str], value: Callable[[int], int], low: int, high: int) -> str:
    if low == high:
        return str(value(low))
    middle = (low + high) // 2
    above = _between(conditions, value, middle + 1, high)
    below = _between(conditions, value, low, middle)
    return f"if({conditions[middle]},{above},{below})"
