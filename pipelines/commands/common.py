"""What the commands share."""

from __future__ import annotations

import shlex
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.abc import MetaPathFinder
from pathlib import Path
from typing import Annotated, Any

import typer

from fv2es_prep.utils.console import print_json

Dataset = Annotated[
    Path, typer.Argument(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")]
Report = Callable[[int], None]
_LINE_EVERY_S = 10.0


def said() -> str:
    """The arguments of this command as they can be typed again."""
    return shlex.join(sys.argv[1:])


def output(value: Any, text: str, as_json: bool) -> None:
    """Print a result on stdout: its value as JSON, or its text."""
    if as_json:
        print_json(value)
    else:
        typer.echo(text)


@contextmanager
def without_pandas() -> Iterator[None]:
    """Hide pandas from pyarrow: importing it takes longer than all that a command does."""
    hidden = _NoPandas()
    sys.meta_path.insert(0, hidden)
    try:
        yield
    finally:
        sys.meta_path.remove(hidden)


class _NoPandas(MetaPathFinder):
    def find_spec(self, fullname: str, *_: Any) -> None:
        if fullname == "pandas":
            raise ModuleNotFoundError(fullname)


@contextmanager
def progress(total: int, unit: str) -> Iterator[Report]:
    """Show progress while the block runs.

    Yields:
        A function to call with the number of units done since its last call.
    """
    if total == 0:
        yield lambda _: None
    elif sys.stderr.isatty():
        with _bar(total, unit) as report:
            yield report
    else:
        yield _lines(total, unit)


@contextmanager
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
        typer.echo(line, err=True)

    return report
