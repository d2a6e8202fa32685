"""The commands that turn a raw corpus into shards."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2es_prep.errors import UsageError
from pipelines.commands.shared import Json, print_json, said

if TYPE_CHECKING:
    from pipelines.plan import Plan
    from pipelines.prepare import PrepOptions
    from pipelines.run import Summary

_PROCESSED = ("iemocap", "mosei")

prep = typer.Typer(no_args_is_help=True, help="Turn a raw corpus into shards.")


def _options(
    out: Annotated[Path, typer.Option(help="Directory for the shards.", metavar="SHARDS")],
    merge: Annotated[
        list[str], typer.Option(help="SOURCE=TARGET: count one class as another, e.g. exc=hap.")
    ] = [],  # noqa: B006  # typer reads it as the option's default and copies it
    preset: Annotated[
        str, typer.Option(help="ours, or published: pictures chosen and cut as published.")
    ] = "ours",
    tokenizer: Annotated[
        str, typer.Option(help="Tokenizer: a directory, or a name at the hub.")
    ] = "albert-base-v2",
    max_tokens: Annotated[int, typer.Option(help="Longest token sequence.")] = 100,
    stages: Annotated[
        str, typer.Option(help="Stages to make, e.g. faces,mel,tokens,landmarks.")
    ] = "faces,mel,tokens",
    interval_ms: Annotated[float, typer.Option(help="Milliseconds between two frames.")] = 500.0,
    detector: Annotated[
        str, typer.Option(help="exact, fast (99.5 % the same faces) or facenet.")
    ] = "exact",
    device: Annotated[
        str, typer.Option(help="Where faces are looked for: cpu, cuda or cuda:N.")
    ] = "cpu",
    shard_mb: Annotated[float, typer.Option(help="Expected megabytes of a shard.")] = 16.0,
    limit: Annotated[int | None, typer.Option(help="Only the first N utterances.")] = None,
    sample: Annotated[
        int | None, typer.Option(help="Only N utterances, evenly spread over the corpus.")
    ] = None,
    trust_mtime: Annotated[
        bool, typer.Option("--trust-mtime", help="Do not hash files of known size and time again.")
    ] = False,
    retry_dropped: Annotated[
        bool, typer.Option("--retry-dropped", help="Try utterances again that were dropped.")
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first recording that fails.")
    ] = False,
    compact: Annotated[
        bool, typer.Option("--compact", help="Smaller, with a loss: JPEG faces, 8-bit spectra.")
    ] = False,
) -> dict[str, Any]:
    """The options that every corpus has, by the names of `PrepOptions`."""
    return {**locals(), "merge": _pairs(merge), "stages": _names(stages)}


def _running(
    executor: Annotated[
        str, typer.Option(help="inline, local, local:N, or tcp://HOST:PORT of a Dask scheduler.")
    ] = "local",
    max_dropped: Annotated[
        str, typer.Option(help="Status 1 if more utterances could not be prepared, e.g. 5%.")
    ] = "100%",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: Json = False,
) -> dict[str, Any]:
    """How the preparation is run, by the names of `prepare`."""
    return {**locals(), "max_dropped": _share(max_dropped)}


def corpus_command(name: str, example: str) -> Callable[[Callable[..., dict[str, Any]]], None]:
    """Make a command of a function that takes what only its corpus has.

    The function returns options by the names of `PrepOptions`; the command has those that all
    corpora share besides.
    """

    def register(own: Callable[..., dict[str, Any]]) -> None:
        parts: tuple[Callable[..., dict[str, Any]], ...] = (own, _options, _running)
        taken = [dict(inspect.signature(part, eval_str=True).parameters) for part in parts]

        def command(**given: Any) -> None:
            from pipelines.prepare import PrepOptions

            special, shared, running = (
                part(**{key: given[key] for key in names})
                for part, names in zip(parts, taken, strict=True)
            )
            prepare(PrepOptions(**{"corpus": name, **special, **shared}), **running)

        # Typer asks the signature for the options, and wants those without a default first.
        asked = sorted(
            (parameter for names in taken for parameter in names.values()),
            key=lambda parameter: parameter.default is not parameter.empty,
        )
        command.__signature__ = inspect.Signature(asked)  # type: ignore[attr-defined]
        command.__annotations__ = {parameter.name: parameter.annotation for parameter in asked}
        command.__doc__ = own.__doc__
        prep.command(name, epilog=f"Example: fv2es prep {name} {example} --out shards")(command)

    return register


@corpus_command("iemocap", "IEMOCAP_full_release")
def prep_iemocap(
    raw: Annotated[
        Path, typer.Argument(help="Directory that holds Session1 to Session5.", metavar="RAW")
    ],
    labels: Annotated[str, typer.Option(help="Classes, e.g. ang,hap,neu,sad.")] = (
        "ang,exc,fru,hap,neu,sad"
    ),
) -> dict[str, Any]:
    """Prepare IEMOCAP: faces, mel spectra and tokens of every labelled utterance."""
    return {"raw": raw, "labels": _names(labels)}


@corpus_command("mosei", "CMU_MOSEI/Raw")
def prep_mosei(
    raw: Annotated[
        Path,
        typer.Argument(help="Directory that holds Videos, Transcript and Labels.", metavar="RAW"),
    ],
    labels: Annotated[str, typer.Option(help="Classes, e.g. happy,sad,anger.")] = (
        "anger,disgust,fear,happy,sad,surprise"
    ),
    label_source: Annotated[
        str, typer.Option(help="raters (Labels/*.csv), csd (CMU_MOSEI_Labels.csd) or auto.")
    ] = "auto",
    label_threshold: Annotated[
        float, typer.Option(help="An emotion holds if its mean rating, 0 to 3, is above this.")
    ] = 0.0,
    picture: Annotated[
        str, typer.Option(help="whole, or published: only the square in the middle.")
    ] = "whole",
) -> dict[str, Any]:
    """Prepare CMU-MOSEI: faces, mel spectra and tokens of every utterance with text and labels."""
    from fv2es_prep.corpora.mosei import MoseiOptions

    own = MoseiOptions(label_source, label_threshold, picture)  # type: ignore[arg-type]
    return {"raw": raw, "labels": _names(labels), "options": own}


@corpus_command("table", "meld.csv")
def prep_table(
    table: Annotated[
        Path, typer.Argument(help="CSV, JSONL or Parquet: one row for each utterance.")
    ],
    labels: Annotated[
        str, typer.Option(help="Classes, e.g. anger,joy; all of the table where none is named.")
    ] = "",
) -> dict[str, Any]:
    """Prepare any corpus that is given as a table: videos, spans, words, labels."""
    return {"raw": table, "labels": _names(labels)}


@corpus_command("processed", "IEMOCAP_RAW_PROCESSED --corpus iemocap")
def prep_processed(
    tree: Annotated[Path, typer.Argument(help="Directory that holds meta.pkl.", metavar="DIR")],
    corpus: Annotated[str, typer.Option(help="What it was made from: iemocap or mosei.")],
    labels: Annotated[
        str, typer.Option(help="Classes, e.g. ang,hap,neu,sad; all six where none is named.")
    ] = "",
) -> dict[str, Any]:
    """Prepare a published processed tree: a folder of JPEGs and sound for each utterance."""
    from fv2es_prep.corpora.processed import ProcessedOptions

    if corpus not in _PROCESSED:
        raise UsageError(
            f"there is no processed corpus {corpus!r}", f"--corpus {' or '.join(_PROCESSED)}"
        )
    return {
        "raw": tree,
        "labels": _names(labels),
        "options": ProcessedOptions(corpus),  # type: ignore[arg-type]
    }


def prepare(
    options: PrepOptions,
    executor: str,
    dry_run: bool = False,
    as_json: bool = False,
    max_dropped: float = 1.0,
) -> None:
    """Plan a preparation, run it and tell what became of it.

    Raises:
        typer.Exit: with status 1, where a shard failed or more was left out than allowed.
    """
    from pipelines.commands.progress import progress
    from pipelines.executors.base import executor_of
    from pipelines.prepare import plan_corpus
    from pipelines.run import run

    workers = executor_of(executor).workers
    plan = plan_corpus(options, dry_run)
    if dry_run:
        _print_plan(plan, workers, as_json)
        return
    left = sum(len(task.utterances) for task in plan.todo)
    with progress(left, "utterances") as report:
        summary = run(plan, options.out, executor, report)
    if as_json:
        print_json(summary.to_json())
    else:
        _print_summary(summary)
    if summary.dropped_share > max_dropped:
        typer.secho(
            f"failed   {summary.dropped_share:.1%} of the utterances could not be prepared, "
            f"at most {max_dropped:.1%} were allowed",
            fg="red",
            err=True,
        )
    if not summary.complete or summary.dropped_share > max_dropped:
        raise typer.Exit(1)


def _print_plan(plan: Plan, workers: int, as_json: bool) -> None:
    described = plan.describe(workers)
    if as_json:
        print_json(described)
        return
    for name, value in described.items():
        for line in _lines(value):
            typer.echo(f"{name:16} {line}")


def _lines(value: object) -> list[object]:
    """What is printed of a value, line by line."""
    if isinstance(value, dict):
        return [f"{count:7} {name}" for name, count in value.items()]
    return value if isinstance(value, list) else [value]


def _print_summary(summary: Summary) -> None:
    typer.echo(f"prepared {summary.prepared} utterances in {summary.shards} shard(s)")
    typer.echo(f"         {summary.size_bytes / 1e6:.1f} MB, {summary.seconds:.1f} s")
    frames, found = (summary.counts.get(name, 0) for name in ("frames_sampled", "faces_found"))
    if frames:
        typer.echo(f"         {frames} frames, a face in {found / frames:.1%}")
    if summary.counts.get("clamped"):
        typer.echo(f"clamped  {summary.counts['clamped']:7} utterances to the media's end")
    for name, count in summary.reconciliation.items():
        typer.echo(f"corpus   {count:6} {name}")
    if summary.without_text:
        typer.echo(f"no text  {summary.without_text:7} utterances: their transcripts are empty")
    for reason, count in summary.dropped.items():
        typer.echo(f"left out {count:6} {reason}")
    for name, error in summary.failed_shards.items():
        typer.secho(f"failed   {name}: {error}", fg="red", err=True)
    if summary.recordings_failed:
        typer.secho(
            f"failed   {len(summary.recordings_failed)} recording(s): see "
            f"{summary.out / 'dropped.jsonl'}",
            fg="red",
            err=True,
        )
    if summary.failed_shards:
        typer.echo(f"hint: the same command continues: fv2es {said()}", err=True)
    typer.echo(f"shards   {summary.out}")


def _pairs(merge: list[str]) -> dict[str, str]:
    pairs = dict(entry.partition("=")[::2] for entry in merge)
    for source, target in pairs.items():
        if not source or not target:
            raise UsageError(f"--merge {source}{target} is not understood", "write --merge exc=hap")
    return pairs


def _share(text: str) -> float:
    try:
        share = float(text.removesuffix("%")) / 100
    except ValueError:
        share = -1.0
    if not 0 <= share <= 1:
        raise UsageError(f"--max-dropped {text} is not understood", "write --max-dropped 5%")
    return share


def _names(labels: str) -> tuple[str, ...]:
    return tuple(filter(None, labels.split(",")))
