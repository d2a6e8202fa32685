"""How much of each kind two subsets may share before an audit fails.

Owns what ``--allow KIND=NUMBER`` and ``--allow KIND=SHARE%`` mean.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fv2es_prep.errors import SplitError
from fv2es_prep.splits.audit import KINDS, Audit


@dataclass(frozen=True)
class Limit:
    """The most that may be shared.

    Attributes:
        kind: one of `audit.KINDS`.
        most: a number of utterances, or percent of the counted subset.
        percent: which of both.
    """

    kind: str
    most: float
    percent: bool

    def __str__(self) -> str:
        return f"{self.kind}={self.most:g}{'%' if self.percent else ''}"


def read_limits(texts: Iterable[str]) -> list[Limit]:
    """Limits as they are typed: ``recording=0``, ``transcript=1%``.

    Raises:
        SplitError: there is no such kind, or no number behind it.
    """
    return [_limit(text) for text in texts]


def _limit(text: str) -> Limit:
    kind, _, most = text.partition("=")
    if kind not in KINDS:
        raise SplitError(f"there is no kind {kind!r} to allow", f"name one of {', '.join(KINDS)}")
    try:
        number = float(most.removesuffix("%"))
    except ValueError:
        number = -1
    if not number >= 0:
        raise SplitError(
            f"{text!r} says not how much", f"write {kind}=0, or {kind}=1% of the counted subset"
        )
    return Limit(kind, number, most.endswith("%"))


def above(audit: Audit, limits: Sequence[Limit]) -> list[str]:
    """A sentence for each limit that a pair of subsets goes above."""
    sentences = []
    for pair in audit.pairs:
        shared = {entry.kind: entry for entry in pair.shared}
        for limit in limits:
            entry = shared[limit.kind]
            if (100 * entry.share if limit.percent else entry.count) > limit.most:
                sentences.append(
                    f"{entry.count} of {entry.of} {pair.of} utterance(s) ({entry.share:.2%}) share "
                    f"{KINDS[entry.kind]} with {pair.within}; allowed is {limit}"
                )
    return sentences
