"""`fv2es export`: a run as networks for other runtimes."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.utils.console import Json, print_json
from fv2es_train.predict.export.targets import TARGETS


def export(
    run: Annotated[
        Path, typer.Argument(help="Directory of the run, or a packed run.", metavar="RUN")
    ],
    to: Annotated[str, typer.Option(help=f"Target: {', '.join(TARGETS.names())}.")],
    out: Annotated[Path, typer.Option(help="New directory.")],
    shards: Annotated[
        Path | None,
        typer.Option(
            help="Dataset for the check; default: that of the run, or generated inputs.",
            metavar="SHARDS",
        ),
    ] = None,
    examples: Annotated[int, typer.Option(help="Examples for the check.", min=1)] = 20,
    as_json: Json = False,
) -> None:
    """Export a run for ONNX, OpenVINO or PyTorch without fv2es, and check it against PyTorch.

    A logit that differs by more than 1e-3 is an error, and nothing is written.
    """
    from fv2es_train.predict.export.export import export as export_run

    made = export_run(run, to, out, shards, examples)
    if as_json:
        print_json({"out": str(out), "target": to, **asdict(made)})
        return
    typer.echo(f"wrote {out}: {', '.join(made.files)}")
    for letter, difference in made.difference.items():
        name = MODALITY_NAMES[letter]
        typer.echo(f"{name}: largest difference of a logit {difference:.1e} on {made.checked_on}")
