"""Compiling an inner loop with Numba, kept on disk for the next process.

Owns the decorator. Numba is loaded with this module: import it only where a loop is about to run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import ParamSpec, TypeVar

from numba import njit

P = ParamSpec("P")
R = TypeVar("R")


def compiled(function: Callable[P, R]) -> Callable[P, R]:
    """Compile on the first call; what was compiled is kept on disk for the next process."""
    try:
        made: Callable[P, R] = njit(cache=True, nogil=True)(function)
    except RuntimeError:
        # Neither the package nor the user's cache can be written: each process compiles anew.
        made = njit(nogil=True)(function)
    return made
