"""Runs the checks over the shards, which are read once."""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.suspects import rules
from fv2es_prep.shards.suspects.duplicates import duplicates
from fv2es_prep.shards.suspects.identity import other_faces
from fv2es_prep.shards.suspects.labels import doubtful_labels
from fv2es_prep.shards.suspects.suspect import KINDS, Suspect
from fv2es_prep.shards.suspects.traits import Traits, read_traits
from fv2es_prep.utils.near import meant

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Check = Callable[[Path, Traits], Iterator[Suspect]]


def _alone(rule: Callable[[Traits], Iterator[Suspect]]) -> Check:
    return lambda _, traits: rule(traits)


CHECKS: dict[str, Check] = {
    "duplicate": duplicates,
    "outlier-sound": _alone(rules.outlier_sound),
    "outlier-faces": _alone(rules.outlier_faces),
    "outlier-words": _alone(rules.outlier_words),
    "clipped": _alone(rules.clipped),
    "silent": _alone(rules.silent),
    "rate": _alone(rules.rate),
    "pictures": _alone(rules.pictures),
    "label": _alone(doubtful_labels),
    "face": _alone(other_faces),
    "cut": _alone(rules.cut),
}
"""Kind -> the function that finds it."""


def find_suspects(
    directory: Path,
    kinds: Collection[str] = tuple(CHECKS),
    report: Callable[[int], None] = lambda _: None,
    jobs: int = 1,
    predicted: NDArray[np.float64] | None = None,
    traits: Traits | None = None,
) -> list[Suspect]:
    """Find utterances that look wrong, by kind, the worst first.

    Args:
        directory: the dataset.
        kinds: which of `CHECKS` to run.
        report: receives the number of shards read since its last call.
        jobs: number of processes that read them.
        predicted: (N, C), see `doubtful_labels`.
        traits: traits read before; None reads the shards.

    Raises:
        UsageError: the dataset or a kind does not exist.
        ShardError: a shard is missing or damaged.
    """
    refuse_unknown(kinds)
    checks = CHECKS | {"label": _alone(functools.partial(doubtful_labels, predicted=predicted))}
    chosen = [check for kind, check in checks.items() if kind in kinds]
    if not chosen:
        return []
    if traits is None:
        traits = read_traits(directory, read_catalogue(directory), report, jobs)
    return in_order_of_kinds(suspect for check in chosen for suspect in check(directory, traits))


def refuse_unknown(kinds: Collection[str]) -> None:
    """Raise UsageError if a kind is unknown."""
    if unknown := sorted({*kinds} - {*KINDS}):
        raise UsageError(f"unknown kind {unknown[0]!r}", meant(unknown[0], KINDS))


def in_order_of_kinds(suspects: Iterable[Suspect]) -> list[Suspect]:
    """Sort suspicions by kind, in the order of `KINDS`, the worst of each first."""
    order = {kind: place for place, kind in enumerate(KINDS)}
    return sorted(suspects, key=lambda s: (order[s.kind], -s.score, s.utterance))
