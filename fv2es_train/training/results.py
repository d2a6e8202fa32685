"""The results of a finished run: metrics, predictions, plots and a model card.

Owns the file names and their order: metrics.json comes last, so a run that has it is complete.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.utils.files import make_directory, write_json
from fv2es_train.evaluation.bootstrap import Bootstrap
from fv2es_train.evaluation.evaluate import Opened, measure_opened, predict
from fv2es_train.evaluation.metadata import metadata_of
from fv2es_train.evaluation.model_card import write_card
from fv2es_train.evaluation.plots import draw_curves, draw_predictions
from fv2es_train.evaluation.predictions import FOLDER, file_of, write_predictions

if TYPE_CHECKING:
    import torch

    from fv2es_prep.splits import Split
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.checkpoint import Checkpoint

METRICS_FILE, CURVES, TEST, CARD = "metrics.json", "curves.png", "test.png", "README.md"
PARTS = (METRICS_FILE, FOLDER, CURVES, TEST, CARD)


def write_results(
    checkpoint: Checkpoint,
    split: Split,
    subsets: dict[str, ShardDataset | None],
    summary: dict[str, Any],
    device: torch.device,
) -> dict[str, Any]:
    """Evaluate the best checkpoint and write all files of `PARTS`.

    Args:
        checkpoint: the best one, as read back.
        split: split of the training.
        subsets: ``valid`` and ``test``; None if the split has none.
        summary: summary of the training, see `loop.train`.
        device: device to compute on.

    Returns:
        For each subset what `evaluate` returns, or None.

    Raises:
        TrainError: a logit is not finite.
        OutputError: a file cannot be written.
    """
    run = Path(summary["run"])
    shards = next(found for found in subsets.values() if found is not None).directory
    catalogue = read_catalogue(shards)
    make_directory(run / FOLDER)
    measured: dict[str, Any] = dict.fromkeys(subsets)
    for subset, dataset in subsets.items():
        if dataset is None:
            continue
        metadata = metadata_of(catalogue, dataset.ids)
        opened = Opened(checkpoint, dataset, metadata, split, subset, run, device)
        found = predict(opened)
        write_predictions(file_of(run, subset), found)
        measured[subset] = measure_opened(opened, found, Bootstrap())
        if subset == "test":
            draw_predictions(found, run / TEST)
    lines = (run / "history.jsonl").read_text(encoding="utf-8").splitlines()
    draw_curves([json.loads(line) for line in lines], checkpoint.epoch, run / CURVES)
    write_card(run / CARD, checkpoint, shards, catalogue, split, {**summary, **measured})
    write_json(run / METRICS_FILE, measured)
    return measured
