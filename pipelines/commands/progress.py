"""How far a command is, on stderr: a bar on a terminal, plain lines elsewhere.

Owns how progress looks. Leaves counting to its callers.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

Report = Callable[[int], None]
_LINE_EVERY_S = 10.0


@contextlib.contextmanager
def progress(total: int, unit: str) -> Iterator[Report]:
    """Show progress while the block runs.

    Args:
        total: how many there are to do.
        unit: what is counted, in the plural.

    Yields:
        A function to be called with how many were done since its last call.
    """
    if total == 0:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(total, unit) as report:
            yield report
    else:
        yield _lines(total, unit)


@contextlib.contextmanager
def _bar(total: int, unit: str) -> Iterator[Report]:
    from rich import progress as rich
    from rich.console import Console

    columns = (
        rich.BarColumn(),
        rich.MofNCompleteColumn(),
        rich.TextColumn(unit),
        rich.TextColumn("{task.fields[rate]}"),
        rich.TimeRemainingColumn(),
    )
    with rich.Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task("", total=total, rate="")
        began = time.monotonic()

        def report(done: int) -> None:
            bar.advance(task, done)
            rate = bar.tasks[0].completed / max(time.monotonic() - began, 1e-9)
            bar.update(task, rate=f"{rate:.1f}/s")

        yield report


def _lines(total: int, unit: str) -> Report:
    """A plain line now and then."""
    began = printed = time.monotonic()
    completed = 0

    def report(done: int) -> None:
        nonlocal completed, printed
        completed += done
        now = time.monotonic()
        if now - printed < _LINE_EVERY_S and completed < total:
            return
        printed = now
        rate = max(completed / max(now - began, 1e-9), 1e-9)
        left_s = (total - completed) / rate
        line = f"{completed}/{total} {unit}, {rate:.1f}/s, {left_s:.0f} s left"
        print(line, file=sys.stderr, flush=True)

    return report
