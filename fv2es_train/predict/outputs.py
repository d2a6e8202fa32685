"""What a prediction says: of one utterance, and of a whole video.

Owns the values and how utterances are put together into a video. Leaves how they look to `render`,
`picture` and `film`; imports no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

# Letter of a modality -> what it is called in sentences.
NAMES = {"t": "words", "v": "faces", "a": "sound"}
# What `Predictor.predict` says first where no words are known.
WITHOUT_WORDS = "no transcript and no recogniser"


@dataclass(frozen=True)
class FaceBox:
    """Where the face was at one sampled moment.

    Attributes:
        time_s: seconds from the beginning of the video.
        left: edge in pixels of the view, as ``top``, ``right`` and ``bottom``.
        top: see ``left``.
        right: see ``left``.
        bottom: see ``left``.
        prob: the detector's probability; 0 where the picture's centre stands in.
        found: whether there was a face.
    """

    time_s: float
    left: float
    top: float
    right: float
    bottom: float
    prob: float
    found: bool


@dataclass(frozen=True)
class UtterancePrediction:
    """What the model says of one utterance, or of one face in it.

    Attributes:
        id: its name.
        start_s: start in seconds, after clamping to the media.
        end_s: end in seconds.
        text: the words; None where they are not known.
        text_from: ``transcript``, ``asr`` or an empty string.
        speaker: the view or the face that was scored, empty where there is only one.
        view: the view in text form, see `request.parse_view`; boxes are in its pixels.
        faces_seen: sampled pictures.
        faces_found: sampled pictures in which a face was found.
        used: the modalities that were used, some of ``tva``.
        missing: letter of each modality of the model that was not used -> why.
        probability: class -> probability.
        decided: the classes whose probability is above the stored threshold.
        contribution: class -> letter -> the term of that modality in the fused logit; their sum is
            the logit.
        boxes: the face at each sampled moment.
        seconds: part of the work -> wall time: ``asr``, ``prepare`` and ``model``.
    """

    id: str
    start_s: float
    end_s: float
    text: str | None
    text_from: str
    speaker: str
    view: str
    faces_seen: int
    faces_found: int
    used: str
    missing: dict[str, str]
    probability: dict[str, float]
    decided: tuple[str, ...]
    contribution: dict[str, dict[str, float]]
    boxes: tuple[FaceBox, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def top(self) -> str:
        """The class of the highest probability; empty where nothing could be scored."""
        return top_of(self.probability)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, ``top`` included."""
        return {**asdict(self), "top": self.top}


@dataclass(frozen=True)
class VideoPrediction:
    """What the model says of a whole video.

    Attributes:
        video: name of the file.
        scored: how many utterances were scored.
        unscored: how many had nothing that could be scored.
        spoken_s: sum of the lengths of the scored ones, in seconds.
        probability: class -> mean over the scored utterances, weighted by their length.
        share: class -> share of ``spoken_s`` in which the class is decided.
        decided: the classes whose mean is above the stored threshold.
        thresholds: class -> the stored threshold.
        notes: what was missing and what was done instead, one sentence each.
    """

    video: str
    scored: int
    unscored: int
    spoken_s: float
    probability: dict[str, float]
    share: dict[str, float]
    decided: tuple[str, ...]
    thresholds: dict[str, float]
    notes: tuple[str, ...] = ()

    @property
    def top(self) -> str:
        """The class of the highest mean; empty where nothing was scored."""
        return top_of(self.probability)

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values, ``top`` included."""
        return {**asdict(self), "top": self.top}


def video_json(summary: VideoPrediction, found: Sequence[UtterancePrediction]) -> dict[str, Any]:
    """A video and its utterances as plain JSON values."""
    return {**summary.to_json(), "utterances": [one.to_json() for one in found]}


def top_of(probability: Mapping[str, float]) -> str:
    """The class of the highest probability; the first of equal ones, empty where there is none."""
    return max(probability, key=probability.__getitem__, default="")


def decide(probability: Mapping[str, float], thresholds: Mapping[str, float]) -> tuple[str, ...]:
    """The classes whose probability is above their threshold, as the metrics count them."""
    return tuple(name for name, value in probability.items() if value > thresholds[name])


def summarise(
    video: str,
    found: Sequence[UtterancePrediction],
    thresholds: Mapping[str, float],
    notes: Sequence[str] = (),
) -> VideoPrediction:
    """Put the utterances of a video together.

    An hour of talk counts more than a word: each utterance weighs as much as it is long. Where
    several faces of one utterance were scored each weighs so.

    Args:
        video: name of the file.
        found: what `Predictor.predict` gave.
        thresholds: of the run.
        notes: what it told.
    """
    scored = [one for one in found if one.probability]
    lengths = [one.end_s - one.start_s for one in scored]
    total = sum(lengths)

    def mean(values: Sequence[float]) -> float:
        return sum(v * s for v, s in zip(values, lengths, strict=True)) / total

    names = tuple(thresholds) if scored else ()
    probability = {name: mean([one.probability[name] for one in scored]) for name in names}
    return VideoPrediction(
        video=video,
        scored=len(scored),
        unscored=len(found) - len(scored),
        spoken_s=total,
        probability=probability,
        share={name: mean([float(name in one.decided) for one in scored]) for name in names},
        decided=decide(probability, thresholds),
        thresholds=dict(thresholds),
        notes=tuple(notes),
    )
