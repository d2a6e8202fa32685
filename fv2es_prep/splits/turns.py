"""What two subsets share in time: turns beside each other, turns over each other.

Owns the two measures. Times are whole microseconds, so that sums of them are exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.shards.table import CatalogueTable
from fv2es_prep.splits.shared import Measure, Shared

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.splits.shared import Mask

# Ids number the turns if nearly all numbers go up, and at least half of them by one.
_UPWARD, _BY_ONE = 0.99, 0.5


def adjacent_turns(table: CatalogueTable) -> Measure:
    """The same speaker's previous or next turn in the same recording, in order of start.

    All turns of the dataset count, also those that are in no subset. Within a recording the turns
    whose speaker is not known count as one speaker's. Where ids number the turns, two between
    which a number is lacking are not beside each other: the turn between was not prepared.
    """
    start, end = table.spans_us
    key = table.recordings.codes.astype(np.int64) * max(len(table.speakers.values), 1)
    key += table.speakers.codes
    order = np.lexsort((end, start, key))
    same = key[order][1:] == key[order][:-1]
    same &= _nothing_between(table, order, same)

    def measure(of: Mask, within: Mask) -> Shared:
        there = within[order]
        hit = np.zeros(len(order), np.bool_)
        hit[1:] = same & there[:-1]
        hit[:-1] |= same & there[1:]
        count = int(np.count_nonzero(hit & of[order]))
        return Shared("adjacent_turn", count, int(np.count_nonzero(of)))

    return measure


def _nothing_between(
    table: CatalogueTable, order: NDArray[np.int64], same: NDArray[np.bool_]
) -> NDArray[np.bool_] | bool:
    """Where no turn is lacking between two, as far as the ids tell."""
    from fv2es_prep.splits.numbers import steps_between

    steps = steps_between(table.ids, order)
    found = steps[same]
    # Numbers that are times, or anything else, do not count turns.
    counts = len(found) > 0 and np.mean(found >= 1) >= _UPWARD and np.mean(found == 1) >= _BY_ONE
    return steps == 1 if counts else True


def overlaps(table: CatalogueTable) -> Measure:
    """Turns whose time meets that of a turn of the same recording.

    Coverage is the part of a turn's own length that the union of the others covers.
    """
    start, end = _on_one_axis(table)
    order = np.argsort(start, kind="stable")
    start, end = start[order], end[order]

    def measure(of: Mask, within: Mask) -> Shared:
        mine, theirs = of[order], within[order]
        covered, meets = _covered(start[mine], end[mine], *_union(start[theirs], end[theirs]))
        length = np.maximum(end[mine] - start[mine], 1)
        share = covered / length
        count = int(np.count_nonzero(meets))
        detail = {
            "seconds": int(covered.sum()) / 1e6,
            "share_of_seconds": round(int(covered.sum()) / max(int(length.sum()), 1), 6),
            "half_covered": int(np.count_nonzero(2 * covered >= length)),
            "mean_coverage": round(float(share.sum()) / max(len(share), 1), 6),
            "mean_coverage_of_these": round(float(share.sum()) / max(count, 1), 6),
        }
        return Shared("time_overlap", count, len(share), detail=detail)

    return measure


def _on_one_axis(table: CatalogueTable) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Start and end with the recordings one behind the other, so that none meets another."""
    start, end = table.spans_us
    codes, recordings = table.recordings.codes, len(table.recordings.values)
    if not len(codes):
        return start, end
    order = np.argsort(codes, kind="stable")
    firsts = np.searchsorted(codes[order], np.arange(recordings))
    lengths = np.maximum.reduceat(end[order], firsts) + 1
    before = (np.cumsum(lengths) - lengths)[codes]
    return start + before, end + before


def _union(
    start: NDArray[np.int64], end: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The stretches that spans in order of start cover together: their starts and ends."""
    reach = np.maximum.accumulate(end)
    opens = np.ones(len(start), np.bool_)
    opens[1:] = start[1:] > reach[:-1]
    first = np.flatnonzero(opens)
    return start[first], reach[np.append(first[1:], len(start))[: len(first)] - 1]


def _covered(
    start: NDArray[np.int64],
    end: NDArray[np.int64],
    union_start: NDArray[np.int64],
    union_end: NDArray[np.int64],
) -> tuple[NDArray[np.int64], NDArray[Any]]:
    """How much of each span the stretches cover, and whether they meet it at all."""
    if not len(union_start):
        return np.zeros(len(start), np.int64), np.zeros(len(start), np.bool_)
    total = np.concatenate([[0], np.cumsum(union_end - union_start)])
    first = np.searchsorted(union_end, start, "right")
    last = np.searchsorted(union_start, end, "left")
    meets = last > first
    # What the first and the last stretch have outside the span is taken off again.
    before = np.maximum(start - union_start[np.minimum(first, len(union_start) - 1)], 0)
    behind = np.maximum(union_end[np.maximum(last - 1, 0)] - end, 0)
    covered = total[np.maximum(last, first)] - total[first] - before - behind
    return np.where(meets, covered, 0), meets
