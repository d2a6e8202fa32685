"""The commands on splits: build, import, list, audit, diff, stats."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import Json, Page, print_json
from fv2es_prep.utils.tables import Format, wrapped
from fv2es_prep.utils.typer_app import App
from pipelines.commands.common import Dataset, output, without_pandas

splits = App(help="Build, import, audit and compare splits: train, valid, test.")
SplitFile = Annotated[Path, typer.Argument(help="Split manifest.", metavar="SPLIT")]


@splits.callback()
def _quickly(context: typer.Context) -> None:
    context.with_resource(without_pandas())


def _option(text: str, panel: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel)


_RECIPE, _DRAWN, _OUTPUT = "Recipe", "What is drawn", "Output"


@splits.command("build", epilog="Example: fv2es splits build shards --recipe session --out s.json")
def splits_build(
    shards: Dataset,
    out: Annotated[
        Path, _option("Manifest to write; with --folds a directory of them.", _OUTPUT, "OUT")
    ],
    recipe: Annotated[str, _option("Recipe: random, session, speaker or group.", _RECIPE, "NAME")],
    seed: Annotated[int, _option("Seed of what is drawn.", _DRAWN, "N")] = 0,
    test_session: Annotated[
        str | None,
        _option("session: test session, e.g. 5; default: the last one.", _RECIPE, "SESSION"),
    ] = None,
    test_speaker: Annotated[
        str | None, _option("speaker: test speaker; default: the last one.", _RECIPE, "SPEAKER")
    ] = None,
    by: Annotated[
        str | None,
        _option(
            "group: what stays together. Choices: recording_id, speaker, session.",
            _RECIPE,
            "COLUMN",
        ),
    ] = None,
    groups: Annotated[
        Path | None,
        _option("group: table with columns id,group; a group stays together.", _RECIPE, "FILE.csv"),
    ] = None,
    folds: Annotated[
        str | None,
        _option(
            "Number of folds, a manifest each; all: one for each session, speaker or group.",
            _RECIPE,
            "K|all",
        ),
    ] = None,
    shares: Annotated[
        str, _option("random, group: shares of train, valid and test.", _DRAWN, "X,X,X")
    ] = "0.7,0.1,0.2",
    stratify: Annotated[
        bool, _option("Give all subsets the same shares of each class.", _DRAWN, None, "--stratify")
    ] = False,
    allow_empty_class: Annotated[
        bool,
        _option("Accept a subset that lacks a class.", _DRAWN, None, "--allow-empty-class"),
    ] = False,
    exclude: Annotated[
        Path | None,
        _option("review.jsonl of `fv2es browse`: utterances to leave out.", _DRAWN, "FILE"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Build splits of a dataset by a recipe; the shards stay as they are."""
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.shards.review import excluded
    from fv2es_prep.splits.recipes import Rule, build_splits

    if recipe != "session" and test_session is not None:
        raise UsageError(f"--test-session is not for {recipe}", "use --recipe session")
    if recipe != "speaker" and test_speaker is not None:
        raise UsageError(f"--test-speaker is not for {recipe}", "use --recipe speaker")
    rule = Rule(
        recipe=recipe,
        seed=seed,
        shares=_numbers(shares),
        test=test_session or test_speaker,
        by=by,
        table=groups,
        stratify=stratify,
        folds=int(folds) if folds and folds.isdecimal() else folds,
        allow_empty_class=allow_empty_class,
        exclude=tuple(excluded(exclude)) if exclude else (),
    )
    _write_splits(build_splits(read_catalogue(shards), rule), out, folds is not None, as_json)


