"""Whether the spans of a request fit into memory and time: spans may overlap as people like.

Owns the estimate. A picture that later spans want too is held until they are done, see
`fv2es_prep.media.recording`: many overlapping spans of large pictures would take any memory.
"""

from __future__ import annotations

from collections.abc import Sequence

from fv2es_train.predict.request import Request, Span, named
from fv2es_train.serve.api_errors import UNUSABLE, RefusedError
from fv2es_train.serve.settings import MIB, Limits

_BYTES = 3


def check_room(
    request: Request, size: tuple[int, int] | None, pictures_hz: float, limits: Limits
) -> None:
    """Refuse spans that are too many, too long, or want too many pictures at a time.

    Args:
        request: what is asked for.
        size: width and height of the picture; None where there is none.
        pictures_hz: how many pictures the model wants of each second.
        limits: what is admitted.

    Raises:
        RefusedError: they do not fit.
    """
    # Where speech is looked for each view has an utterance of its own at any time, at worst.
    longest = Span(0, request.rules.longest_s)
    given = request.spans or (longest,)
    if len(given) * len(request.views) > limits.spans:
        raise RefusedError(
            UNUSABLE,
            f"there are {len(given)} spans and {len(request.views)} views",
            f"at most {limits.spans} utterances of one video are scored",
        )
    spans = named(given, request.views)
    long = max(spans, key=lambda span: span.duration_s)
    if long.duration_s > limits.span_s:
        raise RefusedError(
            UNUSABLE,
            f"the span from {long.start_s:g} s to {long.end_s:g} s is longer than "
            f"{limits.span_s:g} s",
            "cut it into utterances",
        )
    width, height = size or (0, 0)
    held = _most_held_s(spans) * pictures_hz * width * height * _BYTES
    if held > limits.held_bytes:
        raise RefusedError(
            UNUSABLE,
            f"its spans and views overlap so much that pictures of {width} x {height} would take "
            f"{held / MIB:.0f} MiB, more than {limits.held_bytes / MIB:g} MiB",
            "send fewer spans or views at a time, or a smaller picture",
        )


def _most_held_s(spans: Sequence[Span]) -> float:
    """How many seconds of later spans lie before the end of the present one, at most.

    Args:
        spans: in order of their starts.
    """
    import numpy as np

    starts = np.array([span.start_s for span in spans])
    ends = np.array([span.end_s for span in spans])
    # The decoder has come as far as the furthest of those that are done.
    reached = np.maximum.accumulate(ends)
    return max(
        float(np.clip(np.minimum(ends[k + 1 :], reached[k]) - starts[k + 1 :], 0, None).sum())
        for k in range(len(spans))
    )
