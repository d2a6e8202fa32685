"""What commands print: results on stdout, messages on stderr; ``--json`` and ``--html``."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Any

import typer

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Page = Annotated[
    Path | None, typer.Option("--html", help="Also write a page.", metavar="FILE.html")
]


def print_json(value: Any) -> None:
    """Print a value on stdout."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def say(line: str) -> None:
    """Print a message on stderr."""
    _print(line, "cyan")


def complain(sentence: str, hint: str = "") -> None:
    """Print an error on stderr, and under it what to do."""
    _print(f"error: {sentence}", "red")
    if hint:
        _print(f"hint: {hint}", "cyan")


def _print(line: str, colour: str) -> None:
    typer.secho(line, fg=None if os.environ.get("NO_COLOR") else colour, err=True)
