"""Inference over a dataset: loaders, devices, logits, and those of each modality."""

from __future__ import annotations

import signal
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import DataLoader

from fv2es_prep.errors import SplitError, TrainError, UsageError
from fv2es_prep.utils.phases import Report
from fv2es_train.data.batches import Batch
from fv2es_train.models.families import collate_of

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    from fv2es_prep.types import Example
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.models.emotion_model import EmotionModel
    from fv2es_train.models.families import ModelConfig

# Batches that each worker prefetches.
_READ_AHEAD = 4


@dataclass(frozen=True)
class Outputs:
    """Outputs of a model for a dataset, with the truth; float32 on the CPU, in dataset order.

    Attributes:
        raw: (N, C + R), outputs after fusion: logits, then ratings, see `ModelConfig`.
        label: (N, C), 1 where the class holds.
        rated: (N, R of the corpus), see `Batch.ratings`.
        missing: letters of the modalities that each utterance lacks, see `Batch`.
        by_modality: letter -> logits (N, C) before late fusion, see `EmotionModel.modality_logits`.
    """

    raw: Tensor
    label: Tensor
    rated: Tensor
    missing: tuple[str, ...] = ()
    by_modality: Mapping[str, Tensor] = field(default_factory=dict)

    @property
    def logits(self) -> Tensor:
        """(N, C)."""
        return self.raw[:, : self.label.shape[1]]

    def ratings(self, config: ModelConfig) -> dict[str, NDArray[np.float32]]:
        """Name -> float32 (N,), the predicted ratings, in units of the corpus."""
        found = self.raw[:, self.label.shape[1] :].numpy()
        pairs = zip(config.ratings, config.rating_scale, found.T, strict=True)
        return {name: values * scale + mean for name, (mean, scale), values in pairs}

    @property
    def probability(self) -> NDArray[np.float64]:
        """float64 (N, C), the sigmoid of the logits."""
        return torch.sigmoid(self.logits.double()).numpy()

    @property
    def truth(self) -> NDArray[np.uint8]:
        """uint8 (N, C)."""
        return self.label.numpy().astype(np.uint8)


@torch.no_grad()
def run_model(
    model: EmotionModel,
    loader: DataLoader[Example],
    device: torch.device,
    report: Report = lambda _: None,
) -> Outputs:
    """Run a model over all batches, in a fixed order; leaves the model in eval mode.

    ``report`` is called with the number of utterances of each batch.

    Raises:
        TrainError: a logit is not finite; the message names the utterance.
    """
    model.eval()
    outputs, labels, rated = [], [], []
    missing: list[str] = []
    parts: dict[str, list[Tensor]] = {}
    batch: Batch
    for batch in loader:
        there = batch.to(device)
        terms = model.modality_logits(there)
        found = (model.fuse(terms, batch.missing) if terms else model(there)).float().cpu()
        finite = torch.isfinite(found).all(dim=1)
        if not bool(finite.all()):
            first = batch.ids[int(torch.nonzero(~finite)[0])]
            raise TrainError(
                f"the logits of the utterance {first!r} are not finite",
                "the training diverged; train again with a smaller --lr",
            )
        outputs.append(found)
        labels.append(batch.label)
        rated.append(batch.ratings)
        missing += batch.missing
        report(len(batch.ids))
        for letter, term in terms.items():
            classes = batch.label.shape[1]
            parts.setdefault(letter, []).append(term[:, :classes].float().cpu())
    by_modality = {letter: torch.cat(part) for letter, part in parts.items()}
    every = torch.cat(outputs), torch.cat(labels), torch.cat(rated)
    return Outputs(*every, tuple(missing), by_modality)


def terms_of(model: EmotionModel, outputs: Outputs) -> dict[str, NDArray[np.float32]]:
    """Compute the term of each modality in the fused logits: its logits times its fusion weight.

    Returns:
        Modality -> float32 (N, C), 0 if it is missing; the terms sum to the logits up to rounding.
    """
    factors = model.term_factors(outputs.missing).T[:, :, None]
    weights = model.fusion_weights()
    return {
        m: (logits * factor * weights[m]).numpy()
        for (m, logits), factor in zip(outputs.by_modality.items(), factors, strict=True)
    }


def loader_of(
    dataset: ShardDataset,
    model: EmotionModel,
    batch_size: int,
    workers: int = 0,
    generator: torch.Generator | None = None,
    batches: Iterable[list[int]] | None = None,
    unverified: str = "keep",
) -> DataLoader[Example]:
    """Make a DataLoader of a dataset for a model.

    On a GPU, batches are pinned for asynchronous copies. Workers prefetch and live as long as the
    loader; with 0 workers this process reads. A generator shuffles each epoch; ``batches`` gives
    the rows of each batch instead of ``batch_size`` and shuffling. ``unverified``: see
    `TrainConfig.unverified_faces`.
    """
    join = collate_of(model.config, dataset.index.settings.text.pad_id, unverified)
    order: dict[str, Any] = {"batch_size": batch_size, "shuffle": generator is not None}
    if batches is not None:
        order = {"batch_sampler": batches}
    return DataLoader(
        dataset,
        **order,
        # A separate generator, because creating an iterator draws a number from it.
        generator=generator or torch.Generator(),
        num_workers=workers,
        worker_init_fn=_ignore_signals,
        collate_fn=join,
        pin_memory=next(model.parameters()).is_cuda,
        prefetch_factor=_READ_AHEAD if workers else None,
        persistent_workers=workers > 0,
    )


def _ignore_signals(_: int) -> None:
    """Ignore signals in a worker: clusters signal all processes, but training still needs it."""
    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)


def subset_of(dataset: ShardDataset, ids: tuple[str, ...], subset: str) -> ShardDataset:
    """Select a subset of a split from a dataset.

    Raises:
        SplitError: the subset is empty or names utterances that are not in the shards.
    """
    if not ids:
        raise SplitError(
            f"the subset {subset!r} of the split is empty",
            "build another split: fv2es splits build SHARDS --recipe random --out FILE",
        )
    return dataset.subset(ids)


def choose_device(name: str) -> torch.device:
    """Choose a device by name; ``auto`` is CUDA if available, else the CPU.

    Raises:
        UsageError: torch does not know the device or cannot use it.
    """
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise UsageError(
            f"the device {name!r} is not available: {str(error).splitlines()[0]}",
            "pass --device cpu or remove --device",
        ) from error
    return device
