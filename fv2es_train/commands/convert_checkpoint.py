"""`fv2es convert-checkpoint`: published weights to a run and back. Leaves the work to `models`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fv2es_prep.utils.console import Json, print_json, say


def _option(text: str, metavar: str | None = None) -> Any:
    return typer.Option(help=text, metavar=metavar)


def convert_checkpoint(
    source: Annotated[
        Path, typer.Argument(help="Published state dict; with --to, a run.", metavar="FILE")
    ],
    out: Annotated[Path, _option("New run; with --to, new file.", "RUN")],
    to: Annotated[
        Literal["published"] | None, _option("Target: convert a run to a published state dict.")
    ] = None,
    modalities: Annotated[str | None, _option("Modalities of the weights; default: tav.")] = None,
    heads: Annotated[int, _option("Attention heads (--trans-nheads in the published code).")] = 4,
    labels: Annotated[
        str | None, _option("A corpus, or NAME,NAME,... in the order of the logits.")
    ] = None,
    shards: Annotated[
        Path | None, _option("Take settings, tokenizer and classes from these shards.", "SHARDS")
    ] = None,
    as_json: Json = False,
) -> None:
    """Convert published FV2ES weights to a run, or with --to published a run to such weights."""
    from fv2es_train.models.published.convert import convert_file, export_run

    if to:
        result = export_run(source, out)
    else:
        result = convert_file(source, out, modalities, heads, labels, shards)
        say("the file has no thresholds; each class uses 0.5")
        if not result["tokenizer_known"]:
            say("the tokenizer is unknown; pass --shards to let later commands check it")
    print_json(result) if as_json else typer.echo(f"wrote {out}")
