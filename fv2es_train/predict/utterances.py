"""The utterances of one open video: each is prepared, scored and returned as a value.

`prepare_example` makes the examples, as for the shards. A missing modality gets a placeholder of
the right shape and is reported by its letter, so that the model skips it.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, UtteranceError
from fv2es_prep.example import label_row, prepare_example
from fv2es_prep.media.quality import check_sound
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.stages.tokens import tokenize
from fv2es_prep.types import Example, Faces, MelSpectrum, Utterance
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
    from fv2es_prep.config import PrepSettings
    from fv2es_prep.media.recording import OpenRecording
    from fv2es_prep.stages.registry import StageContext
    from fv2es_prep.types import Waveform
    from fv2es_train.predict.predictor import Predictor
    from fv2es_train.predict.scoring import Scores

OnFaces = Callable[[str, "Faces"], None]
UNKNOWN_TEXT = "its text is unknown"
_STAGES = {TEXT: "tokens", AUDIO: "mel", VIDEO: "faces"}
_LEFT_OUT = {
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
    on_faces: OnFaces | None = None

    def score(self, span: Span, utterance: Utterance) -> Iterator[UtterancePrediction]:
        """The predictions of the next span: one, or one for each of its faces.

        Raises:
            MediaError: neither video nor audio can be decoded.
        """
        seconds: dict[str, float] = {}
        scorer, settings = self.predictor.scorer, self.predictor.settings
        with timed(seconds, "sound"):
            waveform, problem = read_audio(utterance, self.source, settings)
        with timed(seconds, "asr"):
            text, text_from = self._text_of(span, waveform)
        missing = {AUDIO: problem} if problem and AUDIO in scorer.modalities else {}
        with timed(seconds, "prepare"):
            example = self._prepare(utterance, text, missing)
        speaker = "" if self.request.views == (utterance.view,) else utterance.view.half
        for face, each in self._each_face(example, missing):
            with timed(seconds, "model"):
                scores = scorer.score(each, missing)
            boxes: tuple[FaceBox, ...] = ()
            if VIDEO in scorer.modalities and VIDEO not in missing:
                boxes = _boxes(each.faces)
                if self.on_faces is not None:
                    self.on_faces(span.id, each.faces)
            yield UtterancePrediction(
                id=span.id,
                text=text,
                text_from=text_from,
                view=describe_view(utterance.view),
                start_s=round(each.utterance.start_s, 6),
                end_s=round(each.utterance.end_s, 6),
                speaker="; ".join(filter(None, (speaker, face))),
                faces_seen=len(boxes),
                faces_found=sum(box.found for box in boxes),
                boxes=boxes,
                **model_fields(scores, missing, self.predictor),
                seconds=dict(seconds),
            )

    def _text_of(
        self, span: Span, waveform: Waveform | None
    ) -> tuple[str | None, Literal["transcript", "asr", ""]]:
        if span.text is not None:
            return span.text, "transcript"
        if self.predictor.recogniser is None or waveform is None:
            return None, ""
        text = self.predictor.recogniser.recognise(waveform)
        return (text, "asr") if text else (None, "")

    def _prepare(self, utterance: Utterance, text: str | None, missing: dict[str, str]) -> Example:
        """The example; what it lacks is added to ``missing``."""
        wanted, stages = self.predictor.modalities, self.predictor.stages
        if self.request.faces == "all":
            stages = self.predictor.all_faces_stages
            self.predictor.all_faces_stages.detector.forget()
        if text is None:
            wanted = wanted.replace(TEXT, "")
        worded = replace(utterance, transcript=text or "")
        example = prepare(worded, self.source, stages, wanted, missing)
        if len(self.source.failed) == 2:
            raise self.source.failed[VIDEO]
        if text is None and TEXT in self.predictor.modalities:
            missing[TEXT] = UNKNOWN_TEXT
        return example

    def _each_face(
        self, example: Example, missing: dict[str, str]
    ) -> Iterator[tuple[str, Example]]:
        """The example; or one for each face, if all faces are requested and there are any."""
        found: list[Faces] = []
        if self.request.faces == "all" and VIDEO not in missing:
            times_s = example.faces.times_s
            pictures = self.predictor.all_faces_stages.detector.pictures
            found = tracks(pictures[: len(times_s)], times_s)
        if not found:
            yield "", example
        for number, faces in enumerate(found, 1):
            yield f"face {number}", example.replace(faces=faces)


def utterance_of(span: Span, request: Request) -> Utterance:
    """A span in the form that the stages of preparation take."""
    assert span.view is not None, "spans have views before the video is opened"
    name, text = request.video.stem, span.text or ""
    return Utterance(span.id, name, span.start_s, span.end_s, text, (), view=span.view)


def model_fields(scores: Scores, missing: dict[str, str], predictor: Predictor) -> dict[str, Any]:
    """The fields of a prediction that depend on the model's output."""
    used = "".join(m for m in predictor.modalities if m not in missing)
    return {
        "used": used,
        "missing": dict(missing),
        "probability": scores.probability,
        "decided": predictor.decision.names(scores.probability),
        "undecided": "" if used else "; ".join(missing.values()),
        "contribution": scores.contribution,
    }


