"""``fv2es prep CORPUS``: a command for each corpus of the registry, from `PrepConfig`."""

from __future__ import annotations

from dataclasses import fields, replace
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.main import get_command

from fv2es_prep.config import DEFAULT_STAGES
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import Corpus
from fv2es_prep.utils.console import Json
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_prep.utils.phases import phases
from fv2es_prep.utils.typer_app import App, Group
from pipelines.commands.common import DryRun, output
from pipelines.commands.summary import end_with, print_submission
from pipelines.config import OURS, PrepConfig, config_type, preset_values
from pipelines.executors.fork_server import start_early
from pipelines.signals import stoppable

if TYPE_CHECKING:
    from pipelines.plan import Plan
    from pipelines.run import Summary

Detach = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="SLURM: submit the workers and a job that finishes the dataset after them; return.",
        rich_help_panel="Run",
    ),
]
Print = Annotated[
    bool,
    typer.Option(
        "--print",
        help="SLURM: write the plan, and print the scripts of both jobs; submit nothing.",
        rich_help_panel="Run",
    ),
]


class _Corpora(Group):
    """A command for each corpus, made when it is called by its name."""

    shows = False

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002  # click's signature
        return list(CORPORA.names())

    def get_command(self, ctx: Any, name: str) -> Any:
        if name not in self.commands and name in self.list_commands(ctx):
            corpus, app = CORPORA.load(name), App(add_completion=False)
            command = corpus_command(corpus)
            start = "fv2es config show prep" if self.shows else "fv2es prep"
            epilog = f"Example: {start} {name} {corpus.example} --out shards"
            app.command(name, epilog=epilog)(command.show if self.shows else command)
            self.commands[name] = get_command(app)
        return self.commands.get(name)


class _Shown(_Corpora):
    """The same with commands that print their configuration."""

    shows = True


prep = App(cls=_Corpora, help="Prepare a raw corpus: make shards.")
prep.callback()(lambda: None)
show = App(cls=_Shown, help="Print the configuration of `fv2es prep` as TOML.")
show.callback()(lambda: None)


def corpus_command(corpus: Corpus) -> Any:
    """The function behind ``fv2es prep CORPUS``, with the options of `PrepConfig` and the corpus.

    Its attribute ``show`` prints the configuration instead, see `options_of`.
    """

    def command(
        given: Given[PrepConfig],
        dry_run: DryRun = False,
        detach: Detach = False,
        print_scripts: Print = False,
        as_json: Json = False,
    ) -> None:
        config = given.resolve()
        if (detach or print_scripts) and not dry_run:
            submit(config, print_scripts, as_json)
        else:
            prepare(config, dry_run, as_json)

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
            Flag("licence", ("--license",), metavar="LICENCE"),
            "limit",
            "sample",
            Flag("exclude", metavar="FILE"),
        ),
        "Utterances": (
            Flag("preset", help=f"Preset: {', '.join((OURS, *corpus.presets))}."),
            Flag(
                "stages",
                help=f"Stages, with commas between: {', '.join(STAGES.names())}, or an encoder, "
                "e.g. audio:w=DIR (also video:, text:), or faces:FILE with YuNet's model; default "
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
            "rehash",
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


def submit(config: PrepConfig, print_scripts: bool, as_json: bool = False) -> None:
    """Plan a preparation and submit it to SLURM, or print the scripts that would be submitted."""
    with stoppable():
        from pipelines.executors.detached import Submission, scripts, submit_run
        from pipelines.plan import plan_corpus

        with phases() as phase:
            plan = plan_corpus(config, phase=phase)
        if print_scripts:
            workers, finisher = scripts(plan, config)
            told = {"workers": workers, "finisher": finisher}
            output(
                told, f"{workers}\n# To submit with the number of that job:\n{finisher}", as_json
            )
            return
        made = submit_run(plan, config)
    if isinstance(made, Submission):
        print_submission(made, config.out, as_json)
    else:
        end_with(made, config.max_dropped, as_json)


def prepare(config: PrepConfig, dry_run: bool = False, as_json: bool = False) -> None:
    """Plan a preparation, run it and print its summary.

    Raises:
        Stopped: SIGINT or SIGTERM came.
        typer.Exit: see `end_with`.
    """
    if dry_run:
        from pipelines.commands.plan_text import print_plan

        print_plan(*planned(config), as_json)
    else:
        end_with(prepared(config), config.max_dropped, as_json)


def planned(config: PrepConfig) -> tuple[Plan, int]:
    """The plan of a dry run, and the number of workers it would have."""
    with stoppable():
        from fv2es_prep.store.dataset_upload import sent_dataset
        from pipelines.executors.base import executor_of
        from pipelines.plan import plan_corpus

        workers = executor_of(config.executor, config.cluster).workers
        with phases() as phase, sent_dataset(config.out, True) as out:
            return plan_corpus(replace(config, out=out), True, phase), workers


def prepared(config: PrepConfig) -> Summary:
    """Plan a preparation and run it; Stopped if SIGINT or SIGTERM came."""
    with stoppable():
        # First: it imports in the background what the workers need.
        start_early(config.executor, config.out)
        from fv2es_prep.store.dataset_upload import sent_dataset
        from pipelines.executors.base import executor_of
        from pipelines.plan import plan_corpus
        from pipelines.run import run

        executor_of(config.executor, config.cluster)
        with phases() as phase, sent_dataset(config.out, False) as out:
            plan = plan_corpus(replace(config, out=out), False, phase)
            left = sum(len(task.utterances) for task in plan.todo)
            with phase("prepare", left, "utterances") as report:
                summary = run(plan, out, config.executor, report, config.cluster, phase)
    return replace(summary, out=config.out)
