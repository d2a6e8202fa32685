"""The commands that judge split manifests and compare them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.utils.console import Json, print_json
from pipelines.commands.common import Dataset
from pipelines.commands.splits import splits

SplitFile = Annotated[Path, typer.Argument(help="Split manifest.", metavar="SPLIT")]


@splits.command("audit", epilog="Example: fv2es splits audit shards split.json --allow recording=0")
def splits_audit(
    shards: Dataset,
    split: SplitFile,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="The most of a kind, e.g. transcript=1%; repeat it.", metavar="KIND=N"),
    ] = None,
    page: Annotated[
        Path | None, typer.Option("--html", help="Also write a page.", metavar="FILE.html")
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what the subsets of a split share. Exit status 1 where it is more than --allow."""
    from fv2es_prep.shards.catalogue import read_table
    from fv2es_prep.splits.audit import (
        audit_split,
        audit_text,
        exceeded,
        parse_limits,
        write_audit_page,
    )
    from fv2es_prep.splits.manifest import read_split

    limits = parse_limits(allow or [])
    audit = audit_split(read_table(shards), read_split(split, allow_repeats=True))
    sentences = list(exceeded(audit, limits))
    if page is not None:
        write_audit_page(page, split.name, audit, sentences)
    if as_json:
        told = {"shards": str(shards), "split": str(split), **audit.to_json()}
        print_json({**told, "allow": [*map(str, limits)], "above": sentences})
    else:
        typer.echo(audit_text(audit, sentences))
    if sentences:
        raise typer.Exit(1)


@splits.command("diff", epilog="Example: fv2es splits diff a.json b.json")
def splits_diff(
    a: Annotated[Path, typer.Argument(help="Manifest or directory of id lists.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Manifest or lists to compare.", metavar="B")],
    as_json: Json = False,
) -> None:
    """Compare two splits: ids that are in another subset. Exit status 1 if there are any."""
    from fv2es_prep.splits.compare import diff_splits, diff_text
    from fv2es_prep.splits.imported import read_split_or_lists

    found = diff_splits(read_split_or_lists(a), read_split_or_lists(b))
    if as_json:
        print_json({"a": str(a), "b": str(b), **found})
    else:
        typer.echo(diff_text(found))
    if not found["equal"]:
        raise typer.Exit(1)


@splits.command("stats", epilog="Example: fv2es splits stats shards split.json")
def splits_stats(shards: Dataset, split: SplitFile, as_json: Json = False) -> None:
    """Count what is in each subset: utterances, recordings, speakers, hours, classes."""
    from fv2es_prep.shards.catalogue import read_table
    from fv2es_prep.splits.compare import split_stats, stats_text
    from fv2es_prep.splits.manifest import read_split

    stats = split_stats(read_table(shards), read_split(split))
    if as_json:
        print_json({"shards": str(shards), "split": str(split), **stats})
    else:
        typer.echo(stats_text(stats))
