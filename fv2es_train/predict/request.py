"""A prediction request: which spans of a video, which views, which faces.

Owns the request and the text form of a view; imports no torch.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast, get_args

from fv2es_prep.errors import UsageError
from fv2es_prep.types import Half, View
from fv2es_train.predict.predict_config import DEFAULT_RULES, FaceChoice, SpanRules

_VIEW = re.compile(r"(left|right|full)(?::(\d{1,5}))?(?::(\d{1,3}))?")


WHOLE = View()


@dataclass(frozen=True)
class Span:
    """A span of a video to score.

    Attributes:
        start_s: start in seconds from the beginning of the video.
        end_s: end in seconds, after the start.
        text: transcript; None if unknown, empty if nothing is said.
        id: name; empty for a number.
        view: where its speaker is seen and heard; None for each view of the request.
    """

    start_s: float
    end_s: float
    text: str | None = None
    id: str = ""
    view: View | None = None

    def __post_init__(self) -> None:
        if not (math.isfinite(self.end_s) and 0 <= self.start_s < self.end_s):
            raise UsageError(
                f"invalid span from {self.start_s} s to {self.end_s} s",
                "a span starts at 0 or later and ends after its start",
            )

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class Request:
    """A video and how to score it.

    Attributes:
        video: a file that ffmpeg reads.
        sound: the file of the audio, if it is another one.
        spans: spans to score; None to detect speech, or to use spans of fixed length if there is
            none.
        lines: text without times, assigned to the spans in order.
        views: where each speaker is seen and heard; speech is detected in each.
        faces: ``largest`` to score the largest face as in training, ``all`` to score each face.
        rules: how detected speech is cut.
    """

    video: Path
    sound: Path | None = None
    spans: tuple[Span, ...] | None = None
    lines: tuple[str, ...] = ()
    views: tuple[View, ...] = (WHOLE,)
    faces: FaceChoice = "largest"
    rules: SpanRules = DEFAULT_RULES

    def __post_init__(self) -> None:
        if self.faces not in get_args(FaceChoice):
            raise UsageError(
                f"faces is {self.faces!r}, expected {' or '.join(get_args(FaceChoice))}",
                "pass --faces largest or --faces all",
            )
        if not self.views:
            raise UsageError("there is no view", "pass --view full, or omit --view")


def parse_view(text: str) -> View:
    """Parse a view such as ``left``, ``left:224`` or ``left:224:0``.

    The parts are the half of the picture, the side in pixels of the square cut from its centre (0
    for no cut), and the audio channel (all are averaged without it).

    Raises:
        UsageError: the text is no view.
    """
    match = _VIEW.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"the view is {text!r}, expected left, right or full",
            "pass for example --view left:224:0: half, side of the square in pixels, channel",
        )
    channel = None if match[3] is None else int(match[3])
    return View(cast("Half", match[1]), int(match[2] or 0) or None, channel)


def describe_view(view: View) -> str:
    """The text that `parse_view` reads."""
    channel = "" if view.audio_channel is None else f":{view.audio_channel}"
    square = f":{view.crop_px or 0}" if view.crop_px or channel else ""
    return f"{view.half}{square}{channel}"


def named(spans: Sequence[Span], views: tuple[View, ...]) -> list[Span]:
    """Spans in order of time, each with a unique name and a view.

    A span without a view is scored in each of the views.
    """
    each = [
        replace(span, view=view)
        for span in spans
        for view in ((span.view,) if span.view is not None else views)
    ]
    each.sort(key=lambda span: (span.start_s, span.end_s))
    taken: set[str] = set()
    found = []
    for number, span in enumerate(each, 1):
        name = span.id if span.id and span.id not in taken else f"{number:04d}"
        while name in taken:
            name += "'"
        taken.add(name)
        found.append(replace(span, id=name))
    return found
