"""Frame rules of published code, which counts pictures instead of sampling by time.

docs/differences.md compares them with ours. Both take the span from ``start_s`` (at least 0) to
``end_s`` in seconds, and ``rate_hz``, the pictures per second, exact for a constant frame rate;
``first_s`` is the presentation time of picture 0 in seconds.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# `thinned` extracts a picture every 0.5 s of the first 280 s and counts them at 2 Hz.
_EXTRACT_S, _EXTRACTED_HZ, _LIMIT_S = 0.5, 2, 280


class Moment(NamedTuple):
    """A wanted picture.

    Attributes:
        sought_s: the middle of its display time, in seconds.
        counted_s: the time that the rule assigns to it, in seconds.
    """

    sought_s: float
    counted_s: float


def numbered_moments(
    start_s: float, end_s: float, step: int, rate_hz: float, first_s: float = 0.0
) -> list[Moment]:
    """The rule ``numbered``.

    The published code writes pictures int(rate * start) to int(rate * end) - 1 of the recording to
    disk, counted from 0; all but the last are readable, and it reads every ``step``-th of those.
    """
    begin, end = int(rate_hz * start_s), int(rate_hz * end_s)
    numbers = range(begin, end - 1, step)
    return [Moment(_middle(n, rate_hz, first_s), round(n / rate_hz, 6)) for n in numbers]


def thinned_moments(
    start_s: float, end_s: float, step: int, rate_hz: float, first_s: float = 0.0
) -> list[Moment]:
    """The rule ``thinned``.

    The published code extracts pictures 0, e, 2e, ... below int(280 * rate), with
    e = round(0.5 * rate), ties to even, and counts them at 2 Hz: an utterance has those from
    int(2 * start) to int(2 * end) - 1, and every ``step``-th of these is read. A step of 15 gives
    one picture per 7.5 s, and none for a short span that contains no extracted picture.
    """
    every = max(round(_EXTRACT_S * rate_hz), 1)
    extracted = math.ceil(int(rate_hz * _LIMIT_S) / every)
    begin, end = int(_EXTRACTED_HZ * start_s), int(_EXTRACTED_HZ * end_s)
    places = range(begin, min(end, extracted), step)
    return [Moment(_middle(k * every, rate_hz, first_s), k / _EXTRACTED_HZ) for k in places]


def _middle(number: int, rate_hz: float, first_s: float) -> float:
    return round(first_s + (number + 0.5) / rate_hz, 6)
