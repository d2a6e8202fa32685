"""Predictions of utterances and of whole videos, and their face boxes. Imports no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal

from fv2es_prep.errors import MediaError
from fv2es_prep.types import View
from fv2es_train.predict.request import parse_view

if TYPE_CHECKING:
    from fv2es_train.models.decision import Decision
    from fv2es_train.predict.rating_scales import RatingScale

TEXT, VIDEO, AUDIO = "t", "v", "a"
# Modality -> why its file failed to decode; it is not decoded again.
FailedMedia = dict[str, MediaError]
# How the first note of `Predictor.predict` begins if there is no text.
NO_TEXT = "no transcript and no recogniser"


@dataclass(frozen=True)
class FaceBox:
    """The face at a sampled moment; its edges are in pixels of the view.

    ``prob`` is the detector's probability, 0 where the centre of the picture was used instead.
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
    """The prediction for one utterance, or for one face in it.

    Attributes:
        start_s: start in seconds, clamped to the media.
        end_s: end in seconds.
        text: transcript; None if unknown.
        text_from: source of the transcript.
        speaker: the view or face that was scored; empty if there is only one.
        view: the view as text, see `request.parse_view`; boxes are in its pixels.
        faces_seen: number of sampled pictures.
        faces_found: number of sampled pictures with a detected face.
        used: letters of the modalities that were used, some of ``tva``.
        missing: letter of each modality of the model that was not used -> reason.
        probability: class -> probability; empty if no modality could be used.
        decided: classes that the decision rule of the run predicts.
        undecided: why no class can be predicted; empty otherwise.
        contribution: class -> modality letter -> its term of the logit; the terms add up to it.
        boxes: the face at each sampled moment.
        seconds: step -> wall time: ``asr``, ``text`` (the text branch; the first utterance of a
            group has the time of all), ``prepare`` and ``model`` (the other branches).
        unfamiliar: letter -> score of a used modality that is unlike the training data: its
            distance in limits, see `models.familiarity`. If all are unlike it, nothing is decided.
        ratings: rating -> its value on the scale of the corpus; empty like `probability`, or if the
            run learned none. An estimate without a calibrated probability.
        rating_contribution: rating -> modality letter -> what it adds to the mean of the training
            data; together they give the value.
        top: the most probable class, computed; empty if nothing was scored.
    """

    id: str
    start_s: float
    end_s: float
    text: str | None
    text_from: Literal["transcript", "asr", ""]
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
    undecided: str = ""
    unfamiliar: dict[str, float] = field(default_factory=dict)
    ratings: dict[str, float] = field(default_factory=dict)
    rating_contribution: dict[str, dict[str, float]] = field(default_factory=dict)
    top: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "top", _most_probable(self.probability))

    @property
    def duration_s(self) -> float:
        """Length in seconds."""
        return self.end_s - self.start_s


@dataclass(frozen=True)
class SpeakerPrediction:
    """The prediction for one speaker or face of a video; fields as in `VideoPrediction`."""

    speaker: str
    scored: int
    spoken_s: float
    probability: dict[str, float]
    share: dict[str, float]
    decided: tuple[str, ...]
    top: str
    ratings: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class VideoPrediction:
    """The prediction for a whole video.

    Attributes:
        scored: number of scored utterances.
        unscored: number of utterances without a usable modality.
        spoken_s: total length of the scored utterances in seconds; time in which several persons
            are scored counts once.
        probability: class -> mean over the scored utterances, weighted by their length.
        share: class -> share of ``spoken_s`` in which the class is decided.
        decided: classes that the run's rule decides from these means; none if no utterance is
            decided, or if there are several speakers.
        rule: see `Decision`; ``largest`` uses no thresholds.
        notes: what was missing and what was done instead, one sentence each.
        speakers: each speaker or face, if there are several; the means of the whole video combine
            them.
        ratings: rating -> mean over the scored utterances, weighted by their length.
        top: the class with the highest mean, computed; empty if nothing was scored.
    """

    video: str
    scored: int
    unscored: int
    spoken_s: float
    probability: dict[str, float]
    share: dict[str, float]
    decided: tuple[str, ...]
    thresholds: dict[str, float]
    rule: Literal["thresholds", "largest"] = "thresholds"
    notes: tuple[str, ...] = ()
    speakers: tuple[SpeakerPrediction, ...] = ()
    ratings: dict[str, float] = field(default_factory=dict)
    top: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "top", _most_probable(self.probability))


def video_json(
    summary: VideoPrediction, utterances: Sequence[UtterancePrediction]
) -> dict[str, Any]:
    """A video and its utterances as plain JSON values, without the fields of subclasses."""
    names = [one.name for one in fields(UtterancePrediction)]
    values = map(asdict, utterances)
    return {**asdict(summary), "utterances": [{n: one[n] for n in names} for one in values]}