@splits.command("import", epilog="Example: fv2es splits import lists --shards shards --out s.json")
def splits_import(
    lists: Annotated[
        list[Path],
        typer.Argument(help="Directory of three id lists, or three files.", metavar="LISTS"),
    ],
    shards: Annotated[
        Path | None, typer.Option(help="Dataset that the ids are from.", metavar="SHARDS")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Manifest to write.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Import id lists as a manifest and recognise published splits."""
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.splits.imported import import_lists, import_text, read_lists
    from fv2es_prep.splits.manifest import write_split

    imported = import_lists(read_lists(lists), read_catalogue(shards) if shards else None)
    if out is not None and imported.split is None:
        raise UsageError(
            "the ids name recordings, and without a dataset their utterances are unknown",
            "pass the dataset with --shards",
        )
    if out is not None and imported.split is not None:
        write_split(imported.split, out)
    told = {"out": str(out) if out else None, **imported.to_json()}
    output(told, import_text(imported) + (f"\nsplit       {out}" if out else ""), as_json)


@splits.command("list", epilog="Example: fv2es splits list")
def splits_list(as_json: Json = False) -> None:
    """List the recipes, and the published splits that import recognises."""
    import json

    from fv2es_prep.splits.published import metadata_file, published_splits

    recipes = json.loads(metadata_file("recipes.json").read_text(encoding="utf-8"))["recipes"]
    lines = [f"recipe     {recipe['name']:14} {recipe['rule']}" for recipe in recipes]
    known = []
    for split in published_splits():
        stated = ("name", "title", "source", "licence", "unit", "counts")
        known.append({name: getattr(split, name) for name in stated} | {"sha256": split.digests})
        counts = "/".join(map(str, split.counts.values()))
        lines.append(f"published  {split.name:14} {split.title}: {counts} {split.unit}s")
    text = "\n".join(wrapped(line, indent=" " * 26) for line in lines)
    output({"recipes": recipes, "published": known}, text, as_json)


@splits.command("audit", epilog="Example: fv2es splits audit shards split.json --allow recording=0")
def splits_audit(
    shards: Dataset,
    split: SplitFile,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Limit on what is shared, e.g. transcript=1%; repeatable.", metavar="KIND=N"
        ),
    ] = None,
    page: Page = None,
    form: Format = "table",
    as_json: Json = False,
) -> None:
    """Count what the subsets of a split share. Exit status 1 if a limit is exceeded."""
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.splits.audit import audit_split, exceeded, parse_limits
    from fv2es_prep.splits.audit_page import audit_text, write_audit_page
    from fv2es_prep.splits.manifest import read_split

    limits = parse_limits(allow or [])
    audit = audit_split(read_catalogue(shards), read_split(split, allow_repeats=True))
    sentences = list(exceeded(audit, limits))
    if page is not None:
        write_audit_page(page, split.name, audit, sentences)
    told = {"shards": str(shards), "split": str(split), **audit.to_json()}
    told |= {"allow": [*map(str, limits)], "above": sentences}
    output(told, audit_text(audit, sentences, form), as_json)
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
    output({"a": str(a), "b": str(b), **found}, diff_text(found), as_json)
    if not found["equal"]:
        raise typer.Exit(1)


@splits.command("stats", epilog="Example: fv2es splits stats shards split.json")
def splits_stats(
    shards: Dataset, split: SplitFile, form: Format = "table", as_json: Json = False
) -> None:
    """Count what is in each subset: utterances, recordings, speakers, hours, classes."""
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.splits.compare import split_stats, stats_text
    from fv2es_prep.splits.manifest import read_split

    stats = split_stats(read_catalogue(shards), read_split(split))
    told = {"shards": str(shards), "split": str(split), **stats}
    output(told, stats_text(stats, form), as_json)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of shares", "write --shares 0.7,0.1,0.2") from error


def _write_splits(made: Any, out: Path, folds: bool, as_json: bool) -> None:
    """Write each split when it is made: a split of millions of utterances is large."""
    from fv2es_prep.splits.manifest import SUBSETS, write_split
    from fv2es_prep.utils.files import make_directory

    written = []
    for number, split in enumerate(made):
        if folds and not number:
            make_directory(out)
        path = out / f"fold-{number}.json" if folds else out
        told = {
            "out": str(path),
            "recipe": split.recipe,
            "parameters": split.parameters,
            "digest": write_split(split, path),
            "utterances": {subset: len(split.ids(subset)) for subset in SUBSETS},
            "class_counts": split.class_counts,
        }
        written.append(told)
        if not as_json:
            _echo(told)
    if as_json:
        print_json({"out": str(out), "splits": written} if folds else written[0])


def _echo(told: dict[str, Any]) -> None:
    for subset, count in told["utterances"].items():
        counts = ", ".join(f"{name} {n}" for name, n in told["class_counts"][subset].items())
        typer.echo(wrapped(f"{subset:5} {count:6}  {counts}", indent=" " * 14))
    typer.echo(f"split {told['out']}")
