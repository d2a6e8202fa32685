"""The commands that look at a dataset, check it and pass it on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import Json, Page
from fv2es_prep.utils.phases import progress
from fv2es_prep.utils.typer_app import App
from pipelines.commands.common import Dataset, output
from pipelines.commands.shards_add import ADD_EXAMPLE, changing, print_changed, shards_add
from pipelines.commands.shards_run import RUN_COMMANDS

_SHARDS_OF_A_PROCESS = 100
shards = App(help="Look at a dataset, check it, pass it on.")


@shards.command("info", epilog="Example: fv2es shards info shards")
def shards_info(directory: Dataset, as_json: Json = False) -> None:
    """Print what a dataset holds: counts, hours, bytes, face coverage, what was left out."""
    from fv2es_prep.shards.tools.info import dataset_info, info_text

    info = dataset_info(directory)
    output(info, info_text(info), as_json)


for _name, _command in RUN_COMMANDS.items():
    shards.command(_name, epilog=f"Example: fv2es shards {_name} shards")(_command)


@shards.command("verify", epilog="Example: fv2es shards verify shards")
def shards_verify(
    directory: Dataset,
    against: Annotated[
        Path | None,
        typer.Option(
            help="Raw corpus: prepare a sample of the utterances again and compare.", metavar="RAW"
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="Utterances in the sample; default: 50.")
    ] = None,
    tokenizer: Annotated[
        str | None, typer.Option(help="Tokenizer, if it was moved; see `fv2es prep`.")
    ] = None,
    encoder: Annotated[
        list[str] | None,
        typer.Option(help="Encoder, if it was moved, e.g. audio:w=DIR; see `fv2es shards add`."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the sample.")] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes; default: one per core.", min=1, show_default=False),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a dataset: index, hashes, every invariant of the format. Exit status 1 on findings."""
    from fv2es_prep.shards.verify.checks import shards_in, verify
    from fv2es_prep.utils.processes import worth_starting

    if sample is not None and against is None:
        raise UsageError("--sample needs the raw corpus", "pass it with --against RAW")
    count = len(shards_in(directory))
    with progress(count, "shards") as report:
        processes = jobs or worth_starting(count, _SHARDS_OF_A_PROCESS)
        findings = verify(directory, report, jobs=processes)
    if against is not None and findings:
        typer.echo(f"hint: repair this first; nothing was compared with {against}", err=True)
    elif against is not None:
        from fv2es_prep.stages.encoders.encoder_source import split_stages
        from pipelines.rederive import rederive

        encoders = split_stages(encoder or ())[1]
        count = 50 if sample is None else sample
        with progress(count, "utterances") as report:
            findings = rederive(directory, against, count, tokenizer, seed, report, encoders)
    found = [vars(finding) for finding in findings]
    told = {"shards": str(directory), "sound": not findings, "findings": found}
    output(told, "\n".join(map(str, findings)) or f"{directory}: OK", as_json)
    if findings:
        raise typer.Exit(1)


