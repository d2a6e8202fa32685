"""A run measured on a subset of a split.

Owns the checks that run, shards and split belong together, predicting and measuring.
Leaves the numbers to `measurement`, groups to `groups`, running the model to `passes` and reading
the run to `checkpoint`. Thresholds are those stored in the checkpoint; nothing is ever fitted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.reader import read_catalogue
from fv2es_prep.splits import SUBSETS, read_split
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.bootstrap import Plan
from fv2es_train.evaluation.groups import by_group, by_modality, check_by, group_names
from fv2es_train.evaluation.inference import (
    choose_device,
    loader_of,
    run_model,
    run_terms,
    subset_of,
)
from fv2es_train.evaluation.measurement import measurement
from fv2es_train.evaluation.metadata import facts_of
from fv2es_train.evaluation.predictions import Predictions, write_predictions
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.encoders.face import fused

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch.utils.data import DataLoader

    from fv2es_prep.splits import Split
    from fv2es_prep.types import Example
    from fv2es_train.evaluation.metadata import Facts
    from fv2es_train.models.checkpoint import Checkpoint


@dataclass(frozen=True)
class Opened:
    """A run and the subset it is to be measured on, found to belong together.

    Attributes:
        checkpoint: the model and its thresholds; the model is never changed.
        dataset: the utterances of the subset.
        facts: of the same utterances, in the same order.
        split: the split that the subset is from.
        subset: its name.
        run: directory of the run.
        device: where to compute.
    """

    checkpoint: Checkpoint
    dataset: ShardDataset
    facts: Facts
    split: Split
    subset: str
    run: Path
    device: torch.device

    @property
    def thresholds(self) -> NDArray[np.float64]:
        """float64 (C,), those stored in the checkpoint."""
        stored = self.checkpoint.thresholds
        return np.array([stored[name] for name in self.checkpoint.model.config.label_classes])


def evaluate(
    shards: Path | str,
    split: Path | str,
    run: Path | str,
    subset: str = "test",
    batch_size: int | None = None,
    device: str = "auto",
    by: str | None = None,
    plan: Plan | None = None,
    predictions: Path | None = None,
) -> dict[str, Any]:
    """Measure a run's best checkpoint on one subset.

    The RepVGG blocks are fused into single convolutions, on a copy.

    Args:
        shards: directory of the shards.
        split: file of the split manifest.
        run: directory of the run.
        subset: ``train``, ``valid`` or ``test``.
        batch_size: utterances in a batch; None takes the run's own.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
        by: also measure each group, one of `groups.BY`.
        plan: how intervals are drawn; None takes the defaults.
        predictions: also write the predictions to this CSV file.

    Returns:
        JSON-ready: what `measure_opened` returns and, where it was asked for, ``by``: ``kind``
        and ``groups``, see `groups`.

    Raises:
        UsageError: the subset, the device or the grouping is unknown, or there is no such run.
        SplitError: the subset is empty or names utterances that the shards do not have.
        SettingsError: the shards were prepared otherwise than the run's.
    """
    check_by(by)
    opened = open_run(shards, split, run, subset, device)
    found = predict(opened, batch_size)
    if predictions is not None:
        write_predictions(predictions, found)
    result = measure_opened(opened, found, plan or Plan())
    if by == "modality":
        terms = run_terms(
            fused(opened.checkpoint.model), _loader(opened, batch_size), opened.device
        )
        result["by"] = {"kind": by, "groups": by_modality(found, terms, opened.thresholds)}
    elif by is not None:
        names = group_names(by, opened.facts)
        result["by"] = {"kind": by, "groups": by_group(found, names)}
    return result


def open_run(
    shards: Path | str, split: Path | str, run: Path | str, subset: str, device: str = "auto"
) -> Opened:
    """Read a run's best checkpoint and open a subset for it.

    Args:
        shards: directory of the shards.
        split: file of the split manifest.
        run: directory of the run.
        subset: ``train``, ``valid`` or ``test``.
        device: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: see `evaluate`.
        SplitError: see `evaluate`.
        SettingsError: see `evaluate`.
    """
    if subset not in SUBSETS:
        raise UsageError(f"there is no subset {subset!r}", f"pass one of {', '.join(SUBSETS)}")
    place = choose_device(device)
    checkpoint = load_checkpoint(run, device=place)
    manifest = read_split(Path(split))
    dataset = subset_of(Path(shards), manifest.ids(subset), subset)
    checkpoint.check(dataset.index.settings, dataset.index.label_classes)
    facts = facts_of(read_catalogue(Path(shards)), dataset.ids)
    return Opened(checkpoint, dataset, facts, manifest, subset, Path(run), place)


def predict(opened: Opened, batch_size: int | None = None) -> Predictions:
    """What the model says of each utterance, with the thresholds of its checkpoint.

    Args:
        opened: the model and the utterances.
        batch_size: utterances in a batch; None takes the run's own.

    Raises:
        TrainError: a logit is not finite.
    """
    model = fused(opened.checkpoint.model)
    outputs = run_model(model, _loader(opened, batch_size), opened.device)
    return Predictions(
        classes=tuple(opened.checkpoint.model.config.label_classes),
        ids=opened.facts.ids,
        recordings=opened.facts.recordings,
        speakers=opened.facts.speakers,
        sessions=opened.facts.sessions,
        truth=outputs.truth,
        predicted=(outputs.probability > opened.thresholds).astype(np.uint8),
        probability=outputs.probability,
        logits=outputs.logits.numpy(),
    )


def measure_opened(opened: Opened, predictions: Predictions, plan: Plan) -> dict[str, Any]:
    """The measurement of a checkpoint, and what was measured on what.

    Args:
        opened: the model and the utterances.
        predictions: what the model says of them.
        plan: how intervals are drawn.

    Returns:
        JSON-ready: ``subset``, ``run``, ``checkpoint``, ``epoch``, ``model``, ``modalities``,
        ``split_digest``, ``trained_on_this_split``, ``thresholds`` by class, and what
        `measurement.measurement` returns.
    """
    checkpoint, digest = opened.checkpoint, opened.split.digest()
    model = checkpoint.model.config
    return {
        "subset": opened.subset,
        "run": str(opened.run),
        "checkpoint": checkpoint.which,
        "epoch": checkpoint.epoch,
        "model": model.name,
        "modalities": model.modalities,
        "split_digest": digest,
        "trained_on_this_split": digest == checkpoint.split_digest,
        "thresholds_fitted": checkpoint.thresholds_fitted,
        "thresholds": dict(zip(model.label_classes, opened.thresholds.tolist(), strict=True)),
        **measurement(predictions, plan),
    }


def _loader(opened: Opened, batch_size: int | None) -> DataLoader[Example]:
    checkpoint = opened.checkpoint
    return loader_of(opened.dataset, checkpoint.model, batch_size or checkpoint.train.batch_size)
