"""What the commands share: options that mean the same everywhere, and how an answer is printed."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Dataset = Annotated[
    Path, typer.Argument(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")
]


def print_json(value: Any) -> None:
    """Print a value on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(line: str) -> None:
    """Tell on stderr what is done now."""
    typer.secho(line, fg="cyan", err=True)


def said() -> str:
    """The arguments of this command as they can be typed again."""
    return shlex.join(sys.argv[1:])
