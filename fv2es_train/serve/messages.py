"""Tasks for a worker process and its replies; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from fv2es_prep.errors import Fv2esError
from fv2es_train.models.decision import Decision
from fv2es_train.predict.outputs import RelativeBox, UtterancePrediction
from fv2es_train.predict.rating_scales import RatingScale
from fv2es_train.predict.request import Request

Part = Literal["", "speech", "utterances", "preview"]
EndState = Literal["done", "failed", "stopped"]
# Sent to a worker to stop its task.
STOP = "stop"


@dataclass(frozen=True)
class UtteranceResult(UtterancePrediction):
    """A prediction with boxes as fractions of the whole picture, and faces as ``data:`` JPEGs."""

    places: tuple[RelativeBox, ...] = ()
    faces: tuple[str, ...] = ()


@dataclass(frozen=True)
class VideoFile:
    """An uploaded video.

    Attributes:
        name: its name, which messages use instead of its path.
        length_s: length in its header, in seconds; 0 if the header has none.
        size: width and height of the picture in pixels; None for audio only.
    """

    name: str
    length_s: float = 0.0
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class ScoreTask:
    """Score a video, and write a preview if a file for it is given."""

    video: VideoFile
    request: Request
    preview: Path | None = None


@dataclass(frozen=True)
class RewordTask:
    """Score utterances again; ``text`` is id -> text, None if unknown; others keep their text."""

    video: VideoFile
    utterances: tuple[UtteranceResult, ...]
    text: dict[str, str | None]


Task = ScoreTask | RewordTask


@dataclass(frozen=True)
class LoadedModel:
    """First reply of a worker: its model is loaded.

    Attributes:
        classes: classes in the order of the outputs.
        decision: decision of the run.
        modalities: letters of the model's modalities.
        ratings: the scales of the ratings that it predicts.
        pictures_hz: sampled pictures per second.
    """

    model: str
    classes: tuple[str, ...]
    decision: Decision
    modalities: str
    recogniser: str | None
    device: str
    pictures_hz: float
    ratings: tuple[RatingScale, ...] = ()


@dataclass(frozen=True)
class Update:
    """A reply about a running task: its progress.

    Attributes:
        part: the part that starts.
        note: a sentence on what is missing.
        end: how the task ended; it is the last update.
        error: why the task or loading the model failed; contains no path of the server.
    """

    part: Part = ""
    note: str = ""
    utterance: UtteranceResult | None = None
    previewed: bool = False
    end: EndState | None = None
    error: Fv2esError | None = None


def failure(error: Fv2esError) -> Update:
    """Make the last update of a failed task."""
    return Update(end="failed", error=error)
