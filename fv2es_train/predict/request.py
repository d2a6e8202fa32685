"""What to predict: the configuration of `fv2es predict`, requests, spans and views.

Imports nothing heavy.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, cast, get_args

from fv2es_prep.errors import UsageError
from fv2es_prep.types import Half, View
from fv2es_train.engines.choice import Engine, Precision

FaceChoice = Literal["track", "largest", "all"]
Form = Literal["table", "json", "csv", "srt"]


@dataclass(frozen=True)
class SpanRules:
    """How detected speech is cut into utterances.

    Attributes:
        shortest_s: shorter speech is dropped, in seconds.
        longest_s: longer speech is cut where speech is least probable, in seconds.
        silence_s: shortest pause that ends an utterance, in seconds.
        pad_s: padding before and after the speech of an utterance, in seconds.
        fixed_s: length of the spans of a video without speech, in seconds.
    """

    shortest_s: float = 0.5
    longest_s: float = 15.0
    silence_s: float = 0.3
    pad_s: float = 0.1
    fixed_s: float = 5.0

    def __post_init__(self) -> None:
        if not 0 < self.shortest_s < self.longest_s or not self.fixed_s > 0:
            raise UsageError(
                f"the shortest utterance is {self.shortest_s} s and the longest is "
                f"{self.longest_s} s",
                "choose values above 0, the shortest below the longest",
            )


DEFAULT_RULES = SpanRules()


@dataclass(frozen=True)
class PredictConfig:
    """Videos to score, with which run, and what to write.

    Attributes:
        videos: Video files, or folders of them.
        run: Directory of the run.
        sound: Audio file if the audio is not in the video; for one video.
        spans: Spans of the utterances: JSON or CSV with start_s, end_s; for one video.
        transcript: Transcript: srt, vtt, plain text or a corpus's own format; for one video.
        asr: Speech recogniser: a directory, a hub name, embedded or none.
        tokenizer: Tokenizer of the shards, a directory or hub name, if it was moved.
        encoders: Encoder of a stage that the run reads, if it was moved: KIND:ALIAS=NAME_OR_DIR,
            e.g. audio:w=DIR for the stage audio-w, or faces:FILE for YuNet; repeatable.
        views: View of each speaker: HALF[:SIDE[:CHANNEL]], e.g. left:224:0; or the name of a corpus
            for the view of each span's id.
        faces: Score the speaker's face (track: seen largest and most certainly over the
            utterance), the largest face of each picture, or all faces, each on its own.
        form: What is printed.
        plot: Write the timeline as PNG; a folder for several videos.
        video: Write an annotated video as MP4; a folder for several videos.
        device: Device: auto, cpu, cuda or cuda:N.
        engine: Library that runs the encoders on a CPU: torch or openvino. auto takes OpenVINO
            where it saves time: for the sound of fv2es, after 200 s of it.
        precision: Precision of the encoders on a CPU. bfloat16 is faster and changes
            probabilities; it needs OpenVINO and a CPU with instructions for it.
        rules: how detected speech is cut.
    """

    videos: tuple[Path, ...]
    run: Path
    sound: Path | None = None
    spans: Path | None = None
    transcript: Path | None = None
    asr: str | None = None
    tokenizer: str | None = None
    encoders: tuple[str, ...] = ()
    views: tuple[str, ...] = ("full",)
    faces: FaceChoice = "track"
    form: Form = "table"
    plot: Path | None = None
    video: Path | None = None
    device: str = "auto"
    engine: Engine = "auto"
    precision: Precision = "float32"
    rules: SpanRules = DEFAULT_RULES


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
                f"the span from {self.start_s} s to {self.end_s} s is invalid",
                "let it start at 0 or later, and end after its start",
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
        sound: the audio file, if it is a separate one.
        spans: spans to score; None for detected speech, or fixed spans if there is none.
        lines: text without times, assigned to the spans in order.
        views: where each speaker is seen and heard; speech is detected in each.
        faces: ``track`` to score the speaker, see `detectors.tracks`, ``largest`` to score the
            largest face of each picture, ``all`` to score each person.
        rules: how detected speech is cut.
    """

    video: Path
    sound: Path | None = None
    spans: tuple[Span, ...] | None = None
    lines: tuple[str, ...] = ()
    views: tuple[View, ...] = (WHOLE,)
    faces: FaceChoice = "track"
    rules: SpanRules = DEFAULT_RULES

    def __post_init__(self) -> None:
        if self.faces not in get_args(FaceChoice):
            raise UsageError(
                f"faces is {self.faces!r}, expected {' or '.join(get_args(FaceChoice))}",
                "pass --faces track, --faces largest or --faces all",
            )
        if not self.views:
            raise UsageError("the request has no view", "pass --view full, or remove --view")


def parse_view(text: str) -> View:
    """Parse a view such as ``left``, ``left:224`` or ``left:224:0``.

    The parts are the half of the picture, the side in pixels of the square cut from its centre (0
    for no cut), and the audio channel (all are averaged without it).

    Raises:
        UsageError: the text is not a view.
    """
    match = _VIEW.fullmatch(text.strip())
    if match is None:
        raise UsageError(
            f"the view is {text!r}, expected left, right or full",
            "pass e.g. --view left:224:0: half, side of the square in pixels, channel",
        )
    channel = None if match[3] is None else int(match[3])
    return View(cast("Half", match[1]), int(match[2] or 0) or None, channel)


def describe_view(view: View) -> str:
    """Format a view so that `parse_view` can read it."""
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