def run_json(
    run: str, classes: Sequence[str], ratings: Sequence[RatingScale], videos: Sequence[Any]
) -> dict[str, Any]:
    """The predictions of a run for several videos, each from `video_json`, as plain JSON values."""
    scales = [asdict(scale) for scale in ratings]
    return {"run": run, "classes": list(classes), "ratings": scales, "videos": list(videos)}


def _most_probable(probability: Mapping[str, float]) -> str:
    return max(probability, key=probability.__getitem__, default="")


def summarise(
    video: str,
    utterances: Sequence[UtterancePrediction],
    decision: Decision,
    notes: Sequence[str] = (),
) -> VideoPrediction:
    """Aggregate the utterances of a video.

    Each utterance is weighted by its length, and so is each face of an utterance with several.
    """
    scored = [one for one in utterances if one.probability]
    names = sorted({one.speaker for one in scored})
    each = [[one for one in scored if one.speaker == name] for name in names]
    values = _means(scored, decision)
    if len(names) > 1:
        values |= {"spoken_s": _covered_s(scored), "decided": ()}
    return VideoPrediction(
        video=video,
        unscored=len(utterances) - len(scored),
        rule=decision.rule,
        thresholds=dict(decision.thresholds),
        notes=tuple(notes),
        speakers=tuple(
            SpeakerPrediction(name, top=_most_probable(found["probability"]), **found)
            for name, found in zip(names, (_means(own, decision) for own in each), strict=True)
            if len(names) > 1
        ),
        **values,
    )


def _means(scored: Sequence[UtterancePrediction], decision: Decision) -> dict[str, Any]:
    """The fields of a summary that are means over utterances, weighted by their length."""
    total_s = sum(one.duration_s for one in scored)

    def mean(values: Sequence[float]) -> float:
        weighted = (v * one.duration_s for v, one in zip(values, scored, strict=True))
        return sum(weighted) / total_s

    names = tuple(decision.thresholds) if scored else ()
    probability = {name: mean([one.probability[name] for one in scored]) for name in names}
    rated = scored[0].ratings if scored else ()
    return {
        "scored": len(scored),
        "spoken_s": total_s,
        "probability": probability,
        "share": {name: mean([float(name in one.decided) for one in scored]) for name in names},
        "ratings": {name: mean([one.ratings[name] for one in scored]) for name in rated},
        "decided": () if all(one.undecided for one in scored) else decision.names(probability),
    }


def _covered_s(scored: Sequence[UtterancePrediction]) -> float:
    """The length of the time that at least one utterance covers, in seconds."""
    total_s = reached_s = 0.0
    for one in sorted(scored, key=lambda one: one.start_s):
        total_s += max(one.end_s - max(one.start_s, reached_s), 0.0)
        reached_s = max(reached_s, one.end_s)
    return total_s


@dataclass(frozen=True)
class RelativeBox:
    """A face at a sampled moment, with edge, width and height in fractions of the whole picture."""

    time_s: float
    found: bool
    left: float
    top: float
    width: float
    height: float


def picture_box(
    box: FaceBox, view: View, width: int, height: int
) -> tuple[float, float, float, float]:
    """Left, top, right and bottom in pixels of the whole picture; they may lie outside of it.

    Inverts `media.view.cut_view`; ``width`` and ``height`` are those of the whole picture.
    """
    left, top = _corner(view, width, height)
    return box.left + left, box.top + top, box.right + left, box.bottom + top


def relative_boxes(one: UtterancePrediction, width: int, height: int) -> list[RelativeBox]:
    """The boxes of an utterance as fractions of the whole picture, clipped at its edges.

    ``width`` and ``height`` are pixels of the whole picture as displayed (after rotation).
    """
    found = []
    for box in one.boxes:
        left, top, right, bottom = picture_box(box, parse_view(one.view), width, height)
        left, right = (min(max(edge / width, 0.0), 1.0) for edge in (left, right))
        top, bottom = (min(max(edge / height, 0.0), 1.0) for edge in (top, bottom))
        edges = (round(value, 6) for value in (left, top, right - left, bottom - top))
        found.append(RelativeBox(box.time_s, box.found, *edges))
    return found


def _corner(view: View, width: int, height: int) -> tuple[int, int]:
    """The view's upper left pixel in the picture; negative if the view was padded."""
    middle = width // 2
    left = middle if view.half == "right" else 0
    if view.crop_px is None:
        return left, 0
    half = {"left": middle, "right": width - middle}.get(view.half, width)
    return left + _first(half, view.crop_px), _first(height, view.crop_px)


def _first(length: int, side: int) -> int:
    """The first pixel of a centred square, as `view.centre_square` cuts it."""
    return round((length - side) / 2) if length >= side else -((side - length) // 2)