def _boxes(faces: Faces) -> tuple[FaceBox, ...]:
    rows = zip(faces.times_s, faces.box.round(2).tolist(), faces.prob, faces.found, strict=True)
    return tuple(
        FaceBox(float(time_s), left, top, right, bottom, round(float(prob), 4), bool(found))
        for time_s, (left, top, right, bottom), prob, found in rows
    )


@contextlib.contextmanager
def timed(seconds: dict[str, float], step: str) -> Iterator[None]:
    """Note the wall time of a block."""
    began = time.perf_counter()
    yield
    seconds[step] = round(time.perf_counter() - began, 6)


def read_audio(
    utterance: Utterance, source: OpenRecording, settings: PrepSettings
) -> tuple[Waveform | None, str]:
    """The waveform of the next utterance of ``source``, or None and why it is unusable."""
    try:
        waveform = source.waveform(utterance)
        length_s = len(waveform.samples) / waveform.rate_hz
        if length_s < settings.spans.min_left * utterance.duration_s:
            return None, f"its audio has {length_s:.3f} s of its {utterance.duration_s:.3f} s"
        check_sound(waveform, settings.quality)
        mel_spectrum(waveform, settings.mel)
    except (UtteranceError, MediaError) as error:
        return None, error.sentence
    return waveform, ""


def prepare(
    utterance: Utterance,
    source: OpenRecording,
    stages: StageContext,
    wanted: str,
    missing: dict[str, str],
) -> Example:
    """Prepare the next utterance of ``source``, whose audio was checked with `read_audio`.

    What is missing, or not among the letters ``wanted``, becomes a placeholder. ``missing``
    (modality -> reason) holds an unusable audio and is updated.

    Raises:
        MediaKilledError: a decoder was killed from outside.
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    settings, made = stages.settings, {}
    if TEXT in wanted and not utterance.transcript:
        # Known to be empty, which is not the same as unknown.
        made["tokens"] = tokenize("", stages.tokenizer, settings.text)
    left_out = {m: code for m, code in _LEFT_OUT.items() if m not in wanted or m in missing}

    def note(modality: str, error: UtteranceError | MediaError) -> None:
        missing[modality] = error.sentence

    try:
        example = prepare_example(utterance, source, stages, made, left_out, note)
    except MediaKilledError:
        raise
    except UtteranceError:
        example = Example(utterance, label_row(utterance, stages.label_classes), left_out)
    absent = {m for m, stage in _STAGES.items() if stage not in example}
    return example.replace(**_placeholders(absent, settings))


def text_example(utterance: Utterance, stages: StageContext, with_text: bool) -> Example:
    """An example of the text alone, which is a placeholder, too, unless it is known.

    Raises:
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    settings = stages.settings
    made = _placeholders({VIDEO, AUDIO, TEXT}, settings)
    if with_text:
        made["tokens"] = tokenize(utterance.transcript, stages.tokenizer, settings.text)
    return Example(utterance=utterance, label=label_row(utterance, stages.label_classes), **made)


def _placeholders(left_out: set[str], settings: PrepSettings) -> dict[str, Any]:
    """Stage -> a value of the right shape, for each of the modalities."""
    side_px, mel = settings.faces.image_size_px, settings.mel
    faces = Faces(
        rgb=np.zeros((1, side_px, side_px, 3), np.uint8),
        times_s=np.zeros(1),
        found=np.zeros(1, np.bool_),
        box=np.zeros((1, 4), np.float32),
        prob=np.zeros(1, np.float32),
    )
    silence = np.full((1, mel.n_mels), np.log(mel.floor), np.float16)
    made = {
        VIDEO: ("faces", faces),
        AUDIO: ("mel", MelSpectrum(silence, mel.hop_s)),
        TEXT: ("tokens", np.array([settings.text.pad_id], np.int32)),
    }
    return dict(made[modality] for modality in left_out)
