"""Finds sessions whose class distribution differs from that of all: drift of labels or casting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from fv2es_prep.shards.catalogue import Catalogue

_DRAWS, _ENOUGH = 10_000, 8
# Largest probability by chance, over all sessions, and least share of differing labels.
_CHANCE, _APART = 0.01, 0.1


@dataclass(frozen=True)
class Drift:
    """A session that drifts.

    Attributes:
        session: its name.
        utterances: how many it has.
        distance: total variation distance of its shares of classes from those of all, 0 to 1.
        chance: probability that a random draw of as many utterances differs as much.
        most: the class whose share differs most.
        share: its share in the session.
        usual: its share in the whole dataset.
    """

    session: str
    utterances: int
    distance: float
    chance: float
    most: str
    share: float
    usual: float

    def sentence(self) -> str:
        """The finding in one sentence."""
        return (
            f"session {self.session} ({self.utterances} utterances): {self.share:.0%} are "
            f"{self.most}, {self.usual:.0%} overall; {self.distance:.0%} of its labels differ, "
            f"by chance with a probability of at most {max(self.chance, 1 / _DRAWS):.2g}"
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return dict(vars(self))


def drifting_sessions(catalogue: Catalogue) -> list[Drift]:
    """Find sessions whose shares of classes are not due to chance, largest difference first."""
    sessions, label = catalogue.sessions, catalogue.label
    if not len(label) or len(sessions.values) < 2:
        return []
    kinds, code = np.unique(label, axis=0, return_inverse=True)
    code = code.ravel()
    counts = np.bincount(code, minlength=len(kinds))
    rng, found = np.random.default_rng(0), []
    for number, name in enumerate(sessions.values):
        own = np.flatnonzero(sessions.codes == number)
        if not name or len(own) < _ENOUGH:
            continue
        usual = counts / counts.sum()
        here = np.bincount(code[own], minlength=len(kinds)) / len(own)
        distance = float(np.abs(here - usual).sum() / 2)
        if distance < _APART:
            continue
        drawn = rng.multivariate_hypergeometric(counts, len(own), _DRAWS, method="marginals")
        far = np.abs(drawn / len(own) - usual).sum(1) / 2 >= distance - 1e-9
        if (chance := float(far.mean())) * len(sessions.values) < _CHANCE:
            shares, all_shares = label[own].mean(0), label.mean(0)
            most = int(np.abs(shares - all_shares).argmax())
            values = (catalogue.label_classes[most], float(shares[most]), float(all_shares[most]))
            found.append(Drift(name, len(own), distance, chance, *values))
    return sorted(found, key=lambda drift: -drift.distance)
