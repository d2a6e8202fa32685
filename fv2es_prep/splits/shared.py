"""What two subsets share: the result of each measure, and measures of equal values.

Leaves turns and time to `turns`, transcripts to `transcripts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.shards.catalogue_table import Names

    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shared:
    """How many utterances of one subset share something with another subset.

    Attributes:
        kind: what is shared.
        count: utterances of the first subset that share it with at least one of the second.
        of: utterances of the first subset.
        unknown: utterances of the first subset without a value, e.g. without a speaker.
        detail: further numbers of this kind.
    """

    kind: str
    count: int
    of: int
    unknown: int = 0
    detail: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Fraction of the first subset, 0 to 1."""
        return self.count / max(self.of, 1)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        values = {"count": self.count, "of": self.of, "share": round(self.share, 6)}
        return {**values, "unknown": self.unknown, **self.detail}


# Rows of the first and of the second subset, bool (N,) each.
Measure = Callable[["Mask", "Mask"], Shared]


def count(mask: Mask) -> int:
    """Number of rows in a mask."""
    return int(np.count_nonzero(mask))


def shared(kind: str, hits: Mask, of: Mask, known: Mask | None = None, **detail: float) -> Shared:
    """Count the rows of a subset that share something.

    Args:
        kind: what is shared.
        hits: bool (N,), rows that share it; only those of the subset that are known count.
        of: bool (N,), rows of the subset.
        known: bool (N,), rows with a value; all if None.
        detail: further numbers of this kind.
    """
    mine = of if known is None else of & known
    return Shared(kind, count(hits & mine), count(of), count(of) - count(mine), detail)


def present(codes: NDArray[np.int32], values: int, rows: NDArray[Any]) -> Mask:
    """Which of the values occur among rows, given as numbers or as a mask: bool (values,)."""
    found = np.zeros(values, np.bool_)
    found[codes[rows]] = True
    return found


def sharing_values(
    kind: str, codes: NDArray[np.int32], values: int, known: Mask | None = None
) -> Measure:
    """A measure of utterances with equal values.

    Args:
        kind: its name.
        codes: int32 (N,), the number of each utterance's value.
        values: number of different values.
        known: bool (N,), where there is a value; everywhere if None.
    """

    def measure(of: Mask, within: Mask) -> Shared:
        return shared(kind, present(codes, values, within)[codes], of, known)

    return measure


def sharing_names(kind: str, names: Names) -> Measure:
    """A measure of utterances with equal text in a column; empty text counts as unknown."""
    return sharing_values(kind, names.codes, len(names.values), names.known)
