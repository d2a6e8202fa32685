"""``fv2es train``: its options, in groups, and what it prints.

Owns parsing and the words on stdout. Leaves what an option means to `config` and the run to
`train`; nothing heavy is imported before it runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import print_json, say
from fv2es_train.training.options import TrainOptions

# What may differ when a run is continued.
_CHANGEABLE = ("shards", "split", "device", "workers", "epochs", "save_every")
_ALWAYS = ("resume", "as_json")


def _option(panel: str, text: str, *names: str, metavar: str | None = None) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel)


_DATA, _MODEL = "Data and run", "Model"
_LEARN, _LOSS = "Learning", "Loss and augmentation"
_SPEED = "Speed and memory"


def train(
    context: typer.Context,
    shards: Annotated[
        Path | None, _option(_DATA, "Directory that `fv2es prep` wrote.", metavar="SHARDS")
    ] = None,
    split: Annotated[Path | None, _option(_DATA, "Split manifest.", metavar="FILE")] = None,
    folds: Annotated[
        Path | None,
        _option(_DATA, "Instead of a split: train on each fold-*.json in it.", metavar="DIR"),
    ] = None,
    out: Annotated[Path | None, _option(_DATA, "New directory for the run.", metavar="RUN")] = None,
    resume: Annotated[
        Path | None,
        _option(_DATA, "Continue a run that was broken off; alone it is enough.", metavar="RUN"),
    ] = None,
    overwrite: Annotated[
        bool, _option(_DATA, "Replace the run that RUN holds.", "--overwrite")
    ] = False,
    save_every: Annotated[
        int, _option(_DATA, "Optimizer steps between two saves; 0: at each epoch's end.")
    ] = 0,
    as_json: Annotated[bool, _option(_DATA, "Print one JSON object on stdout.", "--json")] = False,
    model: Annotated[str, _option(_MODEL, "fv2es, fv2es-lite or fv2es-tiny.")] = "fv2es",
    modalities: Annotated[str | None, _option(_MODEL, "Of t (text), a (audio), v (video).")] = None,
    text_encoder: Annotated[
        str | None, _option(_MODEL, "Text encoder: a directory, or a name at the hub.")
    ] = None,
    freeze_text: Annotated[
        str, _option(_MODEL, "What of it does not learn: none, embeddings, all, or N layers.")
    ] = "none",
    epochs: Annotated[int | None, _option(_LEARN, "Longest training, in epochs.")] = None,
    batch_size: Annotated[
        int | None, _option(_LEARN, "Utterances in a batch, of all processes together.")
    ] = None,
    accumulate: Annotated[int, _option(_LEARN, "Batches in an optimizer step.")] = 1,
    lr: Annotated[float | None, _option(_LEARN, "Learning rate; text has a fraction.")] = None,
    schedule: Annotated[
        str, _option(_LEARN, "Of the learning rate: constant, linear or cosine.")
    ] = "constant",
    warmup: Annotated[int, _option(_LEARN, "Steps in which the learning rate rises.")] = 0,
    early_stop: Annotated[
        int | None, _option(_LEARN, "Stop after so many epochs without a better valid F1.")
    ] = None,
    seed: Annotated[int, _option(_LEARN, "Of weights, order, dropout and augmentation.")] = 0,
    class_weights: Annotated[
        str, _option(_LOSS, "positives (as published), balanced or none.")
    ] = "positives",
    label_smoothing: Annotated[
        float, _option(_LOSS, "Share of each label that is taken for 1/2.")
    ] = 0.0,
    augment: Annotated[
        str, _option(_LOSS, "flip (faces), spec (SpecAugment), or flip,spec.", metavar="KINDS")
    ] = "",
    device: Annotated[str, _option(_SPEED, "auto, cpu, cuda or cuda:N.")] = "auto",
    threads: Annotated[int | None, _option(_SPEED, "CPU threads.")] = None,
    workers: Annotated[int, _option(_SPEED, "Reading processes; 0: none of their own.")] = 0,
    shuffle_shards: Annotated[
        int, _option(_SPEED, "Shuffle within so many shards; 0: all. For larger than memory.")
    ] = 0,
    bucket: Annotated[
        int, _option(_SPEED, "Sort so many batches by length, for less padding; 0: do not.")
    ] = 0,
    amp: Annotated[str, _option(_SPEED, "off, or bf16: compute in bfloat16.")] = "off",
    compiled: Annotated[
        bool, _option(_SPEED, "Let torch compile the encoders.", "--compile")
    ] = False,
) -> None:
    """Train a model on shards; what is not given is as the model's preset has it.

    `torchrun --nproc-per-node N --no-python fv2es train ...` shares each batch among N processes.
    """
    asked = dict(context.params)
    as_json = asked.pop("as_json")
    if resume is not None:
        run(TrainOptions.resumed(resume, **_changes(context)), as_json)
        return
    asked.pop("resume")
    asked.pop("folds")
    asked["split"] = split or folds
    for name, value in (("shards", shards), ("split", asked["split"]), ("out", out)):
        if value is None:
            raise UsageError(
                f"--{name} is missing",
                "pass --shards SHARDS --split FILE --out RUN, or --resume RUN to continue one",
            )
    if split and folds:
        raise UsageError("a run needs a split or folds, and not both", "pass --split or --folds")
    asked["compile"] = asked.pop("compiled")
    asked["augment"] = tuple(kind for kind in augment.split(",") if kind)
    options = TrainOptions(**asked)
    if folds is None:
        run(options, as_json)
    else:
        run_folds(options, folds, as_json)


def run(options: TrainOptions, as_json: bool = False) -> None:
    """Train, with progress on stderr and the metrics on stdout."""
    from fv2es_train.evaluation.tables import format_metrics
    from fv2es_train.training.loop import train as run_training
    from fv2es_train.training.progress import progress_for

    try:
        result = run_training(options, progress_for(sys.stderr))
    except KeyboardInterrupt:
        typer.echo(f"hint: it continues with: fv2es train --resume {options.out}", err=True)
        raise
    if result is None:
        return
    if as_json:
        print_json(result)
        return
    if result["test"] is not None:
        typer.echo(format_metrics(result["test"]))
    typer.echo(f"run {options.out}")


def run_folds(options: TrainOptions, folds: Path, as_json: bool) -> None:
    """Train on each fold, and tell what they come to together.

    Raises:
        typer.Exit: with status 1, where a fold failed.
    """
    from fv2es_train.evaluation.tables import format_folds
    from fv2es_train.training.folds import train_folds
    from fv2es_train.training.progress import progress_for

    result = train_folds(options, folds, lambda: progress_for(sys.stderr), say)
    if as_json:
        print_json(result)
    else:
        typer.echo(format_folds(result))
        typer.echo(f"runs {options.out}")
    if result["failed"]:
        say(f"failed: {', '.join(result['failed'])}; the same command tries them again")
        raise typer.Exit(1)


def _changes(context: typer.Context) -> dict[str, Any]:
    """What was asked beside --resume.

    Raises:
        UsageError: something that cannot change within a run.
    """
    given = {
        name: value
        for name, value in context.params.items()
        if name not in _ALWAYS and _was_typed(context, name)
    }
    for name in given:
        if name not in _CHANGEABLE:
            shown = {"compiled": "compile"}.get(name, name).replace("_", "-")
            allowed = ", ".join(f"--{n.replace('_', '-')}" for n in _CHANGEABLE)
            raise UsageError(
                f"--{shown} cannot be given with --resume: a run keeps what it began with",
                f"leave it out; only {allowed} may differ",
            )
    return {k: str(v) if isinstance(v, Path) else v for k, v in given.items()}


def _was_typed(context: typer.Context, name: str) -> bool:
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"
