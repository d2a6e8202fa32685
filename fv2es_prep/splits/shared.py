"""What two subsets share, by the columns of the catalogue: speaker, session, recording, content.

Owns the value that every measure of sharing gives, and those measures that need no more than equal
values. Leaves time to `turns` and transcripts to `transcripts`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.shards.table import Names

    Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Shared:
    """How many utterances of one subset share something with those of another.

    Attributes:
        kind: what is shared.
        count: utterances of the first subset that share it with at least one of the second.
        of: utterances of the first subset.
        unknown: those of them of which it is not known, e.g. without a speaker.
        detail: further numbers of this kind.
    """

    kind: str
    count: int
    of: int
    unknown: int = 0
    detail: dict[str, float] = field(default_factory=dict)

    @property
    def share(self) -> float:
        """Part of the first subset, 0 to 1."""
        return self.count / max(self.of, 1)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        told = {"count": self.count, "of": self.of, "share": round(self.share, 6)}
        return {**told, "unknown": self.unknown, **self.detail}


# Rows of the first subset, rows of the second: bool (N,) each.
Measure = Callable[["Mask", "Mask"], Shared]


def sharing_values(
    kind: str, codes: NDArray[np.int32], values: int, known: Mask | None = None
) -> Measure:
    """The measure of utterances that have equal values.

    Args:
        kind: its name.
        codes: int (N,), equal where the values are.
        values: how many values there are; codes are below it.
        known: bool (N,), where there is a value; everywhere if None.
    """

    def measure(of: Mask, within: Mask) -> Shared:
        there = np.zeros(values, np.bool_)
        there[codes[within]] = True
        hit, unknown = there[codes] & of, 0
        if known is not None:
            hit &= known
            unknown = int(np.count_nonzero(of & ~known))
        return Shared(kind, int(np.count_nonzero(hit)), int(np.count_nonzero(of)), unknown)

    return measure


def sharing_names(kind: str, names: Names) -> Measure:
    """The same of a text column; an empty text is not known, and shared with none."""
    return sharing_values(kind, names.codes, len(names.values), names.known)
