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
    from fv2es_prep.shards.finding import Finding
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
shards_app = typer.Typer(no_args_is_help=True, help="Look at a dataset, check it, pass it on.")
app.add_typer(shards_app, name="shards")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
Shards = Annotated[Path, typer.Option(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")]
Dataset = Annotated[
    Path, typer.Argument(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")
]
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
    detector: Annotated[
        str, typer.Option(help="exact, fast (99.5 % the same faces) or facenet.")
    ] = "exact",
    device: Annotated[
        str, typer.Option(help="Where faces are looked for: cpu, cuda or cuda:N.")
    ] = "cpu",
    shard_mb: Annotated[float, typer.Option(help="Expected megabytes of a shard.")] = 16.0,
    executor: Annotated[
        str, typer.Option(help="inline, local, local:N, or tcp://HOST:PORT of a Dask scheduler.")
    ] = "local",
    limit: Annotated[int | None, typer.Option(help="Only the first N utterances.")] = None,
    trust_mtime: Annotated[
        bool, typer.Option("--trust-mtime", help="Do not hash files of known size and time again.")
    ] = False,
    retry_dropped: Annotated[
        bool, typer.Option("--retry-dropped", help="Try utterances again that were dropped.")
    ] = False,
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="Stop at the first recording that fails.")
    ] = False,
    max_dropped: Annotated[
        str, typer.Option(help="Status 1 if more utterances could not be prepared, e.g. 5%.")
    ] = "100%",
    compact: Annotated[
        bool, typer.Option("--compact", help="Smaller, with a loss: JPEG faces, 8-bit spectra.")
    ] = False,
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
        detector=detector,
        device=device,
        shard_mb=shard_mb,
        limit=limit,
        trust_mtime=trust_mtime,
        retry_dropped=retry_dropped,
        fail_fast=fail_fast,
        compact=compact,
    )
    _prepare(options, executor, dry_run, as_json, _share(max_dropped))


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


@shards_app.command("info", epilog="Example: fv2es shards info shards")
def shards_info(directory: Dataset, as_json: Json = False) -> None:
    """Tell what a dataset holds: counts, hours, bytes, face coverage, what was left out."""
    from fv2es_prep.shards.info import dataset_info, info_text

    info = dataset_info(directory)
    if as_json:
        _print_json(info)
    else:
        typer.echo(info_text(info))


@shards_app.command("verify", epilog="Example: fv2es shards verify shards")
def shards_verify(
    directory: Dataset,
    against: Annotated[
        Path | None, typer.Option(help="Raw corpus: derive a sample again.", metavar="RAW")
    ] = None,
    sample: Annotated[int | None, typer.Option(help="How many utterances; 50 if none.")] = None,
    tokenizer: Annotated[str | None, typer.Option(help="As for `fv2es prep`, if moved.")] = None,
    seed: Annotated[int, typer.Option(help="Decides the sample.")] = 0,
    as_json: Json = False,
) -> None:
    """Check a dataset: index, hashes, every invariant of the format. Exit status 1 if not sound."""
    from fv2es_prep.shards.verify import shards_in, verify
    from pipelines.progress import progress

    if sample is not None and against is None:
        raise UsageError("--sample needs the raw corpus", "pass it with --against RAW")
    with progress(len(shards_in(directory)), "shards") as report:
        findings = verify(directory, report)
    if against is not None and findings:
        typer.echo(f"hint: mend this first; nothing was compared with {against}", err=True)
    elif against is not None:
        findings = _rederive(directory, against, 50 if sample is None else sample, tokenizer, seed)
    _print_findings(directory, findings, as_json)


