"""Rater shares: the votes of raters (ratings ``votes_CLASS``) as shares of each class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from fv2es_prep.types import RATERS, VOTES


@dataclass(frozen=True)
class RaterShares:
    """The columns of votes among the ratings of a corpus, and their divisor.

    Attributes:
        classes: the columns of the votes for each class of the dataset.
        votes: the columns of all votes, also for other classes.
        raters: the column of the number of raters, each of whom may choose several classes; None
            if each has one vote.
        exclusive: if true, shares are of the votes for the classes of the dataset, so they sum to
            1; otherwise they are of all votes, or of the raters.
    """

    classes: list[int]
    votes: list[int]
    raters: int | None
    exclusive: bool

    def of(self, ratings: Tensor) -> Tensor:
        """Compute the shares (N, C) from ratings (N, R); NaN without votes."""
        chosen = ratings[:, self.classes]
        if self.exclusive:
            total = chosen.sum(dim=1)
        elif self.raters is not None:
            total = ratings[:, self.raters]
        else:
            total = ratings[:, self.votes].sum(dim=1)
        return torch.where(total > 0, total, torch.nan)[:, None].reciprocal() * chosen


def rater_shares(
    ratings: Sequence[str], classes: Sequence[str], exclusive: bool
) -> RaterShares | None:
    """Make `RaterShares` for these ratings of a corpus; None unless every class has votes."""
    place = {name: number for number, name in enumerate(ratings)}
    if not all(VOTES + name in place for name in classes):
        return None
    votes = [number for name, number in place.items() if name.startswith(VOTES)]
    return RaterShares([place[VOTES + c] for c in classes], votes, place.get(RATERS), exclusive)
