"""A run measured on a subset of a split.

Owns running a model over a dataset and the checks that run, shards and split belong together.
Leaves the numbers to `metrics` and reading the run to `checkpoint`. Thresholds are those stored in
the checkpoint; nothing is ever fitted here.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from fv2es_prep.errors import SplitError, TrainError, UsageError
from fv2es_prep.splits import read_split
from fv2es_train.batch import Batch, collate
from fv2es_train.checkpoint import load_checkpoint
from fv2es_train.dataset import ShardDataset
from fv2es_train.encoders.face import fused
from fv2es_train.metrics import measure
from fv2es_train.sampler import BlockShuffle

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fv2es_prep.splits import Split
    from fv2es_prep.types import Example
    from fv2es_train.checkpoint import Checkpoint
    from fv2es_train.model import FV2ES

SUBSETS = ("train", "valid", "test")
# Batches that each worker has ready.
_READ_AHEAD = 4


@dataclass(frozen=True)
class Outputs:
    """What a model says of a dataset, in the dataset's order.

    Attributes:
        logits: float32 (N, C), on the CPU.
        label: float32 (N, C), 1 where the class holds.
    """

    logits: Tensor
    label: Tensor

    @property
    def probability(self) -> NDArray[np.float64]:
        """float64 (N, C), the sigmoid of the logits."""
        return torch.sigmoid(self.logits.double()).numpy()

    @property
    def truth(self) -> NDArray[np.uint8]:
        """uint8 (N, C)."""
        return self.label.numpy().astype(np.uint8)


def evaluate(
    shards: Path | str,
    split: Path | str,
    run: Path | str,
    subset: str = "test",
    batch_size: int | None = None,
    device: str = "auto",
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

    Returns:
        JSON-ready: what `metrics.measure` returns, and ``subset``, ``run``, ``checkpoint``,
        ``epoch``, ``model``, ``modalities``, ``split_digest``, ``trained_on_this_split``,
        ``thresholds_fitted``.

    Raises:
        UsageError: the subset or the device is unknown, or there is no such run.
        SplitError: the subset is empty or names utterances that the shards do not have.
        SettingsError: the shards were prepared otherwise than the run's.
    """
    if subset not in SUBSETS:
        raise UsageError(f"there is no subset {subset!r}", f"pass one of {', '.join(SUBSETS)}")
    place = choose_device(device)
    checkpoint = load_checkpoint(run, device=place)
    manifest = read_split(Path(split))
    dataset = subset_of(Path(shards), manifest.ids(subset), subset)
    checkpoint.check(dataset.index.settings, dataset.index.label_classes)
    return measure_checkpoint(checkpoint, dataset, manifest, subset, Path(run), place, batch_size)


def measure_checkpoint(
    checkpoint: Checkpoint,
    dataset: ShardDataset,
    split: Split,
    subset: str,
    run: Path,
    device: torch.device,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Measure a checkpoint on a dataset with its stored thresholds.

    Args:
        checkpoint: the model and its thresholds; the model is left as it is.
        dataset: the utterances of the subset.
        split: the split that the subset is from.
        subset: its name.
        run: directory of the run.
        device: where to compute.
        batch_size: utterances in a batch; None takes the run's own.

    Returns:
        See `evaluate`.
    """
    model, names = checkpoint.model.config, checkpoint.model.config.label_classes
    loader = loader_of(dataset, checkpoint.model, batch_size or checkpoint.train.batch_size)
    outputs = run_model(fused(checkpoint.model), loader, device)
    thresholds = np.array([checkpoint.thresholds[name] for name in names])
    return {
        "subset": subset,
        "run": str(run),
        "checkpoint": checkpoint.which,
        "epoch": checkpoint.epoch,
        "model": model.name,
        "modalities": model.modalities,
        "split_digest": split.digest(),
        "trained_on_this_split": split.digest() == checkpoint.split_digest,
        "thresholds_fitted": checkpoint.thresholds_fitted,
        **measure(outputs.truth, outputs.probability, thresholds, names),
    }


@torch.no_grad()
def run_model(model: FV2ES, loader: DataLoader[Example], device: torch.device) -> Outputs:
    """Run a model over all batches, in eval mode.

    Args:
        model: the network; it is left in eval mode.
        loader: gives a `Batch` at a time, in a fixed order.
        device: where to compute.

    Raises:
        TrainError: a logit is not finite; the utterance is named.
    """
    model.eval()
    logits, labels = [], []
    batch: Batch
    for batch in loader:
        found = model(batch.to(device)).float().cpu()
        finite = torch.isfinite(found).all(dim=1)
        if not bool(finite.all()):
            first = batch.ids[int(torch.nonzero(~finite)[0])]
            raise TrainError(
                f"the model gives no finite logits for the utterance {first!r}",
                "the weights are spoilt: train again with a smaller --lr",
            )
        logits.append(found)
        labels.append(batch.label)
    return Outputs(torch.cat(logits), torch.cat(labels))


def loader_of(
    dataset: ShardDataset,
    model: FV2ES,
    batch_size: int,
    workers: int = 0,
    generator: torch.Generator | None = None,
    shuffle_shards: int = 0,
) -> DataLoader[Example]:
    """Batches of a dataset.

    Where the model is on a GPU, batches come in pinned memory, from which they are copied there
    while the program goes on. Workers read ahead and live as long as the loader.

    Args:
        dataset: what to read.
        model: the network that will read the batches.
        batch_size: utterances in a batch.
        workers: reading processes; 0 reads in this one.
        generator: shuffles each pass; None keeps the dataset's order.
        shuffle_shards: shuffle within so many shards at a time, see `sampler.BlockShuffle`; 0
            shuffles the whole dataset.
    """
    join = partial(
        collate,
        pad_id=dataset.index.settings.text.pad_id,
        chunk_rows=model.config.mel_rows,
    )
    blocks = None
    if generator is not None and shuffle_shards:
        blocks = BlockShuffle(dataset.shard, shuffle_shards, generator)
    return DataLoader(
        dataset,
        batch_size=batch_size,
        shuffle=generator is not None and blocks is None,
        sampler=blocks,
        generator=generator,
        num_workers=workers,
        collate_fn=join,
        pin_memory=next(model.parameters()).is_cuda,
        prefetch_factor=_READ_AHEAD if workers else None,
        persistent_workers=workers > 0,
    )


def subset_of(shards: Path, ids: tuple[str, ...], subset: str) -> ShardDataset:
    """The dataset of one subset of a split.

    Raises:
        SplitError: the subset is empty or names utterances that the shards do not have.
    """
    if not ids:
        raise SplitError(
            f"the split's subset {subset!r} is empty",
            "make another split: fv2es splits build SHARDS --recipe random --out FILE",
        )
    return ShardDataset(shards, ids)


def choose_device(name: str) -> torch.device:
    """The device that goes by a name; ``auto`` is CUDA when there is one, else the CPU.

    Raises:
        UsageError: torch does not know the name or has no such device.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"the device {name!r} cannot be used: {str(error).splitlines()[0]}",
            "pass --device cpu, or leave it out",
        ) from error
    return device