@shards_app.command("show", epilog="Example: fv2es shards show shards ID --image example.png")
def shards_show(
    directory: Dataset,
    name: Annotated[str, typer.Argument(help="Utterance id.", metavar="ID")],
    image: Annotated[
        Path | None, typer.Option(help="Draw faces, spectrum and words.", metavar="FILE.png")
    ] = None,
    extract: Annotated[
        Path | None, typer.Option(help="Write faces as PNG, and a JSON.", metavar="DIR")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show one example: in words, as one picture, as files."""
    from fv2es_prep.shards.show import (
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
    if as_json:
        _print_json(example_values(shown))
    else:
        typer.echo(example_text(shown))


@shards_app.command("merge", epilog="Example: fv2es shards merge shards-a shards-b --out shards")
def shards_merge(
    directories: Annotated[list[Path], typer.Argument(help="Datasets.", metavar="SHARDS...")],
    out: Annotated[Path, typer.Option(help="New directory.", metavar="SHARDS")],
    as_json: Json = False,
) -> None:
    """Make one dataset out of several with equal settings, classes and ratings."""
    from fv2es_prep.shards.merge import merge

    index = merge(directories, out)
    if as_json:
        told = {"out": str(out), "corpus": index.corpus, "shards": len(index.shards)}
        _print_json({**told, "examples": index.examples, "size_bytes": index.size_bytes})
    else:
        typer.echo(f"merged   {index.examples} examples in {len(index.shards)} shard(s)")
        typer.echo(f"shards   {out}")


@shards_app.command("prune", epilog="Example: fv2es shards prune shards --dry-run")
def shards_prune(
    directory: Dataset,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell.")] = False,
    as_json: Json = False,
) -> None:
    """Remove what does not belong to a dataset: foreign shards and leftovers of dead runs."""
    from fv2es_prep.shards.prune import prune
    from pipelines.lock import locked

    if dry_run or not directory.is_dir():
        pruned = prune(directory, dry_run)
    else:
        with locked(directory):
            pruned = prune(directory)
    if as_json:
        _print_json({"dry_run": dry_run, "pruned": [vars(entry) for entry in pruned]})
        return
    for entry in pruned:
        typer.echo(f"{entry.name}  {entry.size_bytes} bytes, {entry.reason}")
    typer.echo(f"{'would remove' if dry_run else 'removed'} {len(pruned)} file(s)")


@shards_app.command(
    "export", epilog="Example: fv2es shards export shards --format webdataset --out tars"
)
def shards_export(
    directory: Dataset,
    kind: Annotated[str, typer.Option("--format", help="webdataset or parquet.")],
    out: Annotated[Path, typer.Option(help="New directory.", metavar="DIR")],
    as_json: Json = False,
) -> None:
    """Write a dataset in another form, for those who train elsewhere."""
    from fv2es_prep.shards.export import export
    from fv2es_prep.shards.index import read_index
    from pipelines.progress import progress

    with progress(read_index(directory).examples, "examples") as report:
        paths = export(directory, kind, out, report)
    if as_json:
        _print_json({"out": str(out), "files": [path.name for path in paths]})
    else:
        typer.echo(f"exported {len(paths)} files to {out}")


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
    workers: Annotated[int, typer.Option(help="Reading processes; 0: none of their own.")] = 0,
    shuffle_shards: Annotated[
        int, typer.Option(help="Shuffle within so many shards; 0: all. For larger than memory.")
    ] = 0,
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
        workers=workers,
        shuffle_shards=shuffle_shards,
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
    options: PrepOptions,
    executor: str,
    dry_run: bool = False,
    as_json: bool = False,
    max_dropped: float = 1.0,
) -> None:
    from pipelines.executor import worker_count
    from pipelines.prepare import plan_corpus
    from pipelines.progress import progress
    from pipelines.run import run

    workers = worker_count(executor)
    plan = plan_corpus(options, dry_run)
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
        _print_json(described)
        return
    for name, value in described.items():
        for line in value if isinstance(value, list) else [value]:
            typer.echo(f"{name:16} {line}")


def _print_summary(summary: Summary) -> None:
    typer.echo(f"prepared {summary.prepared} utterances in {summary.shards} shard(s)")
    typer.echo(f"         {summary.size_bytes / 1e6:.1f} MB, {summary.seconds:.1f} s")
    frames, found = (summary.counts.get(name, 0) for name in ("frames_sampled", "faces_found"))
    if frames:
        typer.echo(f"         {frames} frames, a face in {found / frames:.1%}")
    if summary.counts.get("clamped"):
        typer.echo(f"clamped  {summary.counts['clamped']:7} utterances to the media's end")
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


def _rederive(
    directory: Path, raw: Path, sample: int, tokenizer: str | None, seed: int
) -> list[Finding]:
    from pipelines.progress import progress
    from pipelines.rederive import rederive

    with progress(sample, "utterances") as report:
        return rederive(directory, raw, sample, tokenizer, seed, report)


def _print_findings(directory: Path, findings: list[Finding], as_json: bool) -> None:
    if as_json:
        found = [vars(finding) for finding in findings]
        _print_json({"shards": str(directory), "sound": not findings, "findings": found})
    else:
        typer.echo("\n".join(map(str, findings)) or f"{directory} is sound")
    if findings:
        raise typer.Exit(1)


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


def _said() -> str:
    import shlex

    return shlex.join(sys.argv[1:])


def _say(line: str) -> None:
    typer.secho(line, fg="cyan", err=True)


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


if __name__ == "__main__":
    app()
