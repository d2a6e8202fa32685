"""``fv2es prep CORPUS``: a command for each corpus of the registry, from `PrepConfig`."""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperGroup
from typer.main import get_command

from fv2es_prep.config import DEFAULT_STAGES
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import Corpus
from fv2es_prep.utils.console import Json, print_json
from fv2es_prep.utils.flags import Flag, Given, options_of
from pipelines.commands.common import DryRun, output, progress, said
from pipelines.config import OURS, PrepConfig, config_type, preset_values
from pipelines.signals import stoppable

if TYPE_CHECKING:
    from pipelines.plan import Plan
    from pipelines.run import Summary


class _Corpora(TyperGroup):
    """A command for each corpus, made when it is called by its name."""

    shows = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # click's signature
        return list(CORPORA.names())

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in self.commands and name in self.list_commands(ctx):
            corpus, app = CORPORA.load(name), typer.Typer(add_completion=False)
            command = corpus_command(corpus)
            start = "fv2es config show prep" if self.shows else "fv2es prep"
            epilog = f"Example: {start} {name} {corpus.example} --out shards"
            app.command(name, epilog=epilog)(command.show if self.shows else command)
            self.commands[name] = get_command(app)
        return self.commands.get(name)


class _Shown(_Corpora):
    """The same with commands that print their configuration."""

    shows = True


prep = typer.Typer(cls=_Corpora, no_args_is_help=True, help="Prepare a raw corpus: make shards.")
prep.callback()(lambda: None)
show = typer.Typer(cls=_Shown, no_args_is_help=True, help="Configuration of `fv2es prep`.")
show.callback()(lambda: None)


def corpus_command(corpus: Corpus) -> Any:
    """The function behind ``fv2es prep CORPUS``, with the options of `PrepConfig` and the corpus.

    Its attribute ``show`` prints the configuration instead, see `options_of`.
    """

    def command(given: Given[PrepConfig], dry_run: DryRun = False, as_json: Json = False) -> None:
        prepare(given.resolve(), dry_run, as_json)

    command.__doc__ = corpus.title
    return options_of(config_type(), _options(corpus), partial(preset_values, corpus.name))(command)


def _options(corpus: Corpus) -> dict[str, tuple[str | Flag, ...]]:
    from fv2es_prep.stages.registry import STAGES
    from pipelines.executors.base import EXECUTORS

    own = (Flag(f"corpus.{f.name}", f.metadata.get("flags", ())) for f in fields(corpus.options))
    classes = f"; default {','.join(corpus.classes) or 'all that occur'}"
    return {
        "Corpus": (
            Flag("raw", help=corpus.raw, metavar="RAW", argument=True),
            *own,
            Flag("labels", help=f"Classes in the order of the columns{classes}.", metavar="NAMES"),
            "merge",
            "limit",
            "sample",
        ),
        "Examples": (
            Flag("preset", help=f"Preset: {', '.join((OURS, *corpus.presets))}."),
            Flag(
                "stages",
                help=f"Stages, with commas between: {', '.join(STAGES.names())}, or an encoder, "
                "e.g. audio:w=DIR (also video:, text:); default "
                f"{','.join(DEFAULT_STAGES)}.",
                metavar="NAMES",
            ),
            Flag("modalities", metavar="LETTERS"),
            Flag("require", metavar="LETTERS"),
            Flag(
                *("frames.interval_s", ("--interval-ms",)),
                help="Milliseconds between two frames; default 500.",
                metavar="MS",
                read=lambda milliseconds: float(milliseconds) / 1000,
            ),
            "faces.detector",
            Flag("faces.image_size_px", ("--face-px",), metavar="PIXELS"),
            "device",
            "encoder_batch",
            "tokenizer",
            "text.max_tokens",
        ),
        "Output": (Flag("out", metavar="SHARDS"), "shard_mb", "compact"),
        "Run": (
            Flag(
                "executor",
                help=f"Executor: {', '.join(EXECUTORS.names())}; e.g. local:4 (processes), "
                "slurm:16 (array job) or tcp://HOST:PORT (Dask).",
            ),
            Flag("cluster.sbatch", ("--sbatch",), metavar="OPTIONS"),
            "trust_mtime",
            "retry_dropped",
            "fail_fast",
            Flag(
                "max_dropped",
                help="Exit with status 1 if more utterances are dropped, e.g. 5%.",
                metavar="SHARE",
                read=lambda percent: float(percent.removesuffix("%")) / 100,
            ),
        ),
    }


def prepare(config: PrepConfig, dry_run: bool = False, as_json: bool = False) -> None:
    """Plan a preparation, run it and print its summary.

    Raises:
        Stopped: SIGINT or SIGTERM came.
        typer.Exit: status 1: a shard failed, or too many utterances were dropped.
    """
    with stoppable():
        from pipelines.executors.base import executor_of
        from pipelines.plan import plan_corpus
        from pipelines.run import run

        executor = executor_of(config.executor, config.cluster)
        plan = plan_corpus(config, dry_run)
        if dry_run:
            _print_plan(plan, executor.workers, as_json)
            return
        left = sum(len(task.utterances) for task in plan.todo)
        with progress(left, "utterances") as report:
            summary = run(plan, config.out, config.executor, report, config.cluster)
    if as_json:
        print_json(summary.to_json())
    else:
        _print_summary(summary)
    allowed = summary.dropped_share <= config.max_dropped
    if not allowed:
        _fail(
            f"{summary.dropped_share:.1%} of the utterances could not be prepared, at most "
            f"{config.max_dropped:.1%} were allowed"
        )
    if not summary.prepared:
        _fail("no utterance could be prepared; the codes above say why")
    if not (summary.complete and summary.prepared and allowed):
        raise typer.Exit(1)


def _print_plan(plan: Plan, workers: int, as_json: bool) -> None:
    described = plan.describe(workers)
    lines = [f"{name:16} {line}" for name, value in described.items() for line in _lines(value)]
    output(described, "\n".join(lines), as_json)


def _lines(value: object) -> list[object]:
    """The printed lines of a value."""
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
    if summary.counts.get("recordings_changed"):
        typer.echo(f"changed  {summary.counts['recordings_changed']:7} recordings while being read")
    for name, count in summary.reconciliation.items():
        typer.echo(f"corpus   {count:6} {name}")
    for name, reasons in summary.missing.items():
        for reason, count in reasons.items():
            typer.echo(f"no {name:5} {count:7} utterances: {reason}")
    for reason, count in summary.dropped.items():
        typer.echo(f"left out {count:6} {reason}")
    for other, count in summary.other_code.items():
        typer.echo(f"kept     {count:7} shard(s) with values of other code: {other}")
    for name, error in summary.failed_shards.items():
        _fail(f"{name}: {error}")
    if lost := summary.recordings_failed:
        _fail(f"{len(lost)} recording(s): see {summary.out / 'dropped.jsonl'}")
    if summary.failed_shards:
        typer.echo(f"hint: the same command continues: fv2es {said()}", err=True)
    typer.echo(f"shards   {summary.out}")


def _fail(sentence: str) -> None:
    typer.secho(f"failed   {sentence}", fg="red", err=True)
