"""Measures what two subsets share: equal values, adjacent turns and overlapping turns.

Leaves transcripts to `transcripts`. Times are integers in microseconds, so sums are exact.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fv2es_prep.shards.catalogue import Catalogue, Names

Mask = NDArray[np.bool_]

# Ids count as turn numbers if nearly all increase, and at least half of them by one.
_INCREASING, _BY_ONE = 0.99, 0.5
_MAX_DIGITS = 9


@dataclass(frozen=True)
class Shared:
    """How many utterances of one subset share something with another subset.

    Attributes:
        kind: what is shared.
        count: utterances of the first subset that share it.
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
        """Return plain JSON values."""
        values = {"count": self.count, "of": self.of, "share": round(self.share, 6)}
        return {**values, "unknown": self.unknown, **self.detail}


# Rows of the first and of the second subset, bool (N,) each.
Measure = Callable[[Mask, Mask], Shared]


def count(mask: Mask) -> int:
    """Number of rows in a mask."""
    return int(np.count_nonzero(mask))


def shared(kind: str, hits: Mask, of: Mask, known: Mask | None = None, **detail: float) -> Shared:
    """Count the hits among the rows of a subset with a known value; None if all are known."""
    mine = of if known is None else of & known
    return Shared(kind, count(hits & mine), count(of), count(of) - count(mine), detail)


def present(codes: NDArray[np.int32], values: int, rows: NDArray[Any]) -> Mask:
    """Find the values that occur among rows, given as numbers or as a mask: bool (values,)."""
    found = np.zeros(values, np.bool_)
    found[codes[rows]] = True
    return found


def sharing_values(
    kind: str, codes: NDArray[np.int32], values: int, known: Mask | None = None
) -> Measure:
    """A measure of utterances with equal codes, int32 (N,) below ``values``."""

    def measure(of: Mask, within: Mask) -> Shared:
        return shared(kind, present(codes, values, within)[codes], of, known)

    return measure


def sharing_names(kind: str, names: Names) -> Measure:
    """A measure of utterances with equal text in a column; empty text counts as unknown."""
    return sharing_values(kind, names.codes, len(names.values), names.known)


def adjacent_turns(table: Catalogue) -> Measure:
    """A measure of utterances whose speaker's previous or next turn is in the other subset.

    Turns in no subset count too; turns without a speaker count as turns of one speaker. If ids
    number the turns, two turns with a gap between their numbers are not adjacent.
    """
    start, end = table.spans_us
    key = table.recordings.codes.astype(np.int64) * max(len(table.speakers.values), 1)
    key += table.speakers.codes
    order = np.lexsort((end, start, key))
    adjacent = key[order][1:] == key[order][:-1]
    steps = _steps(table.ids, order)
    if _number_turns(steps[adjacent]):
        adjacent &= steps == 1

    def measure(of: Mask, within: Mask) -> Shared:
        there = within[order]
        hits = np.zeros(len(order), np.bool_)
        hits[1:] = adjacent & there[:-1]
        hits[:-1] |= adjacent & there[1:]
        return shared("adjacent_turn", hits, of[order])

    return measure


def _number_turns(steps: NDArray[np.int64]) -> bool:
    """Whether ids number the turns; other numbers in ids, such as times, do not."""
    return bool(
        len(steps) and np.mean(steps >= 1) >= _INCREASING and np.mean(steps == 1) >= _BY_ONE
    )


def _steps(ids: Any, order: NDArray[np.int64]) -> NDArray[np.int64]:
    """Differences of the numbers at the end of successive ids, int64 (N - 1,).

    0 if two ids differ in more than that number, or if it has more than nine digits.
    """
    import pyarrow.compute as pc

    from fv2es_prep.splits.transcripts import bytes_of

    data, offsets = bytes_of(ids)
    heads = pc.ascii_rtrim(ids, "0123456789")
    digits = np.diff(offsets) - pc.binary_length(heads).to_numpy()
    number = np.zeros(len(ids), np.int64)
    for place in range(min(digits.max(initial=0), _MAX_DIGITS)):
        rows = np.flatnonzero(digits > place)
        number[rows] += (data[offsets[rows + 1] - 1 - place] - np.int64(48)) * 10**place
    head = heads.dictionary_encode().indices.to_numpy()[order]
    numbered = ((digits > 0) & (digits <= _MAX_DIGITS))[order]
    comparable = numbered[1:] & numbered[:-1] & (head[1:] == head[:-1])
    return np.where(comparable, np.diff(number[order]), 0)


def overlaps(table: Catalogue) -> Measure:
    """A measure of turns that overlap a turn of the other subset in the same recording.

    Coverage is the fraction of a turn that the union of the other subset's turns covers.
    """
    start, end = _on_one_axis(table)
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]

    def measure(of: Mask, within: Mask) -> Shared:
        mine, theirs = of[order], within[order]
        covered = _covered(start[mine], end[mine], start[theirs], end[theirs])
        length = np.maximum(end[mine] - start[mine], 1)
        share = covered / length
        overlapping = count(covered > 0)
        detail = {
            "seconds": int(covered.sum()) / 1e6,
            "share_of_seconds": round(int(covered.sum()) / max(int(length.sum()), 1), 6),
            "half_covered": count(2 * covered >= length),
            "mean_coverage": round(float(share.sum()) / max(len(share), 1), 6),
            "mean_coverage_of_these": round(float(share.sum()) / max(overlapping, 1), 6),
        }
        return Shared("time_overlap", overlapping, len(share), detail=detail)

    return measure


def _on_one_axis(table: Catalogue) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end on one time axis, on which the recordings follow each other."""
    start, end = table.spans_us
    codes = table.recordings.codes
    lengths = np.zeros(len(table.recordings.values), np.int64)
    np.maximum.at(lengths, codes, end + 1)
    before = (np.cumsum(lengths) - lengths)[codes]
    return start + before, end + before


def _covered(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    others_start: NDArray[np.int64],
    others_end: NDArray[np.int64],
) -> NDArray[np.int64]:
    """How much of each span the union of the others covers, int64; all sorted by start."""
    if not len(others_start):
        return np.zeros(len(start), np.int64)
    reach = np.maximum.accumulate(others_end)
    opens = np.append(True, others_start[1:] > reach[:-1])
    edges = np.stack([others_start[opens], reach[np.append(opens[1:], True)]], axis=1)
    # Covered time as a function of time has slope 1 or 0, so interpolation is exact.
    total = np.repeat(np.cumsum(edges[:, 1] - edges[:, 0]), 2)
    before = [np.interp(moment, edges.ravel(), np.append(0, total[:-1])) for moment in (start, end)]
    covered: NDArray[np.int64] = (before[1] - before[0]).astype(np.int64)
    return covered
