"""What commands print: results on stdout, messages on stderr; ``--json`` and ``--html``."""

from __future__ import annotations

import json
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
    typer.secho(line, fg="cyan", err=True)


def complain(sentence: str, hint: str = "") -> None:
    """Print an error on stderr, and under it what to do."""
    typer.secho(f"error: {sentence}", fg="red", err=True)
    if hint:
        typer.secho(f"hint: {hint}", fg="cyan", err=True)
