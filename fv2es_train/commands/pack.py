"""`fv2es pack`: a run as one file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.utils.console import Json, print_json


def pack(
    run: Annotated[Path, typer.Argument(help="Directory of the run.", metavar="RUN")],
    out: Annotated[Path, typer.Argument(help="New file.", metavar="FILE")],
    tokenizer: Annotated[
        str | None,
        typer.Option(help="Tokenizer, if the run does not contain it.", metavar="DIR"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Pack a run into one file, which predict, serve and eval take in its place.

    It holds the best checkpoint, the tokenizer and the model card: no corpus, no shards.
    """
    from fv2es_train.models.pack import pack as pack_run

    made = pack_run(run, out, tokenizer)
    print_json(made) if as_json else typer.echo(f"wrote {out}, {made['size_bytes'] / 1e6:.1f} MB")
