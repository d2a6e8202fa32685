"""Limits of an audit: ``--allow KIND=NUMBER`` and ``--allow KIND=PERCENT%``."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from fv2es_prep.errors import SplitError
from fv2es_prep.splits.audit import KINDS, Audit


@dataclass(frozen=True)
class Limit:
    """The most that one subset may share with another.

    Attributes:
        kind: one of `audit.KINDS`.
        most: utterances, or percent of the first subset.
        percent: whether ``most`` is in percent.
    """

    kind: str
    most: float
    percent: bool

    def __str__(self) -> str:
        return f"{self.kind}={self.most:g}{'%' if self.percent else ''}"


def parse_limits(texts: Iterable[str]) -> list[Limit]:
    """Parse limits such as ``recording=0`` and ``transcript=1%``.

    Raises:
        SplitError: a limit has an unknown kind, or no number.
    """
    limits = []
    for text in texts:
        kind, _, most = text.partition("=")
        if kind not in KINDS:
            raise SplitError(f"unknown kind {kind!r}", f"choose from {', '.join(KINDS)}")
        if not re.fullmatch(r"(\d+\.?\d*|\.\d+)%?", most):
            raise SplitError(f"invalid limit {text!r}", f"write {kind}=0, or {kind}=1%")
        limits.append(Limit(kind, float(most.removesuffix("%")), most.endswith("%")))
    return limits


def exceeded(audit: Audit, limits: Iterable[Limit]) -> Iterator[str]:
    """A sentence for each limit that a pair of subsets exceeds."""
    limits = list(limits)
    for pair in audit.pairs:
        shared = {found.kind: found for found in pair.shared}
        for limit in limits:
            found = shared[limit.kind]
            if (100 * found.share if limit.percent else found.count) > limit.most:
                yield (
                    f"{found.count} of {found.of} {pair.of} utterance(s) ({found.share:.2%}) share "
                    f"{KINDS[found.kind]} with {pair.within}; the limit is {limit}"
                )
