"""Tasks for a worker process and its replies; imports no torch."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import Literal, Self

from fv2es_prep.errors import Fv2esError
from fv2es_train.predict.boxes import RelativeBox
from fv2es_train.predict.outputs import UtterancePrediction
from fv2es_train.predict.request import Request

Part = Literal["", "speech", "utterances", "preview"]
EndState = Literal["done", "failed", "stopped"]
# Sent to a worker to stop its task.
STOP = "stop"


@dataclass(frozen=True)
class UtteranceResult(UtterancePrediction):
    """A prediction with what the page shows of the video.

    Attributes:
        places: its boxes as fractions of the whole picture.
        faces: pictures that the model saw, each a JPEG as a ``data:`` address.
    """

    places: tuple[RelativeBox, ...] = ()
    faces: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, one: UtterancePrediction, places: tuple[RelativeBox, ...], faces: tuple[str, ...]
    ) -> Self:
        """A prediction with these places and faces."""
        values = {f.name: getattr(one, f.name) for f in fields(one)}
        return cls(**values, places=places, faces=faces)


@dataclass(frozen=True)
class VideoFile:
    """An uploaded video.

    Attributes:
        name: its name, used in messages instead of its path.
        length_s: length in its header, in seconds; 0 if there is none.
        size: width and height of the picture in pixels; None for audio alone.
    """

    name: str
    length_s: float = 0.0
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class ScoreTask:
    """Score a video.

    Attributes:
        video: the video.
        request: its request.
        preview: file to write a preview to; None for no preview.
    """

    video: VideoFile
    request: Request
    preview: Path | None = None


@dataclass(frozen=True)
class RewordTask:
    """Score utterances again with other text.

    Attributes:
        video: the video.
        utterances: its predictions.
        text: id -> text, None if unknown; other utterances keep theirs.
    """

    video: VideoFile
    utterances: tuple[UtteranceResult, ...]
    text: dict[str, str | None]


Task = ScoreTask | RewordTask


@dataclass(frozen=True)
class LoadedModel:
    """First reply of a worker: its model is loaded.

    Attributes:
        model: name of the model.
        classes: in the order of the model's outputs.
        thresholds: class -> threshold of the run.
        modalities: letters of the model's modalities.
        recogniser: name of the speech recogniser, or None.
        device: device of the model.
        pictures_hz: sampled pictures a second.
    """

    model: str
    classes: tuple[str, ...]
    thresholds: dict[str, float]
    modalities: str
    recogniser: str | None
    device: str
    pictures_hz: float


@dataclass(frozen=True)
class Update:
    """A reply on a running task: what is new.

    Attributes:
        part: the part that begins: ``speech``, ``utterances`` or ``preview``.
        note: a sentence on what is missing.
        utterance: an utterance that is scored.
        previewed: whether the preview is written.
        end: how the task ended; it is the last update.
        error: why the task, or loading the model, failed; names no path of the server.
    """

    part: Part = ""
    note: str = ""
    utterance: UtteranceResult | None = None
    previewed: bool = False
    end: EndState | None = None
    error: Fv2esError | None = None


def failure(error: Fv2esError) -> Update:
    """The last update of a task that failed."""
    return Update(end="failed", error=error)
