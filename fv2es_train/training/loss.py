"""The loss of classes (by default weighted binary cross-entropy of each class) and of ratings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from fv2es_prep.errors import TrainError, UsageError
from fv2es_prep.types import VOTES
from fv2es_train.data.votes import RaterShares, rater_shares

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_train.config import TrainConfig
    from fv2es_train.data.dataset import ShardDataset


@dataclass(frozen=True)
class RatingLoss:
    """The error of ratings in units of their standard deviation.

    Attributes:
        columns: positions of the R ratings among those of the corpus.
        scale: float32 (2, R), their means and standard deviations.
        share: share of this term in the whole loss.
        kind: ``mse`` or ``l1``.
        bounds: lowest and highest value of each rating in train.
    """

    columns: list[int]
    scale: Tensor
    share: float
    kind: str
    bounds: tuple[tuple[float, float], ...] = ()

    def of_each(self, outputs: Tensor, ratings: Tensor) -> Tensor:
        """The loss of each utterance, float32 (B,): the mean over its ratings; 0 without any.

        ``outputs`` are (B, R) in standard deviations; ``ratings`` are (B, all ratings of the
        corpus).
        """
        mean, deviation = self.scale.to(outputs.device)
        wanted = (ratings[:, self.columns] - mean) / deviation
        known = torch.isfinite(wanted)
        error = torch.where(known, outputs.float() - wanted.nan_to_num(), 0)
        error = error.square() if self.kind == "mse" else error.abs()
        return error.sum(dim=1) / known.sum(dim=1).clamp_min(1)


@dataclass(frozen=True)
class Loss:
    """A loss of logits (B, C) against labels of 0 and 1.

    Attributes:
        positive: float32 (C,), weight of each class where it holds.
        negative: float32 (C,), weight of each class where it does not.
        smoothing: label smoothing s: 1 becomes 1 - s/2, 0 becomes s/2.
        kind: see `TrainConfig.loss`; only ``bce`` has class weights. ``ce`` divides an utterance
            equally among its classes, and smooths by s over all classes.
        ratings: the additional loss of ratings; None learns none.
        shares: rater shares that replace the labels as targets; None keeps the labels.
    """

    positive: Tensor
    negative: Tensor
    smoothing: float = 0.0
    kind: str = "bce"
    ratings: RatingLoss | None = None
    shares: RaterShares | None = None

    def of_each(
        self, outputs: Tensor, label: Tensor, ratings: Tensor | None = None, plain: bool = False
    ) -> Tensor:
        """The loss of each utterance, float32 (B,): the mean over its classes, plus its ratings.

        ``outputs`` come from the model, ``label`` is (B, C), ``ratings`` is `Batch.ratings`;
        ``plain`` compares with the stored labels, neither smoothed nor soft.
        """
        classes = label.shape[1]
        if self.shares and ratings is not None and not plain:
            label = soft_target(self.shares, label, ratings)
        loss = self._of_classes(outputs[:, :classes], label, 0.0 if plain else self.smoothing)
        if self.ratings is None or ratings is None:
            return loss
        share = self.ratings.share
        return (1 - share) * loss + share * self.ratings.of_each(outputs[:, classes:], ratings)

    def _of_classes(self, logits: Tensor, label: Tensor, share: float) -> Tensor:
        if self.kind == "ce":
            shares = label / label.sum(1, keepdim=True).clamp_min(1)
            return cross_entropy(logits.float(), shares, reduction="none", label_smoothing=share)
        if self.kind != "bce":
            apart = logits.float() - (label * (1 - share) + share / 2)
            return (apart.square() if self.kind == "mse" else apart.abs()).mean(dim=1)
        return binary_cross_entropy_with_logits(
            logits.float(),
            label * (1 - share) + share / 2,
            weight=self.negative.to(logits.device),
            pos_weight=(self.positive / self.negative).to(logits.device),
            reduction="none",
        ).mean(dim=1)


def soft_target(shares: RaterShares, label: Tensor, ratings: Tensor) -> Tensor:
    """Soft targets (N, C): the rater shares, or the label of an utterance without votes."""
    found = shares.of(ratings)
    return torch.where(torch.isfinite(found), found, label)


def soft_shares(config: TrainConfig, dataset: ShardDataset) -> tuple[RaterShares, int] | None:
    """Make the soft targets of the train subset; None if the targets are hard.

    Sets ``dataset.target``. If the model chooses one class (``ce``, or a linear model on utterances
    of one class), the shares are of the votes for the classes of the dataset.

    Returns:
        The shares, and the number of utterances without votes.

    Raises:
        UsageError: the dataset has no votes for its classes.
        TrainError: no utterance of train has votes.
    """
    if config.targets == "hard":
        return None
    names, index = dataset.index.rating_names, dataset.index
    single = bool((dataset.label.sum(axis=1) == 1).all()) and len(index.label_classes) > 1
    exclusive = config.loss == "ce" or (config.model.name == "linear" and single)
    shares = rater_shares(names, index.label_classes, exclusive)
    if shares is None:
        absent = [VOTES + name for name in index.label_classes if VOTES + name not in names]
        raise UsageError(
            f"soft targets need rater votes, but the shards have no rating {absent[0]}",
            "pass --targets hard, or prepare the corpus with its rater votes",
        )
    ratings = torch.from_numpy(np.stack([dataset.ratings[name] for name in names], axis=1))
    without = int(shares.of(ratings).isnan().any(dim=1).sum())
    if without == len(dataset):
        raise TrainError("no utterance of the train subset has rater votes", "pass --targets hard")
    label = torch.from_numpy(dataset.label.astype(np.float32))
    dataset.target = soft_target(shares, label, ratings).numpy()
    return shares, without


def rating_loss(config: TrainConfig, dataset: ShardDataset) -> RatingLoss | None:
    """Make the loss of the learned ratings, scaled by the train subset; None without ratings.

    Raises:
        UsageError: the dataset lacks a rating.
        TrainError: a rating has no value in train, or the same value everywhere.
    """
    if not config.ratings:
        return None
    names, values = dataset.index.rating_names, dataset.ratings
    scales, bounds = [], []
    for name in config.ratings:
        if name not in names:
            raise UsageError(
                f"the shards have no rating {name!r}",
                f"choose from {', '.join(names)}" if names else "remove --ratings",
            )
        known = values[name][np.isfinite(values[name])].astype(np.float64)
        if not len(known) or not known.std():
            found = f"the same value, {known[0]:g}, everywhere" if len(known) else "no value"
            raise TrainError(
                f"the rating {name} has {found} in the train subset",
                "remove it from --ratings, or make another split",
            )
        scales.append((known.mean(), known.std()))
        bounds.append((float(known.min()), float(known.max())))
    columns = [names.index(name) for name in config.ratings]
    scale = torch.tensor(np.array(scales).T, dtype=torch.float32)
    return RatingLoss(columns, scale, config.rating_share, config.rating_loss, tuple(bounds))


def make_loss(
    label: NDArray[np.uint8],
    names: tuple[str, ...],
    weights: str = "positives",
    smoothing: float = 0.0,
    kind: str = "bce",
    ratings: RatingLoss | None = None,
    shares: RaterShares | None = None,
) -> Loss:
    """Make the loss, with class weights from the train subset.

    For n utterances of which p have the class, ``positives`` weights positives by (n - p) / p, as
    published; ``balanced`` weights positives by n / 2p and negatives by n / 2(n - p), so that a
    rare class counts as much as the others; ``none`` weights all by 1.

    Args:
        label: (N, C), 1 where the class holds.
        names: the C classes.
        weights: ``positives``, ``balanced`` or ``none``.
        smoothing: see `Loss`.
        kind: see `Loss`.
        ratings: see `rating_loss`.
        shares: see `soft_shares`; class weights always follow from the labels.

    Raises:
        TrainError: a class has no positive utterance or, with ``balanced``, no negative one.
    """
    count = len(label)
    positives = label.astype(np.int64).sum(axis=0)
    if absent := [name for name, p in zip(names, positives, strict=True) if p == 0]:
        raise TrainError(
            f"no utterance of the train subset has the class {', '.join(absent)}",
            "make a split whose train subset has every class, or prepare fewer classes: "
            "fv2es prep ... --labels",
        )
    positive, negative = np.ones(len(names)), np.ones(len(names))
    if weights == "positives":
        positive = (count - positives) / positives
    elif weights == "balanced":
        if full := [name for name, p in zip(names, positives, strict=True) if p == count]:
            raise TrainError(
                f"every utterance of the train subset has the class {', '.join(full)}",
                "pass --class-weights none, or make another split",
            )
        positive, negative = count / (2 * positives), count / (2 * (count - positives))
    return Loss(
        torch.from_numpy(positive).float(),
        torch.from_numpy(negative).float(),
        smoothing,
        kind,
        ratings,
        shares,
    )
