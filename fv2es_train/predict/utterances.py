"""The utterances of one open video: prepare and score each, and return a value.

`prepare_example` makes the examples, as for the shards; every available modality is used.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.errors import DropReason, MediaError, UtteranceError
from fv2es_prep.example import label_row, prepare_example
from fv2es_prep.media.quality import check_sound
from fv2es_prep.stages.registry import modalities_of
from fv2es_prep.types import Example, Faces, Utterance
from fv2es_train.data.batches import missing_letters
from fv2es_train.predict.face_tracks import tracks
from fv2es_train.predict.outputs import (
    AUDIO,
    TEXT,
    VIDEO,
    FaceBox,
    UtterancePrediction,
)
from fv2es_train.predict.request import Request, Span, describe_view

if TYPE_CHECKING:
    from torch import Tensor

    from fv2es_prep.media.recording import OpenRecording
    from fv2es_prep.stages.registry import StageContext
    from fv2es_train.predict.predictor import Predictor
    from fv2es_train.predict.scoring import Scores
    from fv2es_train.predict.texts_ahead import TextsAhead

OnFaces = Callable[[str, "Faces"], None]
UNKNOWN_TEXT = "its text is unknown"
# Modality -> code of a modality that is not looked for.
_NOT_TRIED = {
    TEXT: str(DropReason.NO_TRANSCRIPT),
    AUDIO: str(DropReason.NO_AUDIO),
    VIDEO: str(DropReason.NO_VIDEO),
}


@dataclass(frozen=True)
class OpenVideo:
    """A video that is being scored."""

    predictor: Predictor
    request: Request
    source: OpenRecording
    texts: TextsAhead
    on_faces: OnFaces | None = None

    def score(self, span: Span, utterance: Utterance) -> Iterator[UtterancePrediction]:
        """Yield the predictions of the next span: one, or one for each of its faces.

        Raises:
            MediaError: neither video nor audio can be decoded.
        """
        seconds: dict[str, float] = {}
        scorer = self.predictor.scorer
        with timed(seconds, "asr"):
            text, text_from = self._text_of(span, utterance)
        told = replace(utterance, transcript=text or "")
        made: Example | None = None
        known: dict[str, Tensor] = {}
        if text is not None and TEXT in scorer.modalities:
            with timed(seconds, "text"):
                made, known[TEXT] = self.texts.take(told)
        missing: dict[str, str] = {}
        with timed(seconds, "prepare"):
            example = self._prepare(told, text, made, missing)
        speaker = "" if self.request.views == (utterance.view,) else utterance.view.half
        for face, each in self._each_face(example):
            lacks = self._lacks(each, missing)
            with timed(seconds, "model"):
                scores = scorer.score(each, lacks, known)
            faces = each.get("faces") if VIDEO in scorer.modalities else None
            boxes = () if faces is None or VIDEO in lacks else _boxes(faces)
            if boxes and self.on_faces is not None:
                self.on_faces(span.id, each.faces)
            yield UtterancePrediction(
                id=span.id,
                text=text,
                text_from=text_from,
                view=describe_view(utterance.view),
                start_s=round(each.utterance.start_s, 6),
                end_s=round(each.utterance.end_s, 6),
                speaker="; ".join(filter(None, (speaker, face))),
                faces_seen=0 if faces is None else len(faces.found),
                faces_found=0 if faces is None else int(faces.found.sum()),
                boxes=boxes,
                **model_fields(scores, lacks, self._unfamiliar(each, lacks), self.predictor),
                seconds=dict(seconds),
            )

    def _text_of(
        self, span: Span, utterance: Utterance
    ) -> tuple[str | None, Literal["transcript", "asr", ""]]:
        if span.text is not None:
            return span.text, "transcript"
        text = ""
        if self.predictor.recogniser is not None:
            # Preparing the example will report the error of the audio.
            with contextlib.suppress(UtteranceError, MediaError):
                waveform = self.source.waveform(utterance)
                check_sound(waveform, self.predictor.settings.quality)
                text = self.predictor.recogniser.recognise(waveform)
        return (text, "asr") if text else (None, "")

    def _prepare(
        self,
        utterance: Utterance,
        text: str | None,
        of_text: Example | None,
        missing: dict[str, str],
    ) -> Example:
        """Complete the example of the text; add to ``missing`` why it lacks a modality."""
        predictor, stages = self.predictor, self.predictor.stages
        if self.request.faces == "track":
            stages = predictor.track_stages
        elif self.request.faces == "all":
            stages = predictor.all_faces_stages
            predictor.all_faces_stages.detector.forget()
        made = dict(of_text or {})
        untried = {m: _NOT_TRIED[m] for m in _NOT_TRIED if m not in predictor.modalities}
        if text is None:
            untried[TEXT] = _NOT_TRIED[TEXT]
            if TEXT in predictor.modalities:
                missing[TEXT] = UNKNOWN_TEXT

        def on_missing(letter: str, error: UtteranceError | MediaError) -> None:
            if letter in predictor.modalities:
                missing[letter] = error.sentence

        try:
            return prepare_example(utterance, self.source, stages, made, untried, on_missing)
        except UtteranceError:
            # No modality is left.
            return Example(utterance, label_row(utterance, stages.label_classes), untried)
        finally:
            failed = self.source.failed
            if len(failed) == len((AUDIO, VIDEO)):
                raise failed[VIDEO]

    def _each_face(self, example: Example) -> Iterator[tuple[str, Example]]:
        """Yield the example, or one for each face if all faces are requested and any is found."""
        found: list[Faces] = []
        stages = self.predictor.all_faces_stages
        derived = [s for s in stages.stages if s.name in example and s.needs == ("faces",)]
        if self.request.faces == "all" and "faces" in example:
            times_s = example.faces.times_s
            found = tracks(stages.detector.pictures[: len(times_s)], times_s)
        if not found:
            yield "", example
        for number, faces in enumerate(found, 1):
            again = {s.name: stages.value(s, {"faces": faces}) for s in derived}
            yield f"face {number}", example.replace(faces=faces, **again)

    def _unfamiliar(self, example: Example, lacks: Mapping[str, str]) -> dict[str, float]:
        """Letter -> score of the used modalities that are unlike the training data."""
        known = self.predictor.familiarity
        found = known.score(example) if known else {}
        used = self.predictor.scorer.model.used(lacks)
        return {m: round(found[m], 3) for m in used if found.get(m, 0) > 1}

    def _lacks(self, example: Example, missing: dict[str, str]) -> dict[str, str]:
        """Letter -> reason for each modality of the model that the example lacks."""
        scorer = self.predictor.scorer
        letters = missing_letters(example, scorer.unverified, scorer.model.config.reads)
        told = {VIDEO: DropReason.NO_FACE.meaning, **missing}
        return {m: told[m] for m in letters if m in self.predictor.modalities}


def utterance_of(span: Span, request: Request) -> Utterance:
    """Convert a span to the form that the stages of preparation read."""
    assert span.view is not None, "spans have views before the video is opened"
    name, text = request.video.stem, span.text or ""
    return Utterance(span.id, name, span.start_s, span.end_s, text, (), view=span.view)


def model_fields(
    scores: Scores, missing: Mapping[str, str], unfamiliar: dict[str, float], predictor: Predictor
) -> dict[str, Any]:
    """The fields of a prediction that depend on the output of the model."""
    used = predictor.scorer.model.used(missing)
    reasons = [missing[m] for m in predictor.modalities if m in missing]
    undecided = "" if used else "; ".join(reasons)
    if used and set(used) <= unfamiliar.keys():
        names = " and ".join(MODALITY_NAMES[m] for m in used)
        most = max(unfamiliar.values())
        undecided = f"out-of-distribution {names} ({most:.1f} times the limit)"
    return {
        "used": used,
        "missing": dict(missing),
        "probability": scores.probability,
        "decided": () if undecided else predictor.decision.names(scores.probability),
        "undecided": undecided,
        "unfamiliar": unfamiliar,
        "contribution": scores.contribution,
        "ratings": scores.ratings,
        "rating_contribution": scores.rating_contribution,
    }


def _boxes(faces: Faces) -> tuple[FaceBox, ...]:
    rows = zip(faces.times_s, faces.box.round(2).tolist(), faces.prob, faces.found, strict=True)
    return tuple(
        FaceBox(float(time_s), left, top, right, bottom, round(float(prob), 4), bool(found))
        for time_s, (left, top, right, bottom), prob, found in rows
    )


@contextlib.contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Record the wall time of a block."""
    began = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - began, 6)


def text_example(utterance: Utterance, stages: StageContext, with_text: bool) -> Example:
    """Make an example of only the text, if it is known; an empty one means that nothing is said.

    Raises:
        TokenizerError: the tokenizer cannot be loaded or differs from that of the run.
    """
    made: dict[str, Any] = {}
    for stage in stages.stages if with_text else ():
        if modalities_of(stage) == TEXT:
            inputs = {"transcript": utterance.transcript, **made}
            made[stage.name] = stages.value(stage, inputs)
    return Example(utterance, label_row(utterance, stages.label_classes), **made)
