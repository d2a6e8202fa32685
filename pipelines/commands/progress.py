"""How far a run is, on stderr: a bar on a terminal, plain lines elsewhere.

Owns how progress looks. Leaves counting to its callers.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

_LINE_EVERY_S = 10.0


@contextlib.contextmanager
def progress(total: int, unit: str, quiet: bool = False) -> Iterator[Callable[[int], None]]:
    """Show progress while the block runs.

    Args:
        total: how many there are to do.
        unit: what is counted, in the plural.
        quiet: show nothing.

    Yields:
        A function to be called with how many were done since its last call.
    """
    if quiet or total == 0:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(total, unit) as advance:
            yield advance
    else:
        yield _Lines(total, unit).advance


@contextlib.contextmanager
def _bar(total: int, unit: str) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn(unit),
        TextColumn("{task.fields[rate]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, rate="")
        began = time.monotonic()

        def advance(done: int) -> None:
            bar.advance(task, done)
            rate = bar.tasks[0].completed / max(time.monotonic() - began, 1e-9)
            bar.update(task, rate=f"{rate:.1f}/s")

        yield advance


class _Lines:
    """A plain line now and then."""

    def __init__(self, total: int, unit: str) -> None:
        self._total, self._unit, self._done = total, unit, 0
        self._began = self._said = time.monotonic()

    def advance(self, done: int) -> None:
        self._done += done
        now = time.monotonic()
        if now - self._said < _LINE_EVERY_S and self._done < self._total:
            return
        self._said = now
        rate = self._done / max(now - self._began, 1e-9)
        left = (self._total - self._done) / max(rate, 1e-9)
        print(
            f"{self._done}/{self._total} {self._unit}, {rate:.1f}/s, {left:.0f} s left",
            file=sys.stderr,
            flush=True,
        )
