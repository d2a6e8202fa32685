"""`fv2es serve`: the options of the web page and the HTTP API.

Owns the options. Leaves serving to `fv2es_train.serve`.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from fv2es_prep.errors import UsageError
from fv2es_train.serve.settings import MIB, Limits, ServeOptions

TOKEN = "FV2ES_TOKEN"  # noqa: S105  # the name of the variable
_DEFAULT = Limits()


def _option(panel: str, text: str, metavar: str | None = None, **limits: Any) -> Any:
    return typer.Option(help=text, rich_help_panel=panel, metavar=metavar, **limits)


_SERVER, _MODEL, _LIMITS = "Server", "Model", "Limits"


def serve(
    run: Annotated[Path, _option(_MODEL, "Directory of the run.", "RUN")],
    host: Annotated[str, _option(_SERVER, "Address; 0.0.0.0: all of them.", "HOST")] = "127.0.0.1",
    port: Annotated[
        int, _option(_SERVER, "0 takes any that is free.", "PORT", min=0, max=65535)
    ] = 7860,
    token_file: Annotated[
        Path | None, _option(_SERVER, f"Admit who sends the token in it; or set {TOKEN}.", "FILE")
    ] = None,
    name: Annotated[
        list[str] | None, _option(_SERVER, "Also answer under this name, e.g. a proxy's.", "HOST")
    ] = None,
    temporary: Annotated[
        Path | None, _option(_SERVER, "Where the private folder for uploads is made.", "DIR")
    ] = None,
    device: Annotated[str, _option(_MODEL, "auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, _option(_MODEL, "Of each worker.", "N", min=1)] = None,
    workers: Annotated[
        int, _option(_MODEL, "Videos at a time; each has a model of its own.", "N", min=1)
    ] = 1,
    tokenizer: Annotated[
        str | None, _option(_MODEL, "As for `fv2es prep`, if moved.", "NAME_OR_DIR")
    ] = None,
    asr: Annotated[
        str | None,
        _option(
            _MODEL, "Recogniser: a directory, a name at the hub, embedded or none.", "NAME_OR_DIR"
        ),
    ] = None,
    queue: Annotated[int, _option(_LIMITS, "Videos that may wait.", "N", min=1)] = _DEFAULT.queue,
    max_upload_mib: Annotated[int, _option(_LIMITS, "Size of an upload.", "MIB", min=1)] = (
        _DEFAULT.upload_bytes // MIB
    ),
    max_minutes: Annotated[float, _option(_LIMITS, "Length of a video.", "MIN")] = (
        _DEFAULT.duration_s / 60
    ),
    max_pixels: Annotated[int, _option(_LIMITS, "Of a picture.", "N", min=1)] = _DEFAULT.pixels,
    job_minutes: Annotated[float, _option(_LIMITS, "Then a job is ended.", "MIN")] = (
        _DEFAULT.job_s / 60
    ),
    keep_minutes: Annotated[float, _option(_LIMITS, "For so long results are kept.", "MIN")] = (
        _DEFAULT.keep_s / 60
    ),
) -> None:
    """Serve a web page and an HTTP API that tell the emotions of uploaded videos."""
    from fv2es_train.serve.server import serve as serve_with

    limits = Limits(
        upload_bytes=max_upload_mib * MIB,
        duration_s=60 * max_minutes,
        pixels=max_pixels,
        queue=queue,
        job_s=60 * job_minutes,
        keep_s=60 * keep_minutes,
    )
    options = ServeOptions(
        run=run,
        host=host,
        port=port,
        token=_token(token_file),
        names=tuple(name or ()),
        device=device,
        threads=threads,
        workers=workers,
        tokenizer=tokenizer,
        asr=asr,
        temporary=temporary,
        limits=limits,
    )
    serve_with(options, lambda sentence: typer.echo(sentence, err=True))


def _token(file: Path | None) -> str | None:
    """The token; never an argument, which everybody on the machine could see."""
    if file is None:
        return os.environ.get(TOKEN) or None
    try:
        token = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no text"
        raise UsageError(f"{file} cannot be read: {reason}", "put the token into it") from error
    if not token:
        raise UsageError(f"{file} is empty", "put the token into it")
    return token
