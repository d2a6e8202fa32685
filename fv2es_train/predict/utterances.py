"""The utterances of one open video: each made ready, scored, and told of as a value.

Owns the work on one span. Leaves which spans there are to `finding`, making parts ready to
`parts`, the numbers to `scoring`, and what is loaded and in what order it goes to `predictor`.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from fv2es_prep.types import Utterance
from fv2es_train.predict.face_tracks import RecordingStages, tracks
from fv2es_train.predict.modalities import Missing, heard, prepare, words_only
from fv2es_train.predict.outputs import FaceBox, UtterancePrediction, decide
from fv2es_train.predict.request import Request, Span, describe_view

if TYPE_CHECKING:
    from fv2es_prep.example import Stages
    from fv2es_prep.media.recording import OpenRecording
    from fv2es_prep.types import Example, Faces, Waveform
    from fv2es_train.predict.recognisers import Recogniser
    from fv2es_train.predict.scoring import Scorer, Scores

See = Callable[[str, "Faces"], None]
_NO_WORDS = "its words are not known"


@dataclass(frozen=True)
class Loaded:
    """What it takes to score video, loaded for any number of videos.

    Attributes:
        stages: of preparation, for the largest face.
        scorer: the model.
        words: hears words, or None.
        thresholds: class -> the stored threshold.
        every: the same stages, which remember all faces.
    """

    stages: Stages
    scorer: Scorer
    words: Recogniser | None
    thresholds: dict[str, float]
    every: RecordingStages


@dataclass(frozen=True)
class OpenVideo:
    """One video while it is scored.

    Attributes:
        request: what was asked.
        source: the video, held open.
        lost: what is found to be missing is added.
        loaded: what scores it.
        see: see `Predictor.predict`.
    """

    request: Request
    source: OpenRecording
    lost: Missing
    loaded: Loaded
    see: See | None = None

    def score(self, span: Span, utterance: Utterance) -> Iterator[UtterancePrediction]:
        """The predictions of one span: one, or one for each of its faces.

        Args:
            span: the next one.
            utterance: the same, as the video was opened for it.

        Raises:
            MediaError: neither picture nor sound can be decoded.
        """
        seconds: dict[str, float] = {}
        with _timed(seconds, "sound"):
            waveform, silent = heard(utterance, self.source, self.loaded.stages.settings, self.lost)
        with _timed(seconds, "asr"):
            text, text_from = self._text_of(span, waveform)
        with _timed(seconds, "prepare"):
            example, missing = self._prepared(utterance, silent, text)
        speaker = _speaker_of(span, self.request)
        for face, each in self._each_face(example, missing):
            with _timed(seconds, "model"):
                scores = self.loaded.scorer.score(each, missing)
            shown = "v" in self.loaded.scorer.modalities and "v" not in missing
            if shown and self.see is not None:
                self.see(span.id, each.faces)
            yield UtterancePrediction(
                id=span.id,
                start_s=round(each.utterance.start_s, 6),
                end_s=round(each.utterance.end_s, 6),
                text=text,
                text_from=text_from,
                speaker="; ".join(filter(None, (speaker, face))),
                view=describe_view(utterance.view),
                **_shown(_boxes(each.faces) if shown else ()),
                **_said(scores, missing, self.loaded),
                seconds=dict(seconds),
            )

    def _text_of(self, span: Span, waveform: Waveform | None) -> tuple[str | None, str]:
        words = self.loaded.words
        if span.text is not None:
            return span.text, "transcript"
        if words is None or waveform is None:
            return None, ""
        text = words.recognise(waveform)
        return (text, "asr") if text else (None, "")

    def _prepared(
        self, utterance: Utterance, silent: str, text: str | None
    ) -> tuple[Example, dict[str, str]]:
        """The example, and what of it is missing."""
        modalities = self.loaded.scorer.modalities
        worded = text is not None and "t" in modalities
        said, stages = replace(utterance, transcript=text or ""), self.loaded.stages
        if self.request.faces == "all":
            stages = self.loaded.every
            self.loaded.every.detector.forget()
        ready = prepare(said, self.source, stages, modalities, silent, self.lost, worded)
        if len(self.lost.errors) == 2:
            raise self.lost.errors["v"]
        return ready.example, _with_words(ready.missing, modalities, text)

    def _each_face(
        self, example: Example, missing: dict[str, str]
    ) -> Iterator[tuple[str, Example]]:
        """The example; or one for each face, where all are asked for and there are any."""
        found: list[Faces] = []
        if self.request.faces == "all" and "v" not in missing:
            times_s = example.faces.times_s
            found = tracks(self.loaded.every.detector.pictures[: len(times_s)], times_s)
        if not found:
            yield "", example
        for number, faces in enumerate(found, 1):
            yield f"face {number}", replace(example, faces=faces)


def utterance_of(span: Span, request: Request) -> Utterance:
    """A span as the stages of preparation take it."""
    assert span.view is not None, "spans are named before they are opened"
    name, text = request.video.stem, span.text or ""
    return Utterance(span.id, name, span.start_s, span.end_s, text, (), view=span.view)


def reworded(one: UtterancePrediction, text: str | None, loaded: Loaded) -> UtterancePrediction:
    """See `Predictor.reword`."""
    worded = text is not None
    one = replace(one, text=text, text_from="transcript" if worded else "")
    if "t" not in loaded.scorer.modalities:
        return one
    seconds: dict[str, float] = {}
    with _timed(seconds, "model"):
        utterance = Utterance(one.id, "", one.start_s, one.end_s, text or "", ())
        example = words_only(utterance, loaded.stages, worded)
        scores = loaded.scorer.reword(one.contribution, example, worded)
    missing = {m: why for m, why in one.missing.items() if m != "t"}
    missing = _with_words(missing, loaded.scorer.modalities, text)
    return replace(one, **_said(scores, missing, loaded), seconds=seconds)


def _with_words(missing: dict[str, str], modalities: str, text: str | None) -> dict[str, str]:
    """What is missing, and the words where they are."""
    return {**missing, "t": _NO_WORDS} if "t" in modalities and text is None else missing


def _speaker_of(span: Span, request: Request) -> str:
    """Which of several views a span is of; empty where there is only one."""
    assert span.view is not None, "spans are named before they are opened"
    shared = span.view == request.views[0] and len(request.views) == 1
    return "" if shared else span.view.half


def _said(scores: Scores, missing: dict[str, str], loaded: Loaded) -> dict[str, Any]:
    """The fields of a prediction that are the model's."""
    return {
        "used": "".join(m for m in loaded.scorer.modalities if m not in missing),
        "missing": dict(missing),
        "probability": scores.probability,
        "decided": decide(scores.probability, loaded.thresholds),
        "contribution": scores.contribution,
    }


def _shown(boxes: tuple[FaceBox, ...]) -> dict[str, Any]:
    """The fields of a prediction that are the faces'."""
    found = sum(box.found for box in boxes)
    return {"faces_seen": len(boxes), "faces_found": found, "boxes": boxes}


def _boxes(faces: Faces) -> tuple[FaceBox, ...]:
    rows = zip(faces.times_s, faces.box.round(2).tolist(), faces.prob, faces.found, strict=True)
    return tuple(
        FaceBox(float(at), left, top, right, bottom, round(float(prob), 4), bool(found))
        for at, (left, top, right, bottom), prob, found in rows
    )


@contextlib.contextmanager
def _timed(seconds: dict[str, float], part: str) -> Iterator[None]:
    """Note the wall time of a block."""
    began = time.perf_counter()
    yield
    seconds[part] = round(time.perf_counter() - began, 6)
