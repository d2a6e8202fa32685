"""The training loop, one function read from top to bottom, and the small steps it names.

Owns what happens in a run and in which order. Leaves the network to `model`, numbers to `metrics`,
files of a checkpoint to `checkpoint`, and showing progress to whoever passes it in.
"""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from fv2es_prep.errors import OutputError, TrainError, UsageError
from fv2es_prep.splits import read_split
from fv2es_train.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fv2es_train.config import TrainConfig
from fv2es_train.metrics import fit_thresholds, measure
from fv2es_train.model import FV2ES, build_model
from fv2es_train.options import TrainOptions
from fv2es_train.passes import choose_device, loader_of, run_model, subset_of
from fv2es_train.progress import Progress, Silent
from fv2es_train.results import PARTS as RESULTS
from fv2es_train.results import write_results

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_train.batch import Batch

__all__ = ["TrainOptions", "train"]

PARTS = ("best", "last", "history.jsonl", *RESULTS)


def train(options: TrainOptions, progress: Progress | None = None) -> dict[str, Any]:
    """Train a model on the train subset, keep the epoch that is best on valid, measure it on test.

    Writes RUN/history.jsonl (a line per epoch), RUN/best, RUN/last and at the end what `results`
    lists, RUN/metrics.json last. The best epoch has the highest average f1_binary on valid, with
    thresholds fitted on valid; of equal ones the lower valid loss. Deterministic on the CPU for a
    seed and a number of threads.

    Args:
        options: what to train on, where to write, and what departs from the defaults.
        progress: told of each batch and epoch; None shows nothing.

    Returns:
        JSON-ready summary: ``run``, ``model``, ``modalities``, ``parameters``, ``epochs``,
        ``best_epoch``, ``stopped_early``, ``device``, ``seconds`` (before the last
        measurement), and under ``valid`` and ``test`` what `evaluate` returns (``test`` is None
        where the split has none).

    Raises:
        UsageError: the run exists already, or an option is out of range.
        SplitError: the train or valid subset is empty or does not fit the shards.
        TokenizerError: the text encoder cannot be loaded.
        TrainError: a class is absent from train, or the loss is not finite.
        OutputError: the run cannot be written.
    """
    progress = progress or Silent()
    began = time.perf_counter()

    # Data. Everything that can be wrong is found before the first epoch.
    refuse_existing(options)
    device = choose_device(options.device)
    split = read_split(options.split)
    subsets = {name: split.ids(name) for name in ("train", "valid", "test")}
    train_set = subset_of(options.shards, subsets["train"], "train")
    valid_set = subset_of(options.shards, subsets["valid"], "valid")
    test_set = subset_of(options.shards, subsets["test"], "test") if subsets["test"] else None
    index = train_set.index
    names = index.label_classes
    pos_weight = positive_weights(train_set.label, names).to(device)

    # Model. The seed comes before the first random weight.
    model_config, config = options.configs(names)
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    model = build_model(model_config, index.settings).to(device)
    optimizer = torch.optim.Adam(parameter_groups(model, config), weight_decay=config.weight_decay)
    order = torch.Generator().manual_seed(config.seed)
    loader = loader_of(
        train_set, model, config.batch_size, config.workers, order, config.shuffle_shards
    )
    valid_loader = loader_of(valid_set, model, config.batch_size, config.workers)
    make_place(options)

    best, waited, epoch = (-1.0, 0.0), 0, 0
    try:
        for epoch in range(1, config.epochs + 1):
            started = time.perf_counter()
            model.train()
            total, seen = 0.0, 0
            for number, loaded in enumerate(loader, start=1):
                batch: Batch = loaded.to(device)
                loss = binary_cross_entropy_with_logits(
                    model(batch), batch.label, pos_weight=pos_weight
                )
                refuse_not_finite(loss, epoch, batch)
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]  # torch
                if config.clip_norm:
                    nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
                optimizer.step()
                total, seen = total + loss.item() * len(batch), seen + len(batch)
                progress.step(epoch, config.epochs, number, len(loader), total / seen)

            # Validation. Thresholds belong to the model of this epoch and to valid alone.
            outputs = run_model(model, valid_loader, device)
            valid_loss = binary_cross_entropy_with_logits(
                outputs.logits, outputs.label, pos_weight=pos_weight.cpu()
            ).item()
            thresholds = fit_thresholds(outputs.truth, outputs.probability)
            valid = measure(outputs.truth, outputs.probability, thresholds, names)["average"]
            score = (valid["f1_binary"] or 0.0, -valid_loss)
            better = score > best
            # Patience waits for F1 alone: the loss may creep on for long where F1 is at its top.
            waited = 0 if score[0] > best[0] else waited + 1
            best = max(best, score)

            checkpoint = Checkpoint(
                model=model,
                train=config,
                settings=index.settings,
                thresholds=dict(zip(names, thresholds.tolist(), strict=True)),
                split_digest=split.digest(),
                epoch=epoch,
                metrics=valid,
            )
            if better:
                save_checkpoint(options.out, checkpoint)
            save_checkpoint(options.out, replace(checkpoint, which="last"))
            record = {
                "epoch": epoch,
                "train_loss": total / seen,
                "valid_loss": valid_loss,
                "valid": valid,
                "best": better,
                "lr": {group["name"]: group["lr"] for group in optimizer.param_groups},
                "seconds": round(time.perf_counter() - started, 3),
            }
            with (options.out / "history.jsonl").open("a", encoding="utf-8") as history:
                history.write(json.dumps(record, allow_nan=False) + "\n")
            progress.epoch(record)
            if config.early_stop and waited >= config.early_stop:
                break
    finally:
        progress.close()

    # Measurement of the best epoch as it was written, with the thresholds stored in it.
    kept = load_checkpoint(options.out, "best", device)
    summary = {
        "run": str(options.out),
        "model": model_config.name,
        "modalities": model_config.modalities,
        "parameters": sum(p.numel() for p in model.parameters()),
        "epochs": epoch,
        "best_epoch": kept.epoch,
        "stopped_early": epoch < config.epochs,
        "device": str(device),
        "seconds": round(time.perf_counter() - began, 3),
    }
    measured = write_results(kept, split, {"valid": valid_set, "test": test_set}, summary, device)
    return {**summary, **measured}


