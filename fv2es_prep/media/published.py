"""Which pictures the published code looks at: it counts them, where we go by time.

Owns its two rules, as pure functions, and their translation into moments. Leaves taking the
pictures at these moments to `video`; docs/differences.md compares the rules with ours.
"""

from __future__ import annotations

import math
from typing import NamedTuple

# The extraction for CMU-MOSEI: a picture each 0.5 s of the first 280 s, then counted as two a
# second.
_EXTRACT_S, _EXTRACTED_HZ, _LIMIT_S = 0.5, 2, 280


class Moment(NamedTuple):
    """A picture that is wanted.

    Attributes:
        sought_s: when it is on screen: the middle of its time there, in seconds.
        counted_s: the moment that the rule takes it for, in seconds.
    """

    sought_s: float
    counted_s: float


def numbered_moments(
    start_s: float, end_s: float, step: int, rate_hz: float, first_s: float = 0.0
) -> list[Moment]:
    """The pictures that are read of an IEMOCAP utterance.

    Written to disk are those with the numbers int(rate * start) to int(rate * end) - 1 of the
    recording, counted from 0; of these all but the last can be read, and of those each
    ``step``-th is, from the first one on. int rounds towards zero.

    Args:
        start_s: start of the span in seconds, at least 0.
        end_s: its end.
        step: how many numbers further the next one is.
        rate_hz: pictures a second; exact where they all last equally long.
        first_s: when picture 0 comes on screen.
    """
    begin, end = int(rate_hz * start_s), int(rate_hz * end_s)
    numbers = range(begin, end - 1, step)
    return [Moment(_middle(n, rate_hz, first_s), round(n / rate_hz, 6)) for n in numbers]


def thinned_moments(
    start_s: float, end_s: float, step: int, rate_hz: float, first_s: float = 0.0
) -> list[Moment]:
    """The pictures that are read of a CMU-MOSEI utterance.

    Extracted are the pictures with the numbers 0, e, 2e, ... below int(280 * rate), with
    e = round(0.5 * rate), a half to the even number. They count as two a second: of an utterance
    are those from int(2 * start) to int(2 * end) - 1, and of these each ``step``-th is read. With
    a step of 15 that is one in 7.5 s, and none where nothing lies between the two.

    Args:
        start_s: start of the span in seconds, at least 0.
        end_s: its end.
        step: how many extracted pictures further the next one is.
        rate_hz: pictures a second; exact where they all last equally long.
        first_s: when picture 0 comes on screen.
    """
    every = max(round(_EXTRACT_S * rate_hz), 1)
    extracted = math.ceil(int(rate_hz * _LIMIT_S) / every)
    begin, end = int(_EXTRACTED_HZ * start_s), int(_EXTRACTED_HZ * end_s)
    places = range(begin, min(end, extracted), step)
    return [Moment(_middle(k * every, rate_hz, first_s), k / _EXTRACTED_HZ) for k in places]


def _middle(number: int, rate_hz: float, first_s: float) -> float:
    return round(first_s + (number + 0.5) / rate_hz, 6)
