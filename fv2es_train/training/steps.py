"""What the processes of a run do together at each batch and at each validation.

Owns agreeing on a loss and putting outputs together. Leaves how processes talk to `parallel` and
the order of things to `train`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

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


def agree(world: World, loss: Tensor, epoch: int, batch: Batch, told: bool) -> tuple[float, bool]:
    """Sum a batch's loss, and stop all before a spoilt gradient spoils the weights.

    Args:
        world: the processes.
        loss: sum over this process's utterances, weighted so that the sum over all is the batch's.
        epoch: number of the epoch.
        batch: this process's part.
        told: whether this process was told to stop.

    Returns:
        The batch's summed loss, and whether any process was told to stop.

    Raises:
        TrainError: the loss is NaN or infinite; the batch's utterances are named.
    """
    value = loss.item()
    spoilt = not math.isfinite(value)
    total, bad, halt = world.total(value, spoilt, told)
    if bad:
        ids = [name for part in world.gather(batch.ids if spoilt else ()) for name in part]
        raise TrainError(
            f"the loss is {total} in epoch {epoch}, in the batch of the utterances "
            f"{', '.join(ids)}",
            "look at these utterances' faces and spectra, or train with a smaller --lr",
        )
    return total, halt > 0


def valid_part(
    dataset: ShardDataset, model: EmotionModel, world: World, config: TrainConfig
) -> tuple[list[int], DataLoader[Example]]:
    """The batches of a dataset that are this process's, in the dataset's order.

    Returns:
        The rows, one after the other, and their batches.
    """
    rows = range(len(dataset))
    size = config.batch_size
    batches = [list(rows[begin : begin + size]) for begin in rows[::size]]
    mine = [batches[number] for number in world.share(range(len(batches)))]
    loader = loader_of(dataset, model, size, config.workers, batches=mine)
    return [row for batch in mine for row in batch], loader


def together_again(outputs: Outputs, rows: list[int], world: World) -> Outputs:
    """The outputs of all processes in the dataset's order.

    Args:
        outputs: of this process.
        rows: of the dataset that they belong to.
        world: the processes.
    """
    parts = world.gather((rows, outputs.logits, outputs.label))
    place = torch.tensor([row for part, _, _ in parts for row in part])
    # A row that several processes computed is put to its place several times.
    count = int(place.max()) + 1
    logits = outputs.logits.new_empty((count, outputs.logits.shape[1]))
    label = torch.empty_like(logits)
    logits[place] = torch.cat([part for _, part, _ in parts])
    label[place] = torch.cat([part for _, _, part in parts])
    return Outputs(logits, label)


def named(metrics: dict[str, Any]) -> dict[str, float]:
    """The numbers among average metrics, by the names under which TensorBoard shows them."""
    return {
        f"valid/{name}": float(value)
        for name, value in metrics.items()
        if isinstance(value, int | float)
    }
