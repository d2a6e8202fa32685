"""`fv2es train`: its options, in groups, and what it prints.

Leaves the meaning of an option to `config` and the run to `training`. Imports nothing heavy until
the command runs.
"""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import Json, print_json, say
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_train.config import TrainConfig
from fv2es_train.models.families import FAMILIES
from fv2es_train.training.run_config import preset_of, resumed
from fv2es_train.training.slurm_job import (
    LOG,
    JobOptions,
    requeueing,
    script_of,
    submit_training,
)
from fv2es_train.training.slurm_step import join_step

_DATA, _JOB = "Data and run", "Batch job"
_OPTIONS = {
    _DATA: ("shards", "split", "out", "overwrite", "save_every"),
    "Model": (
        Flag("model.name", ("--model",), "Preset of the model.", choices=FAMILIES.names),
        Flag("model.modalities", help="Modalities: t (text), a (audio), v (video)."),
        "model.text_encoder",
    ),
    "Start from weights": ("init", "init_modalities", "init_head", "freeze", "freeze_text"),
    "Learning": (
        *("epochs", "batch_size", "accumulate", "optimizer", "lr", "schedule", "warmup"),
        *("weight_decay", "clip_norm", "early_stop", "seed"),
    ),
    "Loss and augmentation": ("loss", "targets", "class_weights", "label_smoothing", "augment"),
    "Speed and memory": (
        *("device", "threads", "workers", "shuffle_shards", "bucket", "amp", "compile"),
        "verify_reads",
    ),
}


def _own(text: str, panel: str, metavar: str | None = None, *names: str) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel)


@options_of(TrainConfig, _OPTIONS, preset_of)
def train(
    given: Given[TrainConfig],
    folds: Annotated[
        Path | None, _own("Train on each fold-*.json instead of on a split.", _DATA, "DIR")
    ] = None,
    resume: Annotated[
        Path | None, _own("Continue the run in this directory.", _DATA, "RUN")
    ] = None,
    executor: Annotated[
        Literal["local", "slurm"],
        _own("Executor: local, or slurm: a batch job that goes on after its time limit.", _JOB),
    ] = "local",
    nodes: Annotated[int, _own("Nodes of the job.", _JOB, "N")] = 1,
    gpus: Annotated[
        int, _own("GPUs of each node, a process for each (0 = one process on the CPU).", _JOB, "N")
    ] = 0,
    sbatch: Annotated[
        list[str] | None,
        _own("Options of sbatch, e.g. partition=gpu,time=8:00:00.", _JOB, "OPTIONS"),
    ] = None,
    print_script: Annotated[
        bool, _own("Print the job's script, and do not submit it.", _JOB, None, "--print")
    ] = False,
    as_json: Json = False,
) -> None:
    """Train a model on shards.

    The defaults are those of --model fv2es; `fv2es config show train --model NAME` prints others.
    `torchrun --nproc-per-node N --no-python fv2es train ...` shares each batch among N processes,
    as do the tasks of one `srun`; `--executor slurm` submits such a job.
    """
    join_step()
    if resume is not None:
        config = resumed(resume, **given.values)
    elif folds and "split" in given.values:
        raise UsageError("--split and --folds cannot be combined", "pass one of them")
    else:
        config = given.resolve(split=folds)
    job = JobOptions(nodes, gpus, tuple(o for some in sbatch or () for o in some.split(",")))
    if executor == "slurm":
        values = {**given.values, **({"split": folds} if folds else {})}
        run_job(job, config, values, print_script, as_json)
        return
    if print_script or job != JobOptions():
        raise UsageError(
            "--nodes, --gpus, --sbatch and --print need a batch job", "pass --executor slurm"
        )
    (run_folds if config.split.is_dir() else run)(config, as_json)


def run_job(
    job: JobOptions,
    config: TrainConfig,
    values: Mapping[str, Any],
    print_script: bool,
    as_json: bool,
) -> None:
    """Submit a training or print its script; ``values`` are the user's options by dotted path."""
    if print_script:
        typer.echo(script_of(job, config, values), nl=False)
        return
    number, log = submit_training(job, config, values), config.out / LOG
    if as_json:
        print_json({"job": number, "run": str(config.out), "log": str(log)})
        return
    typer.echo(f"job {number}\nrun {config.out}")
    say(f"follow it with: tail -F {shlex.quote(str(log))}; squeue --jobs {number}")
    say(f"stop it with: scancel {number}; continue it with: fv2es train --resume {config.out}")


def run(config: TrainConfig, as_json: bool = False) -> None:
    """Train, with progress on stderr and the metrics on stdout."""
    result = None
    try:
        with requeueing(say):
            from fv2es_train.training.loop import train as run_training
            from fv2es_train.training.progress import progress_for

            result = run_training(config, progress_for(sys.stderr))
    except KeyboardInterrupt:
        typer.echo(f"hint: continue with: fv2es train --resume {config.out}", err=True)
        raise
    if result is None:
        return
    if as_json:
        print_json(result)
        return
    if result["test"] is not None:
        from fv2es_train.evaluation.tables import format_metrics

        typer.echo(format_metrics(result["test"]))
    typer.echo(f"run {config.out}")


def run_folds(config: TrainConfig, as_json: bool) -> None:
    """Train on each fold and print the results of all.

    Raises:
        typer.Exit: with status 1 if a fold failed.
    """
    with requeueing(say):
        from fv2es_train.evaluation.tables import format_folds
        from fv2es_train.training.folds import train_folds
        from fv2es_train.training.progress import progress_for

        result = train_folds(config, lambda: progress_for(sys.stderr), say)
    show_trainings(result, format_folds(result), f"runs {config.out}", as_json)


def show_trainings(result: dict[str, Any], table: str, places: str, as_json: bool) -> None:
    """Print the results of several trainings; typer.Exit with status 1 if one failed."""
    if as_json:
        print_json(result)
    else:
        typer.echo(table)
        if places:
            typer.echo(places)
    if result["failed"]:
        say(f"failed: {', '.join(result['failed'])}; run the same command again to retry them")
        raise typer.Exit(1)
