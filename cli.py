"""The command line: parse, call one function, print. Results to stdout, all else to stderr.

Nothing imports this file, and it imports nothing heavy before a command runs.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from fv2es_prep.errors import Fv2esError, UsageError

if TYPE_CHECKING:
    from pipelines.plan import Plan
    from pipelines.prepare import PrepOptions
    from pipelines.run import Summary


class _Commands(TyperGroup):
    """Commands whose errors are one sentence and a hint, with exit status 1 or 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Fv2esError as error:
            typer.secho(f"error: {error.sentence}", fg="red", err=True)
            if error.hint:
                typer.secho(f"hint: {error.hint}", fg="cyan", err=True)
            raise typer.Exit(error.exit_status) from None
        except KeyboardInterrupt:
            typer.secho("interrupted; finished shards and checkpoints are kept", err=True)
            if sys.argv[1:2] == ["prep"]:
                typer.echo(f"hint: the same command continues: fv2es {_said()}", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw emotion-video corpora to compact training shards, and to a trained, measured model.",
)
prep = typer.Typer(no_args_is_help=True, help="Turn a raw corpus into shards.")
splits = typer.Typer(no_args_is_help=True, help="Build split manifests: train, valid, test.")
app.add_typer(prep, name="prep")
app.add_typer(splits, name="splits")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Shards = Annotated[Path, typer.Option(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")]
SplitFile = Annotated[Path, typer.Option(help="Split manifest.", metavar="FILE")]
Run = Annotated[Path, typer.Option(help="Directory of the run.", metavar="RUN")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Parse what stands before a command."""
    if version:
        from fv2es_prep import __version__

        typer.echo(f"fv2es {__version__}")
        raise typer.Exit


@prep.command("iemocap", epilog="Example: fv2es prep iemocap IEMOCAP_full_release --out shards")
def prep_iemocap(
    raw: Annotated[
        Path,
        typer.Argument(help="Directory that holds Session1 to Session5.", metavar="RAW"),
    ],
    out: Annotated[Path, typer.Option(help="Directory for the shards.", metavar="SHARDS")],
    labels: Annotated[str, typer.Option(help="Classes, e.g. ang,hap,neu,sad.")] = (
        "ang,exc,fru,hap,neu,sad"
    ),
    merge: Annotated[
        list[str], typer.Option(help="SOURCE=TARGET: count one class as another, e.g. exc=hap.")
    ] = [],  # noqa: B006  # typer reads it as the option's default and copies it
    tokenizer: Annotated[
        str, typer.Option(help="Tokenizer: a directory, or a name at the hub.")
    ] = "albert-base-v2",
    max_tokens: Annotated[int, typer.Option(help="Longest token sequence.")] = 100,
    interval_ms: Annotated[float, typer.Option(help="Milliseconds between two frames.")] = 500.0,
    shard_mb: Annotated[float, typer.Option(help="Expected megabytes of a shard.")] = 16.0,
    executor: Annotated[
        str, typer.Option(help="inline, local, local:N, or tcp://HOST:PORT of a Dask scheduler.")
    ] = "local",
    limit: Annotated[int | None, typer.Option(help="Only the first N utterances.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and stop.")] = False,
    as_json: Json = False,
) -> None:
    """Prepare IEMOCAP: faces, mel spectra and tokens of every labelled utterance."""
    from pipelines.prepare import PrepOptions

    options = PrepOptions(
        corpus="iemocap",
        raw=raw,
        out=out,
        labels=tuple(filter(None, labels.split(","))),
        merge=_pairs(merge),
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        interval_ms=interval_ms,
        shard_mb=shard_mb,
        limit=limit,
    )
    _prepare(options, executor, dry_run, as_json)


@splits.command("build", epilog="Example: fv2es splits build shards --recipe session --out s.json")
def splits_build(
    shards: Annotated[
        Path, typer.Argument(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")
    ],
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
        _print_json(
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


@app.command(epilog="Example: fv2es train --shards shards --split split.json --out run")
def train(
    shards: Shards,
    split: SplitFile,
    out: Annotated[Path, typer.Option(help="New directory for the run.", metavar="RUN")],
    model: Annotated[str, typer.Option(help="fv2es or fv2es-tiny.")] = "fv2es",
    modalities: Annotated[str, typer.Option(help="Of t (text), a (audio), v (video).")] = "tav",
    text_encoder: Annotated[
        str | None, typer.Option(help="Text encoder: a directory, or a name at the hub.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(help="Longest training, in epochs.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Utterances in a batch.")] = None,
    lr: Annotated[float | None, typer.Option(help="Learning rate; text has a fraction.")] = None,
    early_stop: Annotated[
        int | None, typer.Option(help="Stop after so many epochs without a better valid F1.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of weights, order and dropout.")] = 0,
    device: Device = "auto",
    threads: Annotated[int | None, typer.Option(help="CPU threads.")] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace the run that RUN holds.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model on shards; what is not given is as the model's preset has it."""
    from fv2es_train.metrics import format_metrics
    from fv2es_train.progress import progress_for
    from fv2es_train.train import TrainOptions
    from fv2es_train.train import train as run_training

    options = TrainOptions(
        shards=shards,
        split=split,
        out=out,
        model=model,
        modalities=modalities,
        text_encoder=text_encoder,
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        early_stop=early_stop,
        seed=seed,
        device=device,
        threads=threads,
        overwrite=overwrite,
    )
    result = run_training(options, progress_for(sys.stderr))
    if as_json:
        _print_json(result)
        return
    typer.echo(format_metrics(result["test"]))
    typer.echo(f"run {out}")


@app.command("eval", epilog="Example: fv2es eval --shards shards --split split.json --run run")
def eval_(
    shards: Shards,
    split: SplitFile,
    run: Run,
    subset: Annotated[str, typer.Option(help="train, valid or test.")] = "test",
    batch_size: Annotated[int | None, typer.Option(help="Utterances in a batch.")] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Measure a run on a subset, with the thresholds that were fitted on valid."""
    from fv2es_train.evaluate import evaluate
    from fv2es_train.metrics import format_metrics

    result = evaluate(shards, split, run, subset, batch_size, device)
    if as_json:
        _print_json(result)
    else:
        typer.echo(format_metrics(result))


@app.command(epilog="Example: fv2es demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="New directory for everything.")] = Path("demo"),
    corpus_only: Annotated[
        bool, typer.Option("--corpus-only", help="Only make the corpus and the text model.")
    ] = False,
    executor: Annotated[str, typer.Option(help="As for `fv2es prep`.")] = "local",
    seed: Annotated[int, typer.Option(help="Of the corpus, the split and the training.")] = 0,
) -> None:
    """Make a small corpus in IEMOCAP's layout, prepare it, train a tiny model and measure it."""
    from fv2es_prep.demo import make_corpus, make_text_model
    from fv2es_prep.files import make_directory
    from pipelines.prepare import PrepOptions

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", "choose a new directory with --out")
    make_directory(out)
    _say("1/4 making a corpus in IEMOCAP's layout, and a small ALBERT")
    corpus, albert = out / "corpus", out / "albert"
    make_corpus(corpus, seed=seed)
    make_text_model(albert, seed=seed)
    typer.echo(f"corpus     {corpus}\ntext model {albert}")
    if corpus_only:
        return
    shards, split = out / "shards", out / "split.json"
    _say("2/4 fv2es prep iemocap: decode, sample frames, find faces, spectra, tokens")
    options = PrepOptions("iemocap", corpus, shards, tokenizer=str(albert), shard_mb=2)
    _prepare(options, executor)
    _say("3/4 fv2es splits build --recipe random")
    splits_build(shards, split, "random", seed)
    _say("4/4 fv2es train --model fv2es-tiny")
    train(shards, split, out / "run", "fv2es-tiny", "tav", str(albert), seed=seed)
    typer.echo(f"\nreport     {shards / 'report.html'}  (open it in a browser)")
    typer.echo(f"shards     {shards}\nsplit      {split}\nrun        {out / 'run'}")


def _prepare(
    options: PrepOptions, executor: str, dry_run: bool = False, as_json: bool = False
) -> None:
    from pipelines.executor import worker_count
    from pipelines.prepare import plan_corpus
    from pipelines.progress import progress
    from pipelines.run import run

    workers = worker_count(executor)
    plan = plan_corpus(options)
    if dry_run:
        _print_plan(plan, workers, as_json)
        return
    left = sum(len(task.utterances) for task in plan.todo)
    with progress(left, "utterances") as report:
        summary = run(plan, options.out, executor, report)
    if as_json:
        _print_json(summary.to_json())
    else:
        _print_summary(summary)
    if not summary.complete:
        raise typer.Exit(1)


def _print_plan(plan: Plan, workers: int, as_json: bool) -> None:
    described = plan.describe(workers)
    if as_json:
        _print_json(described)
        return
    for name, value in described.items():
        typer.echo(f"{name:16} {value}")


def _print_summary(summary: Summary) -> None:
    typer.echo(f"prepared {summary.prepared} utterances in {summary.shards} shard(s)")
    typer.echo(f"         {summary.size_bytes / 1e6:.1f} MB, {summary.seconds:.1f} s")
    frames, found = (summary.counts.get(name, 0) for name in ("frames_sampled", "faces_found"))
    if frames:
        typer.echo(f"         {frames} frames, a face in {found / frames:.1%}")
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
        typer.echo(f"hint: the same command continues: fv2es {_said()}", err=True)
    typer.echo(f"shards   {summary.out}")


def _pairs(merge: list[str]) -> dict[str, str]:
    pairs = dict(entry.partition("=")[::2] for entry in merge)
    for source, target in pairs.items():
        if not source or not target:
            raise UsageError(f"--merge {source}{target} is not understood", "write --merge exc=hap")
    return pairs


def _said() -> str:
    import shlex

    return shlex.join(sys.argv[1:])


def _say(line: str) -> None:
    typer.secho(line, fg="cyan", err=True)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    app()
