"""`fv2es serve`: the options of the web page and the HTTP API. Leaves serving to `serve`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import say
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_train.serve.settings import MIB, ServeConfig

TOKEN = "FV2ES_TOKEN"  # noqa: S105  # the name of the variable


def _limit(field: str, name: str, text: str, unit: str, factor: float) -> Flag:
    return Flag(f"limits.{field}", (name,), text, unit, read=lambda text: float(text) * factor)


_OPTIONS = {
    "Server": (
        Flag("host", metavar="HOST"),
        Flag("port", metavar="PORT"),
        Flag("names", ("--name",), metavar="HOST"),
        Flag("temporary", metavar="DIR"),
    ),
    "Model": (
        *("run", "device", "engine", "precision", "threads", "workers", "tokenizer"),
        Flag("encoders", ("--encoder",), metavar="ENCODER"),
        "asr",
    ),
    "Limits": (
        Flag("limits.queue", metavar="N"),
        _limit(
            "upload_bytes", "--max-upload-mib", "Size of an upload; default 2048 MiB.", "MIB", MIB
        ),
        _limit("duration_s", "--max-minutes", "Length of a video; default 60.", "MIN", 60),
        Flag("limits.pixels", ("--max-pixels",), metavar="N"),
        _limit("job_s", "--job-minutes", "Run time of a job; default 30.", "MIN", 60),
        _limit("keep_s", "--keep-minutes", "Time that results are kept; default 60.", "MIN", 60),
    ),
}


@options_of(ServeConfig, _OPTIONS)
def serve(
    given: Given[ServeConfig],
    token_file: Annotated[
        Path | None,
        typer.Option(
            help=f"Accept only requests with the token in this file; or set {TOKEN}.",
            metavar="FILE",
            rich_help_panel="Server",
        ),
    ] = None,
) -> None:
    """Serve a web page and an HTTP API that predict the emotions of uploaded videos."""
    config = replace(given.resolve(), token=_token(token_file))
    from fv2es_train.serve.server import serve as serve_with

    serve_with(config, say)


def _token(file: Path | None) -> str | None:
    """Read the token; it is never an argument, because other users can list those."""
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is not text"
        raise UsageError(
            f"{file} cannot be read: {reason}", "write the token to this file, as one line of text"
        ) from error
    if not token:
        raise UsageError(f"{file} is empty, expected a token", "write the token to this file")
    return token
