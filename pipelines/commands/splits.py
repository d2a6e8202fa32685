"""The commands that make and judge split manifests."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from pipelines.commands.shared import Dataset, Json, print_json

splits = typer.Typer(no_args_is_help=True, help="Build split manifests: train, valid, test.")


@splits.command("build", epilog="Example: fv2es splits build shards --recipe session --out s.json")
def splits_build(
    shards: Dataset,
    out: Annotated[Path, typer.Option(help="The manifest to write.", metavar="FILE")],
    recipe: Annotated[str, typer.Option(help="random (70/10/20 by utterance) or session.")],
    seed: Annotated[int, typer.Option(help="Decides the random draw.")] = 0,
    test_session: Annotated[
        str | None, typer.Option(help="The session left out for test, e.g. 5; the last if none.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build a split of a dataset by a recipe; the shards stay as they are."""
    from fv2es_prep.shards.reader import read_catalogue
    from fv2es_prep.splits import SUBSETS, build_split, write_split

    split = build_split(read_catalogue(shards), recipe, seed, test_session)
    write_split(split, out)
    if as_json:
        print_json(
            {
                "out": str(out),
                "recipe": split.recipe,
                "parameters": split.parameters,
                "digest": split.digest(),
                "utterances": {subset: len(split.ids(subset)) for subset in SUBSETS},
                "class_counts": split.class_counts,
            }
        )
        return
    for subset in SUBSETS:
        counts = ", ".join(f"{name} {n}" for name, n in split.class_counts[subset].items())
        typer.echo(f"{subset:5} {len(split.ids(subset)):6}  {counts}")
    typer.echo(f"split {out}")
