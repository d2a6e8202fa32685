"""Phases of a command: what code that takes long says it is doing, to whoever shows it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Protocol

Report = Callable[[int], None]


class Phase(Protocol):
    """Shows that a phase runs while a block does."""

    def __call__(
        self, name: str, total: int | None = None, unit: str = ""
    ) -> AbstractContextManager[Report]:
        """Begin a phase of ``total`` units; None: it is not known how much there is to do.

        Yields:
            A function to call with the number of units done since its last call.
        """


def silent(
    name: str,  # noqa: ARG001
    total: int | None = None,  # noqa: ARG001
    unit: str = "",  # noqa: ARG001
) -> AbstractContextManager[Report]:
    """A phase that nobody is shown; see `Phase`."""
    return nullcontext(lambda _: None)
