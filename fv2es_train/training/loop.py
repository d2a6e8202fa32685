"""The training loop: one function, read from top to bottom.

Leaves networks to `models`, metrics to `evaluation`, and parts of training to their modules.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from fv2es_prep.splits import read_split
from fv2es_train.config import TrainConfig
from fv2es_train.data.augmentation import augment
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.data.samplers import EpochBatches
from fv2es_train.evaluation.evaluate import outputs_of
from fv2es_train.evaluation.inference import loader_of, run_model, subset_of
from fv2es_train.evaluation.metrics import fit_thresholds, measure
from fv2es_train.evaluation.rating_metrics import mean_ccc
from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from fv2es_train.models.decision import Decision
from fv2es_train.models.familiarity import measure_familiarity, write_familiarity
from fv2es_train.models.families import build, config_from_json
from fv2es_train.training import distributed, optimization, run_dir, shard_hashes
from fv2es_train.training import state as states
from fv2es_train.training.beginning import Begun, begin
from fv2es_train.training.calibration import fit_decision, rule_of, terms_before_fusion
from fv2es_train.training.events import Events
from fv2es_train.training.loss import make_loss, rating_loss, soft_shares
from fv2es_train.training.progress import Progress, Step
from fv2es_train.training.run_names import EVENTS, STATE
from fv2es_train.training.stopping import catch_signals, stopped

if TYPE_CHECKING:
    from fv2es_train.data.batches import Batch


# Input statistics are computed from this many evenly spread utterances of train.
_FAMILIAR = 5000


def train(config: TrainConfig, progress: Progress | None = None) -> dict[str, Any] | None:
    """Train on the train subset, select an epoch by its score on valid, evaluate it on test.

    Writes RUN/history.jsonl (a line per epoch), RUN/ids.json, RUN/best, RUN/last, RUN/state.pt
    (from which the run continues), RUN/config.toml, RUN/tensorboard, and at the end the files of
    `run_dir.write_results`. The best epoch has the highest average f1_binary on valid, with
    thresholds fitted on valid; the lowest valid loss breaks a tie. With ``keep="last"``, RUN/best
    is the last epoch. On the CPU, training is deterministic for a seed and a number of threads,
    also across interruptions. Under torchrun the processes share each batch.

    Args:
        config: the training, see `run_config.train_config`.
        progress: receives each batch and epoch; None shows nothing.

    Returns:
        JSON-ready summary: ``run``, ``model``, ``modalities``, ``parameters``, ``epochs``,
        ``best_epoch``, ``without_votes`` (utterances of train whose soft target is the label;
        None with hard targets), ``stopped_early``, ``device``, ``processes``, ``seconds`` (before
        the final evaluation), and under ``valid`` and ``test`` what `evaluate` returns (``test`` is
        None if the split has no test subset). Processes other than the first return None.

    Raises:
        UsageError: the run already exists, another process trains in it, an option is out of
            range, or the resumed run began with other shards.
        ShardError: a shard is damaged or does not match the SHA-256 in its index.
        SplitError: the train or valid subset is empty or does not match the shards, or the resumed
            run began with another split.
        TokenizerError: the text encoder cannot be loaded.
        TrainError: a class is absent from train, training diverged, or a signal stopped it.
        OutputError: the run cannot be written.
    """
    with ExitStack() as stack:
        world = stack.enter_context(distributed.join_world(config.device))
        stack.enter_context(optimization.deterministic(world.device))
        received = stack.enter_context(catch_signals())
        shown = (progress if world.first else None) or Progress()
        stack.callback(shown.close)
        return _train(config, world, received, shown, stack)


def _train(
    config: TrainConfig,
    world: distributed.World,
    received: Callable[[], int],
    progress: Progress,
    stack: ExitStack,
) -> dict[str, Any] | None:
    began = time.perf_counter()

    # Data. Every check runs before the first epoch.
    run, device = config.out, world.device
    if not config.resume:
        run_dir.refuse_existing(config)
    claim = stack.enter_context(run_dir.held(config)) if world.first else None
    split = read_split(config.split)
    subsets = {name: split.ids(name) for name in ("train", "valid", "test")}
    dataset = ShardDataset(config.shards, (), config.verify_reads)
    train_set = subset_of(dataset, subsets["train"], "train")
    learnt = train_set.with_input(config.model.reads, config.unverified_faces)
    if len(learnt) < len(train_set):
        train_set = subset_of(dataset, learnt, "train with an input of the model")
    valid_set = subset_of(dataset, subsets["valid"], "valid")
    test_set = subset_of(dataset, subsets["test"], "test") if subsets["test"] else None
    hashes = shard_hashes.check([train_set, valid_set, test_set], config, world)
    index = train_set.index
    names = index.label_classes
    rated = rating_loss(config, train_set)
    scale = tuple(map(tuple, rated.scale.T.tolist())) if rated else ()
    learned = {"ratings": config.ratings, "rating_scale": scale}
    learned["rating_range"] = rated.bounds if rated else ()
    model_config = replace(config.model, label_classes=names, **learned)
    weighted = config.class_weights, config.label_smoothing, config.loss
    soft = soft_shares(config, train_set)
    criterion = make_loss(train_set.label, names, *weighted, rated, soft and soft[0])
    decision = Decision(*rule_of(config, np.concatenate([train_set.label, valid_set.label])))
    # A run killed before its first save starts again.
    saved = states.load_state(run) if config.resume and (run / STATE).exists() else None

    # Model. Set the seed before the first random weight.
    if config.threads:
        torch.set_num_threads(config.threads)
    torch.manual_seed(config.seed)
    begun: Begun | None = None
    if saved is None:
        begun = begin(replace(config, model=model_config), train_set, split, device)
        model, state = begun.model, begun.state
    else:
        saved.state.check(split, index)
        model = build(config_from_json(saved.state.model_config), index.settings).to(device)
        state = saved.state
    optimization.freeze_text(model, config.freeze_text)
    optimization.freeze(model, config.freeze)
    optimizer = optimization.make_optimizer(model, config)
    network = world.wrap(model)
    if config.compile:
        for encoder in model.encoders():
            encoder.compile(dynamic=True)

    if soft and soft[1]:
        of = f"{soft[1]} of {len(train_set)} train utterances"
        progress.note(f"{of} have no rater votes; their label is the target")

    # Order. Each process takes a part of each train batch, and some of the valid batches.
    order = EpochBatches(train_set, config, world)
    loader = loader_of(
        *(train_set, model, config.batch_size, config.workers),
        batches=order,
        unverified=config.unverified_faces,
    )
    valid_rows, valid_batches = distributed.valid_loader(valid_set, model, world, config)
    batches = -(-len(train_set) // config.batch_size)
    steps = config.epochs * -(-batches // config.accumulate)

    # Run directory. All processes reject an existing run before one of them writes.
    world.gather(None)
    if world.first:
        run_dir.make_run_dir(config, split)
        shard_hashes.remember(run, hashes)
        run_dir.write_history(run, state.history)
        if begun:
            begun.record(run, progress)
            states.save_state(run, state, model, optimizer)
    events = None
    if world.first:
        events = stack.enter_context(Events.open(run / EVENTS, state.steps + 1))
    if saved is not None:
        saved.restore(model, optimizer)
        # Free the memory: the saved state holds the weights three times.
        saved = None
    world.seed(config.seed, state.steps)
    done = 0

    epochs = 1 if model.closed_form else config.epochs
    while state.epoch <= epochs:
        if config.early_stop and state.waited >= config.early_stop:
            break
        started, earlier = time.perf_counter(), state.seconds
        optimization.set_training(model)
        order.begin(state.epoch, state.batches)
        loaded: Batch
        for loaded in () if model.closed_form else loader:
            number = state.batches + 1
            rows = len(order.batches[state.batches])
            together, ready = order.step_of(number)
            world.sync_norms(model, rows)
            batch = augment(loaded, config.augment, config.seed, state.epoch).to(device)
            with world.no_sync(network, ready):
                with optimization.autocast(config.amp, device):
                    outputs = network(batch)
                each = criterion.of_each(outputs, batch.label, batch.ratings)
                loss = each.sum() * world.weight(rows)
                # DDP averages gradients, but each process holds a part of a sum.
                (loss * world.size / together).backward()  # type: ignore[no-untyped-call]  # torch
            if ready:
                optimization.set_learning_rates(optimizer, config, state.steps + 1, steps)
                if config.clip_norm:
                    nn.utils.clip_grad_norm_(model.parameters(), config.clip_norm)
                optimizer.step()
                optimizer.zero_grad()
                state.steps += 1
                world.seed(config.seed, state.steps)
            # This waits for a GPU, so it comes when all work of the batch is queued. A step on a
            # loss that is not finite is never saved.
            total, stop = distributed.sum_loss(world, loss, state.epoch, batch, received())
            state.batches, state.seen, state.total = number, state.seen + rows, state.total + total
            state.seconds = earlier + time.perf_counter() - started
            done += 1
            left = (epochs - state.epoch + 1) * batches - number
            left_s = (time.perf_counter() - began) / done * left
            mean, rate = state.total / state.seen, state.seen / state.seconds
            progress.step(Step(state.epoch, epochs, number, batches, mean, rate, left_s))
            if events and ready:
                rates = {f"lr/{g['name']}": g["lr"] for g in optimizer.param_groups}
                events.scalars(state.steps, {"train/loss": total / rows, **rates})
            due = config.save_every and state.steps % config.save_every == 0
            if claim and ready and (stop or due):
                run_dir.check_held(claim)
                states.save_state(run, state, model, optimizer)
                if events:
                    events.flush()
            if ready and stop:
                # Rank 0 has saved the state, so the others may end, and the job with them.
                world.gather(None)
                raise stopped(run, state.epoch, stop)

        # Validation. Thresholds are fitted for the model of this epoch, on valid only.
        outputs = distributed.gather_outputs(
            run_model(model, valid_batches, device), valid_rows, world
        )
        found = outputs.raw, outputs.label, outputs.rated
        valid_loss = criterion.of_each(*found, plain=True).mean().item()
        thresholds = fit_thresholds(outputs.truth, outputs.probability, config.threshold_ties)
        valid = measure(outputs.truth, outputs.probability, thresholds, names)["average"]
        quality = valid["f1_binary"] or 0.0
        if config.ratings:
            valid["ccc"] = mean_ccc(valid_set.ratings, outputs.ratings(model_config))
            share = config.rating_share
            quality = (1 - share) * quality + share * (valid["ccc"] or 0.0)
        score = (quality, -valid_loss)
        better = score > state.best
        # Early stopping ignores the loss, which may keep falling long after F1 peaks.
        state.waited = 0 if score[0] > state.best[0] else state.waited + 1
        state.best = max(state.best, score)

        record = {
            "epoch": state.epoch,
            "train_loss": state.total / state.seen,
            "valid_loss": valid_loss,
            "valid": valid,
            "best": better,
            "lr": {group["name"]: group["lr"] for group in optimizer.param_groups},
            "steps": state.steps,
            "seconds": round(earlier + time.perf_counter() - started, 3),
            "utterances_per_s": round(state.seen / max(state.seconds, 1e-9), 2),
        }
        checkpoint = Checkpoint(
            model=model,
            train=config,
            settings=index.settings,
            decision=replace(
                decision, thresholds=dict(zip(names, thresholds.tolist(), strict=True))
            ),
            split_digest=split.digest(),
            epoch=state.epoch,
            metrics=valid,
        )
        state.end_epoch(record)
        # Save the state last: a run killed before this line repeats the epoch identically.
        if claim:
            run_dir.check_held(claim)
            if better or config.keep == "last":
                save_checkpoint(run, checkpoint)
            save_checkpoint(run, replace(checkpoint, which="last"))
            run_dir.write_history(run, state.history)
            states.save_state(run, state, model, optimizer)
        if events:
            shown = {f"valid/{k}": v for k, v in valid.items() if isinstance(v, int | float)}
            losses = {"train/epoch_loss": record["train_loss"], "valid/loss": valid_loss}
            events.scalars(state.steps, losses | shown)
            events.flush()
        left_s = (time.perf_counter() - began) / max(done, 1) * batches
        progress.epoch(record, left_s * (epochs - record["epoch"]))
        if stop := distributed.any_signal(world, received()):
            raise stopped(run, record["epoch"], stop)

    if not world.first:
        return None

    # Final evaluation of the best checkpoint, read back from disk with its stored decision.
    kept = load_checkpoint(run, "best", device)
    outputs = outputs_of(kept, valid_set, device)
    if config.decision != "thresholds":
        terms = terms_before_fusion(kept.model, outputs)
        fitted = fit_decision(
            *(kept.model, terms, decision.rule, decision.exclusive, names, config.threshold_ties)
        )
        kept = replace(kept, decision=fitted)
        save_checkpoint(run, kept)
    every = -(-len(train_set) // _FAMILIAR)
    seen = (train_set[row] for row in range(0, len(train_set), every))
    write_familiarity(run, measure_familiarity(seen))
    summary = {
        "run": str(run),
        "model": model_config.name,
        "modalities": model_config.modalities,
        "parameters": sum(p.numel() for p in model.parameters()),
        "epochs": len(state.history),
        "best_epoch": kept.epoch,
        "without_votes": soft[1] if soft else None,
        "stopped_early": len(state.history) < epochs,
        "device": str(device),
        "processes": world.size,
        "seconds": round(time.perf_counter() - began, 3),
    }
    measured = run_dir.write_results(
        kept, split, {"valid": valid_set, "test": test_set}, outputs, summary, device
    )
    return {**summary, **measured}
