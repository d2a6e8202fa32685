"""What the processes of a run do together: check a loss, divide the valid subset, gather outputs.

Leaves collectives to `distributed` and the order of things to `loop`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from fv2es_prep.errors import TrainError
from fv2es_train.evaluation.inference import Outputs, loader_of

if TYPE_CHECKING:
    from torch.utils.data import DataLoader

    from fv2es_prep.types import Example
    from fv2es_train.config import TrainConfig
    from fv2es_train.data.batches import Batch
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.emotion_model import EmotionModel
    from fv2es_train.training.distributed import World


def sum_loss(
    world: World, loss: Tensor, epoch: int, batch: Batch, stopping: bool
) -> tuple[float, bool]:
    """Sum a batch's loss over all processes, and stop all before a bad gradient is applied.

    Args:
        world: the processes.
        loss: the loss of this process's part, so weighted that the sum is the batch's.
        epoch: number of the epoch.
        batch: this process's part.
        stopping: whether this process received SIGTERM.

    Returns:
        The batch's summed loss, and whether any process received SIGTERM.

    Raises:
        TrainError: the loss is not finite; the utterances of the batch are named.
    """
    value = loss.item()
    diverged = not math.isfinite(value)
    total, failed, stop = world.total(value, diverged, stopping)
    if failed:
        ids = [name for part in world.gather(batch.ids if diverged else ()) for name in part]
        raise TrainError(
            f"training diverged (non-finite loss): the loss is {total} in epoch {epoch}, in the "
            f"batch of the utterances {', '.join(ids)}",
            "check the faces and spectra of these utterances, or train with a smaller --lr",
        )
    return total, stop > 0


def valid_loader(
    dataset: ShardDataset, model: EmotionModel, world: World, config: TrainConfig
) -> tuple[list[int], DataLoader[Example]]:
    """The rows of a dataset that this process evaluates, and their batches, both in order."""
    rows = range(len(dataset))
    size = config.batch_size
    batches = [list(rows[begin : begin + size]) for begin in rows[::size]]
    mine = [batches[number] for number in world.share(range(len(batches)))]
    loader = loader_of(dataset, model, size, config.workers, batches=mine)
    return [row for batch in mine for row in batch], loader


def gather_outputs(outputs: Outputs, rows: list[int], world: World) -> Outputs:
    """The outputs of all processes in the dataset's order.

    Args:
        outputs: outputs of this process.
        rows: their rows in the dataset.
        world: the processes.
    """
    parts = world.gather((rows, outputs.logits, outputs.label))
    place = torch.tensor([row for part, _, _ in parts for row in part])
    # A row that several processes computed is written several times.
    count = int(place.max()) + 1
    logits = outputs.logits.new_empty((count, outputs.logits.shape[1]))
    label = torch.empty_like(logits)
    logits[place] = torch.cat([part for _, part, _ in parts])
    label[place] = torch.cat([part for _, _, part in parts])
    return Outputs(logits, label)