@shards.command("show", epilog="Example: fv2es shards show shards ID --image example.png")
def shards_show(
    directory: Dataset,
    name: Annotated[str, typer.Argument(help="Utterance id.", metavar="ID")],
    image: Annotated[
        Path | None, typer.Option(help="Draw faces, spectrum and words as PNG.", metavar="FILE.png")
    ] = None,
    extract: Annotated[
        Path | None,
        typer.Option(help="Write the faces as PNG files, and a JSON file.", metavar="DIR"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one example as text, as a picture or as files."""
    from fv2es_prep.shards.tools.show import (
        draw_to_file,
        example_text,
        example_values,
        extract_example,
        find_example,
    )

    shown = find_example(directory, name)
    if image is not None:
        draw_to_file(shown, image)
    if extract is not None:
        extract_example(shown, extract)
    output(example_values(shown), example_text(shown), as_json)


@shards.command("diff", epilog="Example: fv2es shards diff shards-old shards --html diff.html")
def shards_diff(
    a: Annotated[Path, typer.Argument(help="Dataset.", metavar="A")],
    b: Annotated[Path, typer.Argument(help="Dataset to compare.", metavar="B")],
    split: Annotated[
        Path | None,
        typer.Option(help="Split manifest: also count for each subset.", metavar="FILE"),
    ] = None,
    page: Page = None,
    as_json: Json = False,
) -> None:
    """Compare two datasets: settings, utterances, their parts. Exit status 1 if they differ."""
    from fv2es_prep.shards.index import read_index
    from fv2es_prep.shards.tools.diff.dataset_diff import diff_datasets
    from fv2es_prep.shards.tools.diff.diff_page import diff_text, write_diff_page
    from fv2es_prep.splits.manifest import SUBSETS, read_split
    from fv2es_prep.utils.processes import worth_starting

    manifest = read_split(split) if split else None
    subsets = {name: manifest.ids(name) for name in SUBSETS} if manifest else {}
    count = sum(len(read_index(directory).shards) for directory in (a, b))
    jobs = worth_starting(count, _SHARDS_OF_A_PROCESS)
    with progress(count, "shards") as report:
        diff = diff_datasets(a, b, subsets, report, jobs)
    if page is not None:
        write_diff_page(page, a, b, diff)
    output({"a": str(a), "b": str(b), **diff.to_json()}, diff_text(diff), as_json)
    if not diff.equal:
        raise typer.Exit(1)


@shards.command("report", epilog="Example: fv2es shards report shards --split split.json")
def shards_report(
    directory: Dataset,
    split: Annotated[
        Path | None,
        typer.Option(help="Split manifest: also show what its subsets share.", metavar="FILE"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Page to write; default: SHARDS/report.html.", metavar="FILE.html"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write the page of a dataset: charts, counts, what was left out, a wall of utterances."""
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.shards.dropped import read_dropped
    from fv2es_prep.shards.tools.report import write_report
    from fv2es_prep.splits.audit import audit_split
    from fv2es_prep.splits.audit_page import split_section
    from fv2es_prep.splits.manifest import read_split
    from fv2es_prep.types import Dropped

    more: list[str] = []
    if split is not None:
        audit = audit_split(read_catalogue(directory), read_split(split, allow_repeats=True))
        more = split_section(split.name, audit)
    dropped = [*map(Dropped.from_json, read_dropped(directory))]
    path = write_report(directory, dropped, out, more)
    told = {"shards": str(directory), "split": str(split) if split else None, "out": str(path)}
    output(told, f"report   {path}", as_json)


_Stages = Annotated[list[str], typer.Argument(help="Stages to remove.", metavar="STAGE...")]


shards.command("add", epilog=ADD_EXAMPLE)(shards_add)


@shards.command("drop-stage", epilog="Example: fv2es shards drop-stage shards landmarks")
def shards_drop_stage(directory: Dataset, stages: _Stages, as_json: Json = False) -> None:
    """Remove stages and their columns from a dataset."""
    from fv2es_prep.shards.tools.restage import drop_stages

    with changing(directory) as report:
        index = drop_stages(directory, stages, report)
    print_changed(directory, index, as_json)


@shards.command("merge", epilog="Example: fv2es shards merge shards-a shards-b --out shards")
def shards_merge(
    directories: Annotated[
        list[Path], typer.Argument(help="Datasets to merge.", metavar="SHARDS...")
    ],
    out: Annotated[Path, typer.Option(help="New directory.", metavar="SHARDS")],
    as_json: Json = False,
) -> None:
    """Make one dataset out of several with equal settings, classes and ratings."""
    from fv2es_prep.shards.tools.merge import merge

    index = merge(directories, out)
    told = {"out": str(out), "corpus": index.corpus, "shards": len(index.shards)}
    told |= {"examples": index.examples, "size_bytes": index.size_bytes}
    merged = f"merged   {index.examples} examples in {len(index.shards)} shard(s)"
    output(told, f"{merged}\nshards   {out}", as_json)


@shards.command("prune", epilog="Example: fv2es shards prune shards --dry-run")
def shards_prune(
    directory: Dataset,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="List what would be removed, and stop.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Remove what does not belong to a dataset: foreign shards and leftovers of dead runs."""
    from fv2es_prep.shards.tools.prune import prune
    from fv2es_prep.utils.claims import locked

    if dry_run or not directory.is_dir():
        pruned = prune(directory, dry_run)
    else:
        with locked(directory):
            pruned = prune(directory)
    lines = [f"{entry.name}  {entry.size_bytes} bytes, {entry.reason}" for entry in pruned]
    lines.append(f"{'would remove' if dry_run else 'removed'} {len(pruned)} file(s)")
    told = {"dry_run": dry_run, "pruned": [vars(entry) for entry in pruned]}
    output(told, "\n".join(lines), as_json)


@shards.command("card", epilog="Example: fv2es shards card shards")
def shards_card(
    directory: Dataset,
    out: Annotated[
        Path | None, typer.Option(help="Directory to write to; default: SHARDS.", metavar="DIR")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write README.md and croissant.json: licence, content, what was left out, how it was made."""
    from fv2es_prep.shards.tools.export.shards_card import write_shards_card

    paths = [str(path) for path in write_shards_card(directory, out or directory)]
    output({"written": paths}, "\n".join(paths), as_json)


@shards.command("export", epilog="Example: fv2es shards export shards --to datasets --out hub")
def shards_export(
    directory: Dataset,
    kind: Annotated[
        str,
        typer.Option(
            "--to",
            "--format",
            help="Format to write: datasets, parquet or webdataset.",
            metavar="FORMAT",
        ),
    ],
    out: Annotated[Path, typer.Option(help="New directory.", metavar="DIR")],
    split: Annotated[
        Path | None,
        typer.Option(help="Split manifest: write files for each subset.", metavar="FILE"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a dataset in another form, with its card, for those who train elsewhere."""
    from fv2es_prep.shards.index import read_index
    from fv2es_prep.shards.tools.export import export
    from fv2es_prep.shards.tools.export.source import NO_SUBSETS, Subsets
    from fv2es_prep.splits.manifest import SUBSETS, read_split

    index, subsets = read_index(directory), NO_SUBSETS
    if split is not None:
        manifest = read_split(split)
        ids = {name: frozenset(manifest.ids(name)) for name in SUBSETS}
        subsets = Subsets(ids, f"Recipe {manifest.recipe}; digest `{manifest.digest()}`.")
    with progress(index.examples, "examples") as report:
        paths = export(directory, kind, out, report, subsets)
    told = {"out": str(out), "files": [path.name for path in paths]}
    output(told, f"exported {len(paths)} files to {out}", as_json)
