"""Numba compilation with an on-disk cache. Importing it imports Numba."""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on the first call, and cache the result on disk for later processes.

    Division by zero gives what NumPy gives: a check of each divisor would prevent vectorization.
    """
    try:
        made: Callable[P, R] = njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:
        # Neither the package nor the user cache is writable: each process compiles again.
        made = njit(nogil=True, error_model="numpy")(function)
    return made
