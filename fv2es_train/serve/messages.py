"""What a worker is told to do, and what it tells on the way; both cross to another process.

Owns the messages. Leaves doing to `worker` and keeping to `jobs`; imports no torch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fv2es_prep.errors import Fv2esError
from fv2es_train.predict.boxes import RelativeBox
from fv2es_train.predict.outputs import UtterancePrediction
from fv2es_train.predict.request import Request


@dataclass(frozen=True)
class Score:
    """Score a video.

    Attributes:
        request: the video and what is asked of it.
        name: of the video, for people; sentences about the file have it in the place of its path.
        length_s: as announced; 0 where it is not known.
        size: width and height of the picture; None where there is none.
        preview: where a film for browsers is written; None writes none.
    """

    request: Request
    name: str
    length_s: float = 0.0
    size: tuple[int, int] | None = None
    preview: Path | None = None


@dataclass(frozen=True)
class Reword:
    """Score utterances again with other words.

    Attributes:
        name: of the video.
        utterances: as they were found.
        words: id -> words; None where they are not known. Others keep theirs.
        length_s: see `Score`.
        size: see `Score`.
    """

    name: str
    utterances: tuple[Told, ...]
    words: dict[str, str | None]
    length_s: float = 0.0
    size: tuple[int, int] | None = None


Task = Score | Reword


@dataclass(frozen=True)
class Told:
    """One utterance that is done.

    Attributes:
        prediction: what the model says.
        places: its boxes as fractions of the whole picture.
        faces: pictures that the model saw, each a ``data:`` address of a JPEG.
    """

    prediction: UtterancePrediction
    places: list[RelativeBox] = field(default_factory=list)
    faces: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            **asdict(self.prediction),
            "places": [asdict(box) for box in self.places],
            "faces": list(self.faces),
        }


@dataclass(frozen=True)
class Ready:
    """The worker has loaded its model.

    Attributes:
        model: name of the model.
        classes: in the order of the model.
        thresholds: class -> the stored threshold.
        modalities: of the model.
        recogniser: what hears the words, or None.
        device: where the model computes.
        pictures_hz: how many pictures the model wants of each second.
    """

    model: str
    classes: tuple[str, ...]
    thresholds: dict[str, float]
    modalities: str
    recogniser: str | None
    device: str
    pictures_hz: float


@dataclass(frozen=True)
class Part:
    """What is being done now: ``speech``, ``utterances`` or ``preview``."""

    name: str


@dataclass(frozen=True)
class Note:
    """A sentence on what was missing, and what was done instead."""

    sentence: str


@dataclass(frozen=True)
class Previewed:
    """The film for browsers is there."""


@dataclass(frozen=True)
class Done:
    """The task is done."""


@dataclass(frozen=True)
class Failed:
    """The task, or loading, cannot be done.

    Attributes:
        error: why; its sentence names no path of the server.
        mistake: whether it is one of ours, or of the machine's, and not of the video's.
    """

    error: Fv2esError
    mistake: bool = False


@dataclass(frozen=True)
class Stopped:
    """The task was given up, as it was asked to be."""


Message = Ready | Part | Note | Told | Previewed | Done | Failed | Stopped
STOP = "stop"
