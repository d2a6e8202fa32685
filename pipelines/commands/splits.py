"""The commands that make split manifests and take them from elsewhere.

Leaves those that judge and compare them to `audits`.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import Json, print_json
from pipelines.commands.common import Dataset, without_pandas

if TYPE_CHECKING:
    from fv2es_prep.splits.manifest import Split

splits = typer.Typer(
    no_args_is_help=True, help="Build, import, audit and compare splits: train, valid, test."
)


@splits.callback()
def _quickly(context: typer.Context) -> None:
    context.with_resource(without_pandas())


@splits.command("build", epilog="Example: fv2es splits build shards --recipe session --out s.json")
def splits_build(
    shards: Dataset,
    out: Annotated[
        Path, typer.Option(help="The manifest to write; with --folds a directory.", metavar="OUT")
    ],
    recipe: Annotated[str, typer.Option(help="random, session, speaker or group.")],
    seed: Annotated[int, typer.Option(help="Decides what is drawn.")] = 0,
    test_session: Annotated[
        str | None, typer.Option(help="The session left out for test, e.g. 5; the last if none.")
    ] = None,
    test_speaker: Annotated[
        str | None, typer.Option(help="The speaker left out for test; the last if none.")
    ] = None,
    by: Annotated[
        str | None, typer.Option(help="What group keeps together: recording_id, speaker, session.")
    ] = None,
    groups: Annotated[
        Path | None, typer.Option(help="A table id,group to keep together.", metavar="FILE.csv")
    ] = None,
    shares: Annotated[
        str, typer.Option(help="Of train, valid, test; for random and group.")
    ] = "0.7,0.1,0.2",
    stratify: Annotated[
        bool, typer.Option("--stratify", help="The same shares of each class in all subsets.")
    ] = False,
    folds: Annotated[
        str | None, typer.Option(help="K manifests; all: one for each session, speaker, group.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Build splits of a dataset by a recipe; the shards stay as they are."""
    from fv2es_prep.shards.catalogue import read_table
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
    )
    _write_splits(build_splits(read_table(shards), rule), out, folds is not None, as_json)


@splits.command("import", epilog="Example: fv2es splits import lists --shards shards --out s.json")
def splits_import(
    lists: Annotated[
        list[Path],
        typer.Argument(help="Directory of three id lists, or three files.", metavar="LISTS"),
    ],
    shards: Annotated[
        Path | None, typer.Option(help="Dataset of the ids.", metavar="SHARDS")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Manifest to write.", metavar="FILE")] = None,
    as_json: Json = False,
) -> None:
    """Import id lists as a manifest and recognise published splits."""
    from fv2es_prep.shards.catalogue import read_table
    from fv2es_prep.splits.imported import import_lists, import_text, read_lists
    from fv2es_prep.splits.manifest import write_split

    imported = import_lists(read_lists(lists), read_table(shards) if shards else None)
    if out is not None and imported.split is None:
        raise UsageError(
            "the ids name recordings, and without a dataset their utterances are unknown",
            "pass the dataset with --shards",
        )
    if out is not None and imported.split is not None:
        write_split(imported.split, out)
    if as_json:
        print_json({"out": str(out) if out else None, **imported.to_json()})
    else:
        typer.echo(import_text(imported) + (f"\nsplit       {out}" if out else ""))


@splits.command("list", epilog="Example: fv2es splits list")
def splits_list(as_json: Json = False) -> None:
    """List the recipes, and the published splits that import recognises."""
    import json

    from fv2es_prep.splits.published import metadata_file, published_splits

    recipes = json.loads(metadata_file("recipes.json").read_text(encoding="utf-8"))["recipes"]
    known = [
        {
            **{
                name: getattr(split, name)
                for name in ("name", "title", "source", "licence", "unit")
            },
            "counts": split.counts,
            "sha256": split.digests,
        }
        for split in published_splits()
    ]
    if as_json:
        print_json({"recipes": recipes, "published": known})
        return
    for recipe in recipes:
        typer.echo(f"recipe     {recipe['name']:14} {recipe['rule']}")
    for split in known:
        counts = "/".join(str(count) for count in split["counts"].values())
        typer.echo(f"published  {split['name']:14} {split['title']}: {counts} {split['unit']}s")


def _numbers(text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(","))
    except ValueError as error:
        raise UsageError(f"{text!r} is no list of shares", "write --shares 0.7,0.1,0.2") from error


def _write_splits(made: Any, out: Path, folds: bool, as_json: bool) -> None:
    """Write each split when it is made: of millions of utterances one fills some memory."""
    from fv2es_prep.splits.manifest import write_split
    from fv2es_prep.utils.files import make_directory

    told = []
    for number, split in enumerate(made):
        if folds and not number:
            make_directory(out)
        path = out / f"fold-{number}.json" if folds else out
        digest = write_split(split, path)
        told.append(_told(split, path, digest))
        if not as_json:
            _echo(told[-1])
    if as_json:
        print_json({"out": str(out), "splits": told} if folds else told[0])


def _told(split: Split, path: Path, digest: str) -> dict[str, Any]:
    from fv2es_prep.splits.manifest import SUBSETS

    return {
        "out": str(path),
        "recipe": split.recipe,
        "parameters": split.parameters,
        "digest": digest,
        "utterances": {subset: len(split.ids(subset)) for subset in SUBSETS},
        "class_counts": split.class_counts,
    }


def _echo(told: dict[str, Any]) -> None:
    for subset, count in told["utterances"].items():
        counts = ", ".join(f"{name} {n}" for name, n in told["class_counts"][subset].items())
        typer.echo(f"{subset:5} {count:6}  {counts}")
    typer.echo(f"split {told['out']}")
