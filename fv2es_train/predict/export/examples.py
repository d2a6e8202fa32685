"""The inputs on which an export is checked: those of shards, or generated ones."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from fv2es_prep.errors import Fv2esError
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.models.families import collate_of
from fv2es_train.training.run_config import stored_config

if TYPE_CHECKING:
    from torch import Tensor

    from fv2es_train.models.branches import Branch
    from fv2es_train.models.checkpoint import Checkpoint

# Sizes of generated inputs; one row is the edge case of every dynamic axis.
_SIZES = (1, 2, 3, 5, 8, 13, 21)

Inputs = Callable[["Branch"], Iterator["Tensor"]]


def inputs_of(
    run: Path, checkpoint: Checkpoint, shards: Path | None, count: int
) -> tuple[Inputs, str]:
    """The inputs of any branch, and where they come from.

    Args:
        run: directory of the run.
        checkpoint: its checkpoint.
        shards: dataset directory; None for that of the run, or generated inputs where it is gone.
        count: number of examples.

    Returns:
        A function that gives the inputs of a branch, one example at a time, and a description.

    Raises:
        SettingsError: the shards do not fit the run.
        ShardError: they cannot be read.
    """
    if shards is None:
        try:
            dataset = ShardDataset(stored_config(run).shards)
        except (Fv2esError, OSError):
            return _generated(checkpoint), "generated inputs"
    else:
        dataset = ShardDataset(shards)
    checkpoint.check(dataset.index.settings, dataset.index.label_classes)
    rows = np.unique(np.linspace(0, len(dataset) - 1, min(count, len(dataset))).round().astype(int))
    join = collate_of(checkpoint.model.config, checkpoint.settings.text.pad_id)

    def read(branch: Branch) -> Iterator[Tensor]:
        axis, shortest = branch.given.dynamic, False
        for row in rows:
            found = branch.of(join([dataset[int(row)]]))
            if not found.shape[axis]:
                continue
            yield found
            if not shortest:
                shortest = True
                yield found.narrow(axis, 0, 1).contiguous()

    return read, f"{len(rows)} examples of the shards"


def _generated(checkpoint: Checkpoint) -> Inputs:
    ids = checkpoint.model.config.vocabulary_size or 1

    def make(branch: Branch) -> Iterator[Tensor]:
        generator, given = torch.Generator().manual_seed(0), branch.given
        for size in _SIZES:
            shape = [one if isinstance(one, int) else size for one in given.shape]
            if given.dtype == "int64":
                yield torch.randint(0, ids, shape, generator=generator)
            else:
                yield _SCALES[given.name](torch.rand(shape, generator=generator))

    return make


# From 0..1 to the range of real inputs.
_SCALES: dict[str, Callable[[Tensor], Tensor]] = {
    "faces": lambda x: (255 * x).round(),
    "mel": lambda x: torch.exp(-14 * x),
}
