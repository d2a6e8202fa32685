"""The loss of classes, by default weighted binary cross-entropy of each, and of ratings."""

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
        columns: their places among the ratings of the corpus.
        scale: float32 (2, R), their means and standard deviations.
        share: share in the whole loss.
        kind: ``mse`` or ``l1``.
        bounds: the lowest and the highest value of each in train.
    """

    columns: list[int]
    scale: Tensor
    share: float
    kind: str
    bounds: tuple[tuple[float, float], ...] = ()

    def of_each(self, outputs: Tensor, ratings: Tensor) -> Tensor:
        """The loss of each utterance, float32 (B,): the mean over the ratings that it has, else 0.

        ``outputs`` are (B, R) in units of the deviation, ``ratings`` (B, all of the corpus).
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
        kind: see `TrainConfig.loss`; only ``bce`` has class weights. ``ce`` shares an utterance
            equally among its classes, and smooths it by s over all classes.
        ratings: what is added for ratings; None learns none.
        shares: the shares of the raters that stand for the labels; None keeps the labels.
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
        """The loss of each utterance, float32 (B,): the mean over its classes, and its ratings.

        ``outputs`` are those of the model, ``label`` (B, C), ``ratings`` those of `Batch`;
        ``plain`` compares with the labels as they are, neither smoothed nor soft.
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
    """The shares of the raters (N, C), and the label where nobody voted."""
    found = shares.of(ratings)
    return torch.where(torch.isfinite(found), found, label)


def soft_shares(config: TrainConfig, dataset: ShardDataset) -> tuple[RaterShares, int] | None:
    """What makes soft targets of the train subset; None where hard ones are learned.

    Sets ``dataset.target``. Shares are of the votes for its classes if one class is to be chosen:
    with ``ce``, and by a linear model where each utterance has one class.

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
            f"soft targets need the raters' votes, and the shards have no {absent[0]}",
            "train with --targets hard, or prepare the corpus with its raters' votes",
        )
    ratings = torch.from_numpy(np.stack([dataset.ratings[name] for name in names], axis=1))
    without = int(shares.of(ratings).isnan().any(dim=1).sum())
    if without == len(dataset):
        raise TrainError(
            "no utterance of the train subset has votes of raters", "train with --targets hard"
        )
    label = torch.from_numpy(dataset.label.astype(np.float32))
    dataset.target = soft_target(shares, label, ratings).numpy()
    return shares, without


def rating_loss(config: TrainConfig, dataset: ShardDataset) -> RatingLoss | None:
    """The loss of the ratings that are learned, scaled by the train subset; None without any.

    Raises:
        UsageError: the dataset has no such rating.
        TrainError: no utterance of train has it, or all have the same value.
    """
    if not config.ratings:
        return None
    names, values = dataset.index.rating_names, dataset.ratings
    scales, bounds = [], []
    for name in config.ratings:
        if name not in names:
            raise UsageError(
                f"the shards have no rating {name!r}",
                f"they have {', '.join(names) or 'none'}",
            )
        known = values[name][np.isfinite(values[name])].astype(np.float64)
        if not len(known) or not known.std():
            found = f"the same value, {known[0]:g}, everywhere" if len(known) else "no value"
            raise TrainError(
                f"the rating {name} has {found} in the train subset",
                "leave it out, or make another split",
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
    """The loss with class weights from the train subset.

    For n utterances of which p have the class, ``positives`` weights positives by (n - p) / p, as
    published; ``balanced`` weights positives by n / 2p and negatives by n / 2(n - p), so that rare
    classes count as much as others; ``none`` weights all by 1.

    Args:
        label: (N, C), 1 where the class holds.
        names: the C classes.
        weights: ``positives``, ``balanced`` or ``none``.
        smoothing: see `Loss`.
        kind: see `Loss`.
        ratings: see `rating_loss`.
        shares: see `soft_shares`; the weights follow from the labels in any case.

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
