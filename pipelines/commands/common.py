"""Shared parts of the commands."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
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


def said() -> str:
    """The arguments of this command, quoted for a shell."""
    return shlex.join(sys.argv[1:])


def output(value: Any, text: str, as_json: bool) -> None:
    """Print a result on stdout: its value as JSON, or its text."""
    if as_json:
        print_json(value)
    else:
        typer.echo(text)


@contextmanager
def without_pandas() -> Iterator[None]:
    """Hide pandas from pyarrow: importing it takes longer than a command's own work."""
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
