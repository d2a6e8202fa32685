"""Evaluate a run on a subset of a split.

Thresholds come from the checkpoint; this module fits nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fv2es_prep.errors import UsageError
from fv2es_prep.splits import SUBSETS, read_split
from fv2es_prep.utils.near import meant
from fv2es_prep.utils.phases import Phase, silent
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.data.votes import rater_shares
from fv2es_train.engines.compiled import use_engine
from fv2es_train.evaluation.agreement import agreement, measure_shares
from fv2es_train.evaluation.breakdown import (
    by_group,
    by_modality,
    check_by,
    group_names,
    metadata_of,
)
from fv2es_train.evaluation.inference import (
    choose_device,
    loader_of,
    run_model,
    subset_of,
    terms_of,
)
from fv2es_train.evaluation.measurement import Bootstrap, measurement
from fv2es_train.evaluation.metrics import calibration_error
from fv2es_train.evaluation.predictions import Predictions, refuse_seen, write_predictions
from fv2es_train.evaluation.rating_metrics import measure_ratings
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.run_files import overlap

if TYPE_CHECKING:
    from fv2es_prep.splits import Split
    from fv2es_train.engines.choice import Engine, Precision
    from fv2es_train.evaluation.breakdown import Metadata
    from fv2es_train.evaluation.inference import Outputs
    from fv2es_train.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Opened:
    """A run and a subset that matches it; ``metadata`` is in the order of ``dataset``."""

    checkpoint: Checkpoint
    dataset: ShardDataset
    metadata: Metadata
    split: Split
    subset: str
    run: Path
    device: torch.device


def evaluate(
    shards: Path | str,
    split: Path | str,
    run: Path | str,
    subset: str = "test",
    batch_size: int | None = None,
    device: str = "auto",
    by: str | None = None,
    bootstrap: Bootstrap | None = None,
    predictions: Path | None = None,
    allow_seen: bool = False,
    engine: Engine = "auto",
    precision: Precision = "float32",
    phase: Phase = silent,
) -> dict[str, Any]:
    """Evaluate the best checkpoint of a run on a subset of a split: train, valid or test.

    Args:
        shards: dataset directory.
        split: split manifest.
        run: run directory.
        subset: ``train``, ``valid`` or ``test``.
        batch_size: utterances per batch; None takes the batch size of the training.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        by: also measure groups, one of `breakdown.BY`.
        bootstrap: how to resample; None takes the defaults.
        predictions: also write the predictions to this CSV file.
        allow_seen: also measure utterances that the run was trained or validated on.
        engine: library that runs the encoders on a CPU, see `use_engine`.
        precision: see `use_engine`.
        phase: shows the progress.

    Returns:
        JSON-ready: the result of `measure_opened` and, with ``by``, the key ``by`` with ``kind``
        and ``groups``, see `breakdown`.

    Raises:
        UsageError: the subset, device or grouping is unknown, or the run does not exist.
        SplitError: the subset is empty or names utterances that are not in the shards.
        SettingsError: the shards were prepared with other settings than the training data.
        TrainError: the run has seen utterances of the subset, see `predictions.refuse_seen`.
    """
    check_by(by)
    opened = open_run(shards, split, run, subset, device, allow_seen)
    model, decision = opened.checkpoint.model, opened.checkpoint.decision
    if by == "modality":
        model.check_late_fusion()
    outputs = outputs_of(
        opened.checkpoint, opened.dataset, opened.device, batch_size, engine, precision, phase
    )
    found = predictions_of(opened, outputs)
    if predictions is not None:
        write_predictions(predictions, found)
    result = measure_opened(opened, found, bootstrap or Bootstrap())
    if by == "modality":
        terms, used = terms_of(model, outputs), list(map(model.used, outputs.missing))
        result["by"] = {"kind": by, "groups": by_modality(found, terms, decision, used)}
    elif by is not None:
        names = group_names(by, opened.metadata)
        result["by"] = {"kind": by, "groups": by_group(found, names)}
    return result


def open_run(
    shards: Path | str,
    split: Path | str,
    run: Path | str,
    subset: str,
    device: str = "auto",
    allow_seen: bool = False,
) -> Opened:
    """Load the best checkpoint of a run and open a subset for it; see `evaluate`."""
    if subset not in SUBSETS:
        raise UsageError(f"unknown subset {subset!r}", meant(subset, SUBSETS))
    place = choose_device(device)
    checkpoint = load_checkpoint(run, device=place)
    manifest = read_split(Path(split))
    refuse_seen(Path(run), manifest.ids(subset), subset, allow_seen)
    # Each example is read only once, so checking its digests costs little.
    whole = ShardDataset(shards, (), verify_reads="first")
    dataset = subset_of(whole, manifest.ids(subset), subset)
    checkpoint.check(dataset.index.settings, dataset.index.label_classes)
    metadata = metadata_of(dataset.catalogue, dataset.ids)
    return Opened(checkpoint, dataset, metadata, manifest, subset, Path(run), place)


def predict(opened: Opened, phase: Phase = silent) -> Predictions:
    """Predict every utterance, see `outputs_of` and `predictions_of`."""
    outputs = outputs_of(opened.checkpoint, opened.dataset, opened.device, phase=phase)
    return predictions_of(opened, outputs)


def outputs_of(
    checkpoint: Checkpoint,
    dataset: ShardDataset,
    device: torch.device,
    batch_size: int | None = None,
    engine: Engine = "torch",
    precision: Precision = "float32",
    phase: Phase = silent,
) -> Outputs:
    """Run the model over a subset; on a copy, RepVGG blocks are fused into single convolutions.

    ``engine`` and ``precision`` are those of `use_engine`; ``phase`` shows the progress.

    Raises:
        UsageError: the engine or the precision cannot be used.
        TrainError: a logit is not finite.
    """
    model, train = checkpoint.model.for_inference(), checkpoint.train
    size, unverified = batch_size or train.batch_size, train.unverified_faces
    with phase("evaluate", len(dataset), "utterances") as report:
        use_engine(model, engine, device, precision=precision)
        loader = loader_of(dataset, model, size, unverified=unverified)
        return run_model(model, loader, device, report)


def predictions_of(opened: Opened, outputs: Outputs) -> Predictions:
    """Apply the decision of the checkpoint to outputs."""
    model, decision = opened.checkpoint.model, opened.checkpoint.decision
    used = [model.used(lacks) for lacks in outputs.missing]
    probability = decision.probability(outputs.logits.numpy(), used)
    # No class is predicted for an utterance that has none of the modalities.
    some = np.array([[bool(letters)] for letters in used])
    known, guessed = opened.dataset.ratings, outputs.ratings(model.config)
    return Predictions(
        classes=tuple(model.config.label_classes),
        ids=opened.metadata.ids,
        recordings=opened.metadata.recordings,
        speakers=opened.metadata.speakers,
        sessions=opened.metadata.sessions,
        truth=outputs.truth,
        predicted=decision.decided(probability) * some,
        probability=probability,
        logits=outputs.logits.numpy(),
        rating_names=model.config.ratings,
        rated=np.array([known[name] for name in guessed], np.float32).T,
        rating=np.array([*guessed.values()], np.float32).T,
    )


def measure_opened(
    opened: Opened, predictions: Predictions, bootstrap: Bootstrap
) -> dict[str, Any]:
    """Measure predictions, and record which run was measured on which subset.

    Returns:
        JSON-ready: ``subset``, ``run``, ``checkpoint``, ``epoch``, ``model``, ``modalities``,
        ``split_digest``, ``trained_on_this_split``, ``seen`` (see `run_files.overlap`; None if
        the run has not stored its ids), ``rule`` (see `Decision`), ``thresholds`` by class,
        ``calibration_error`` (see `metrics.calibration_error`) with ``calibrated`` and
        ``uncalibrated`` probabilities, ``raters`` (see `agreement.agreement`),
        ``rater_shares`` (see `agreement.measure_shares`; None without votes), ``ratings`` (see
        `rating_metrics.measure_ratings`; None if it learned none), ``ratings_alone`` (whether it
        learned no classes), and the keys of `measurement.measurement`.
    """
    checkpoint, digest = opened.checkpoint, opened.split.digest()
    model, decision = checkpoint.model.config, checkpoint.decision
    raw = replace(decision, temperature={}).probability(predictions.logits, model.modalities)
    probabilities = {"calibrated": predictions.probability, "uncalibrated": raw}
    return {
        "subset": opened.subset,
        "run": str(opened.run),
        "checkpoint": checkpoint.which,
        "epoch": checkpoint.epoch,
        "model": model.name,
        "modalities": model.modalities,
        "split_digest": digest,
        "trained_on_this_split": digest == checkpoint.split_digest,
        "seen": overlap(opened.run, predictions.ids) or None,
        "thresholds_fitted": checkpoint.thresholds_fitted,
        "rule": decision.rule,
        "thresholds": dict(decision.thresholds),
        "calibration_error": {
            name: calibration_error(predictions.truth, each, decision.rule)
            for name, each in probabilities.items()
        },
        "ratings_alone": bool(predictions.rating_names) and checkpoint.train.rating_share == 1,
        "ratings": _ratings(predictions, bootstrap) if predictions.rating_names else None,
        "raters": agreement(opened.dataset.ratings, predictions.classes),
        "rater_shares": _shares(opened, predictions, bootstrap),
        **measurement(predictions, bootstrap),
    }


def _shares(
    opened: Opened, predictions: Predictions, bootstrap: Bootstrap
) -> dict[str, Any] | None:
    exclusive = opened.checkpoint.decision.rule == "largest"
    ratings = opened.dataset.ratings
    shares = rater_shares([*ratings], predictions.classes, exclusive)
    if shares is None:
        return None
    known = shares.of(torch.from_numpy(np.stack([*ratings.values()], axis=1)).double()).numpy()
    return measure_shares(known, predictions.probability, exclusive, bootstrap)


def _ratings(predictions: Predictions, bootstrap: Bootstrap) -> dict[str, Any]:
    truth, found = (
        dict(zip(predictions.rating_names, values.T, strict=True))
        for values in (predictions.rated, predictions.rating)
    )
    return measure_ratings(truth, found, bootstrap)