def positive_weights(label: NDArray[np.uint8], names: tuple[str, ...]) -> Tensor:
    """The loss weight of each class's positives: negatives / positives in train.

    Args:
        label: (N, C), 1 where the class holds.
        names: the C classes.

    Returns:
        float32 (C,).

    Raises:
        TrainError: a class has no positive utterance.
    """
    positives = label.astype(np.int64).sum(axis=0)
    if absent := [name for name, count in zip(names, positives, strict=True) if count == 0]:
        raise TrainError(
            f"no utterance of the train subset has the class {', '.join(absent)}",
            "make a split whose train subset has every class, or prepare the corpus with the "
            "classes that it has: fv2es prep ... --labels",
        )
    return torch.from_numpy((len(label) - positives) / positives).float()


def parameter_groups(model: FV2ES, config: TrainConfig) -> list[dict[str, Any]]:
    """Adam's groups: the text encoder with its own learning rate, all else with the full one."""
    slow = [p for name, p in model.named_parameters() if name.startswith("text.")]
    full = [p for name, p in model.named_parameters() if not name.startswith("text.")]
    groups = [{"name": "main", "params": full, "lr": config.lr}]
    if slow:
        text_lr = config.lr / config.text_lr_divisor
        groups.append({"name": "text", "params": slow, "lr": text_lr})
    return groups


def refuse_not_finite(loss: Tensor, epoch: int, batch: Batch) -> None:
    """Stop before a spoilt gradient spoils the weights.

    Raises:
        TrainError: the loss is NaN or infinite; the batch's utterances are named.
    """
    if not bool(torch.isfinite(loss)):
        raise TrainError(
            f"the loss is {loss.item()} in epoch {epoch}, in the batch of the utterances "
            f"{', '.join(batch.ids)}",
            "look at these utterances' faces and spectra, or train with a smaller --lr",
        )


def refuse_existing(options: TrainOptions) -> None:
    """Never write over a run by accident.

    Raises:
        UsageError: ``out`` holds a run and ``overwrite`` is off, or is no directory.
    """
    if options.out.exists() and not options.out.is_dir():
        raise UsageError(f"{options.out} is a file, expected a directory", "choose another --out")
    found = [part for part in PARTS if (options.out / part).exists()]
    if found and not options.overwrite:
        raise UsageError(
            f"{options.out} holds a run already ({', '.join(found)})",
            "choose another --out, or pass --overwrite to replace it",
        )


def make_place(options: TrainOptions) -> None:
    """Make the run's directory, empty of an earlier run.

    Raises:
        OutputError: it cannot be made.
    """
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for part in PARTS:
            place = options.out / part
            if place.is_dir():
                shutil.rmtree(place)
            else:
                place.unlink(missing_ok=True)
        (options.out / "history.jsonl").touch()
    except OSError as error:
        raise OutputError(
            f"the run {options.out} cannot be written: {error.strerror or error}",
            "choose another place with --out",
        ) from error
