"""`fv2es run` and `fv2es init`: their options and what they print. Imports nothing heavy."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import Json, print_json, say
from fv2es_prep.utils.near import meant

if TYPE_CHECKING:
    from fv2es_recipe.recipe import Recipe

Sets = Annotated[
    list[str] | None,
    typer.Option("--set", help="Set any option, e.g. train.epochs=3.", metavar="PATH=VALUE"),
]
Only = Annotated[
    list[str] | None,
    typer.Option(
        help="Run only this step: prep, split, train, eval or table; repeat it for several.",
        metavar="STEP",
    ),
]


def run(
    recipe: Annotated[Path, typer.Argument(help="TOML file, see `fv2es init`.", metavar="RECIPE")],
    only: Only = None,
    sets: Sets = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print what would run, with estimates, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Run a recipe: prep, split, train, eval, table.

    A step whose inputs are unchanged is skipped. The same command continues after an interruption.
    """
    from fv2es_recipe.recipe import STEPS, read_recipe

    for word in only or ():
        if word not in STEPS:
            raise UsageError(f"unknown step {word!r}", meant(word, STEPS))
    found = read_recipe(recipe, sets or ())
    chosen = [step for step in STEPS if step in (only or STEPS)]
    if dry_run:
        from fv2es_recipe.forecast import forecast, forecast_text

        rows = forecast(found, chosen)
        print_json({"steps": rows}) if as_json else typer.echo(forecast_text(rows))
        return
    run_printed(found, chosen if only else (), as_json)


def run_printed(recipe: Recipe, only: Sequence[str] = (), as_json: bool = False) -> None:
    """Run a recipe, or some of its steps; print its table and what failed.

    Raises:
        typer.Exit: a part of a step failed.
    """
    from fv2es_recipe.steps import result_of, run_recipe
    from fv2es_train.bench.bench_forms import format_bench

    # stdout is for the table; what a step prints is progress.
    with contextlib.redirect_stdout(sys.stderr):
        failed = run_recipe(recipe, only, say)
    if not only or {"eval", "table"} & {*only}:
        result = result_of(recipe)
        print_json(result) if as_json else typer.echo(format_bench(result, recipe.wide))
    for sentence in failed:
        say(f"failed   {sentence}")
    if failed:
        say("run the same command again to retry what failed")
        raise typer.Exit(1)


def init(
    corpus: Annotated[
        str,
        typer.Argument(help="Corpus, see `fv2es prep`: iemocap, mosei, table.", metavar="CORPUS"),
    ],
    raw: Annotated[Path, typer.Argument(help="Path or URL of the raw corpus.", metavar="RAW")],
    out: Annotated[
        Path | None, typer.Option(help="File to write; default: stdout.", metavar="FILE")
    ] = None,
) -> None:
    """Print a recipe for a corpus, with comments, to be edited and run by `fv2es run`."""
    from fv2es_prep.utils.files import whole_file
    from fv2es_recipe.starter import starter

    text = starter(corpus, raw)
    if out is None:
        typer.echo(text, nl=False)
        return
    with whole_file(out) as temporary:
        temporary.write_text(text, encoding="utf-8")
    say(f"run it: fv2es run {out} --dry-run, then fv2es run {out}")
