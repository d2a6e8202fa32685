"""Phases of a command: how long-running code reports progress, and how a terminal shows it."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Protocol

import typer

from fv2es_prep.utils.units import duration

Report = Callable[[int], None]
_LINE_EVERY_S, _SELDOM_S = 10.0, 30.0
# A shorter phase prints no line.
_SHORT_S = 1.0


class Phase(Protocol):
    """Shows a phase while a block runs."""

    def __call__(
        self, name: str, total: int | None = None, unit: str = ""
    ) -> AbstractContextManager[Report]:
        """Begin a phase of ``total`` units; None if the total is unknown.

        Yields:
            A function to call with the number of units done since its last call.
        """


def silent(
    name: str,  # noqa: ARG001
    total: int | None = None,  # noqa: ARG001
    unit: str = "",  # noqa: ARG001
) -> AbstractContextManager[Report]:
    """A phase that shows nothing; see `Phase`."""
    return nullcontext(lambda _: None)


@contextmanager
def progress(total: int, unit: str) -> Iterator[Report]:
    """Show progress while the block runs.

    Yields:
        A function to call with the number of units done since its last call.
    """
    with phases() as phase, phase("", total, unit) as report:
        yield report


@contextmanager
def phases() -> Iterator[Phase]:
    """Show the phases of the block: bars on a terminal, otherwise occasional plain lines."""
    if not sys.stderr.isatty():
        yield _plain
        return
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.TextColumn("{task.description}"),
        rich.BarColumn(),
        rich.TextColumn("{task.fields[count]}"),
        rich.TimeElapsedColumn(),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bars:

        @contextmanager
        def phase(name: str, total: int | None = None, unit: str = "") -> Iterator[Report]:
            counted = _Counted(total, unit)
            bar = bars.add_task(name, total=total, count="", visible=total != 0)

            def report(done: int) -> None:
                counted.done += done
                bars.update(bar, advance=done, count=str(counted))

            yield report
            if total is None:
                bars.update(bar, total=1, completed=1)
            if name and counted.seconds < _SHORT_S:
                bars.remove_task(bar)

        yield phase


@contextmanager
def _plain(name: str, total: int | None = None, unit: str = "") -> Iterator[Report]:
    """A phase as plain lines: one after a second, then every 10 to 30 s, and one at its end."""
    counted, title = _Counted(total, unit), f"{name}: " if name else ""
    ended = threading.Event()

    def report(done: int) -> None:
        counted.done += done

    def tell() -> None:
        wait_s = _SHORT_S
        while not ended.wait(wait_s):
            typer.echo(f"{title}{counted.line()}", err=True)
            wait_s = _LINE_EVERY_S if wait_s < _LINE_EVERY_S else min(1.5 * wait_s, _SELDOM_S)

    teller = threading.Thread(target=tell, daemon=True)
    if total != 0:
        teller.start()
    try:
        yield report
    finally:
        ended.set()
        if total != 0:
            teller.join()
    if total and counted.seconds >= _SHORT_S:
        typer.echo(f"{title}{counted}, {duration(counted.seconds)}", err=True)


class _Counted:
    """Progress of a phase: units done, and its start."""

    def __init__(self, total: int | None, unit: str) -> None:
        self._total, self._unit = total or 0, unit
        self._began = time.monotonic()
        self.done = 0

    @property
    def seconds(self) -> float:
        """Seconds since the beginning."""
        return max(time.monotonic() - self._began, 1e-9)

    @property
    def left_s(self) -> float:
        """Estimated seconds until all units are done."""
        return (self._total - self.done) * self.seconds / max(self.done, 1)

    def line(self) -> str:
        """How far it is and how long it will take, as far as that is known."""
        if not self._total:
            return duration(self.seconds)
        if not self.done:
            return f"0/{self._total} {self._unit}, {duration(self.seconds)}"
        if self.done >= self._total:
            return f"{self}, finishing"
        return f"{self}, about {duration(self.left_s)} left"

    def __str__(self) -> str:
        rate = self.done / self.seconds
        return f"{self.done}/{self._total} {self._unit}, {rate:.1f}/s"
