"""A run made ready to predict: a request goes in, utterances come out as they are done.

Owns the order of the work on one video. Leaves spans to `finding`, words to `words`, making parts
ready to `parts`, the model to `scoring`, and looks to others. The way of an
utterance is that of the shards, and the settings are those of the checkpoint.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fv2es_prep.errors import TokenizerError, TrainError
from fv2es_prep.example import Stages
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.media.text import tokenize
from fv2es_prep.types import Recording, Utterance
from fv2es_train.checkpoint import Checkpoint, load_checkpoint
from fv2es_train.passes import choose_device
from fv2es_train.predict.finding import find_spans
from fv2es_train.predict.parts import Missing, Prepared, heard, prepare
from fv2es_train.predict.request import Request, Span, describe_view
from fv2es_train.predict.result import FaceBox, UtterancePrediction, decide
from fv2es_train.predict.scoring import Scorer, Scores
from fv2es_train.predict.tracks import RecordingDetector, tracks
from fv2es_train.predict.words import recogniser

if TYPE_CHECKING:
    from fv2es_prep.types import Example, Faces, Waveform
    from fv2es_train.predict.words import Recogniser

Say = Callable[[str], None]
_NO_WORDS = "its words are not known"


class Predictor:
    """A trained run with all that it takes to score new video.

    It may be used for any number of videos, one after the other; not by two threads at once.

    Args:
        checkpoint: the run's; its model is fused into a copy.
        tokenizer: directory or name of the tokenizer; None takes the one that the settings name.
        words: hears the words that no transcript gives; None hears none.
        fuse: whether the RepVGG blocks become single convolutions.

    Attributes:
        classes: in the order of the model.
        thresholds: class -> the stored threshold.
        modalities: of the model, some of ``tva``.
        words: what hears the words, or None.
        scorer: the model.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: str | None = None,
        words: Recogniser | None = None,
        fuse: bool = True,
    ) -> None:
        model, settings = checkpoint.model, checkpoint.settings
        self.settings = settings
        self.thresholds = {name: checkpoint.thresholds[name] for name in model.config.label_classes}
        self.classes, self.modalities = model.config.label_classes, model.modalities
        self.words = words if "t" in self.modalities else None
        self.scorer = Scorer(checkpoint, fuse)
        self._stages = Stages(settings, tokenizer or settings.text.tokenizer, self.classes)
        self._every = Stages(settings, self._stages.tokenizer, self.classes)

    @classmethod
    def load(
        cls,
        run: Path,
        device: str = "auto",
        tokenizer: str | None = None,
        asr: str | None = None,
        which: str = "best",
    ) -> Self:
        """Read a run.

        Args:
            run: directory of the run.
            device: where the model computes: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            tokenizer: see `Predictor`.
            asr: see `words.recogniser`.
            which: ``best`` or ``last``.

        Raises:
            UsageError: there is no such run or device.
            TrainError: the checkpoint is damaged.
            WorkError: the recogniser cannot be loaded.
        """
        checkpoint = load_checkpoint(run, which, choose_device(device))
        return cls(checkpoint, tokenizer, recogniser(asr) if asr or _hears(checkpoint) else None)

    def check_tokenizer(self) -> None:
        """See that the tokenizer is the run's, before any video is decoded for nothing.

        Raises:
            TokenizerError: it cannot be loaded, or has another digest.
        """
        if "t" not in self.modalities:
            return
        try:
            tokenize("", self._stages.tokenizer, self.settings.text)
        except TokenizerError as error:
            raise TokenizerError(
                f"the run needs its tokenizer {self.settings.text.tokenizer!r} "
                f"({self.settings.text.vocabulary_sha256[:12]}): {error.sentence}",
                "pass the one that made its shards: --tokenizer DIR",
            ) from error

    def predict(self, request: Request, say: Say = lambda _: None) -> Iterator[UtterancePrediction]:
        """Score a video, utterance by utterance, in order of time.

        Where no spans are given all of the sound is gone through first, which takes a minute for
        an hour; then each utterance is given as soon as it is done. Memory does not grow with the
        length of the video, but for the list of spans.

        Args:
            request: the video and what is asked of it.
            say: called with a sentence for whatever was missing, and what was done instead.

        Raises:
            MediaError: there is neither picture nor sound that can be used.
            TokenizerError: there are words, and the tokenizer is not the run's.
            TrainError: the model gives no finite number.
        """
        lost = Missing()
        spans = find_spans(request, self.settings.media, lost, say)
        if self.words is None and not any(span.text is not None for span in spans):
            self._say_without_words(say)
        elif self.words is not None and any(span.text is None for span in spans):
            say(f"words are heard by {self.words.name}")
        utterances = [_utterance(span, request) for span in spans]
        recording = Recording(request.video.stem, request.video, request.sound or request.video)
        chosen = self.settings
        told = set(lost.reasons)
        with OpenRecording(
            recording, utterances, chosen.frames, chosen.media, chosen.spans
        ) as source:
            for span, utterance in zip(spans, utterances, strict=True):
                yield from self._utterance(span, utterance, source, lost, request)
                for part in lost.reasons.keys() - told:
                    say(f"{lost.reasons[part]}: left out from {utterance.start_s:g} s on")
                told |= lost.reasons.keys()

    def _say_without_words(self, say: Say) -> None:
        rest = "".join(letter for letter in self.modalities if letter != "t")
        if "t" in self.modalities and rest:
            say(f"no transcript and no recogniser: the model runs on {' and '.join(rest)} alone")
        elif "t" in self.modalities:
            raise TrainError(
                "the run knows words only, and there are none",
                "pass --transcript FILE, or a recogniser with --asr",
            )

    def _utterance(
        self,
        span: Span,
        utterance: Utterance,
        source: OpenRecording,
        lost: Missing,
        request: Request,
    ) -> Iterator[UtterancePrediction]:
        seconds, clock = {}, time.perf_counter
        began = clock()
        waveform, silent = heard(utterance, source, self.settings, lost)
        seconds["sound"] = clock() - began
        began = clock()
        text, text_from = self._text_of(span, waveform)
        seconds["asr"] = clock() - began
        began = clock()
        said = replace(utterance, transcript=text or "")
        stages = self._stages if request.faces == "largest" else self._recording_stages()
        worded = text is not None and "t" in self.modalities
        ready = prepare(said, source, stages, self.modalities, silent, lost, worded)
        if len(lost.errors) == 2:
            raise lost.errors["v"]
        missing = ready.missing
        if "t" in self.modalities and text is None:
            missing["t"] = _NO_WORDS
        seconds["prepare"] = clock() - began
        for speaker, example in self._examples(ready, request, stages):
            began = clock()
            scores = self.scorer.score(example, missing)
            yield _prediction(
                span,
                (text, text_from),
                "; ".join(filter(None, (_speaker(span, request), speaker))),
                example,
                missing,
                scores,
                self,
                {**seconds, "model": clock() - began},
            )

    def _text_of(self, span: Span, waveform: Waveform | None) -> tuple[str | None, str]:
        if span.text is not None:
            return span.text, "transcript"
        if self.words is None or waveform is None:
            return None, ""
        text = self.words.recognise(waveform)
        return (text, "asr") if text else (None, "")

    def _recording_stages(self) -> Stages:
        detector = vars(self._every).get("detector")
        if detector is None:
            detector = RecordingDetector(self.settings.faces, self._every.device)
            vars(self._every)["detector"] = detector
        detector.forget()
        return self._every

    def _examples(
        self, ready: Prepared, request: Request, stages: Stages
    ) -> Iterator[tuple[str, Example]]:
        """The example; or one for each face, where all are asked for and there are any."""
        detector = vars(stages).get("detector")
        found: list[Faces] = []
        if request.faces == "all" and "v" not in ready.missing and detector is not None:
            faces = ready.example.faces
            found = tracks(detector.pictures[: len(faces.times_s)], faces.times_s)
        if not found:
            yield "", ready.example
        for number, faces in enumerate(found, 1):
            yield f"face {number}", replace(ready.example, faces=faces)


def _hears(checkpoint: Checkpoint) -> bool:
    return "t" in checkpoint.model.modalities


def _utterance(span: Span, request: Request) -> Utterance:
    assert span.view is not None, "spans are named before they are opened"
    return Utterance(
        id=span.id,
        recording_id=request.video.stem,
        start_s=span.start_s,
        end_s=span.end_s,
        transcript=span.text or "",
        labels=(),
        view=span.view,
    )


def _speaker(span: Span, request: Request) -> str:
    assert span.view is not None, "spans are named before they are opened"
    shared = span.view == request.views[0] and len(request.views) == 1
    return "" if shared else span.view.half


def _prediction(
    span: Span,
    text: tuple[str | None, str],
    speaker: str,
    example: Example,
    missing: dict[str, str],
    scores: Scores,
    predictor: Predictor,
    seconds: dict[str, float],
) -> UtterancePrediction:
    assert span.view is not None, "spans are named before they are opened"
    shown = "v" in predictor.modalities and "v" not in missing
    boxes = _boxes(example.faces) if shown else ()
    return UtterancePrediction(
        id=span.id,
        start_s=round(example.utterance.start_s, 6),
        end_s=round(example.utterance.end_s, 6),
        text=text[0],
        text_from=text[1],
        speaker=speaker,
        view=describe_view(span.view),
        faces_seen=len(boxes),
        faces_found=sum(box.found for box in boxes),
        used="".join(m for m in predictor.modalities if m not in missing),
        missing=dict(missing),
        probability=scores.probability,
        decided=decide(scores.probability, predictor.thresholds),
        contribution=scores.contribution,
        boxes=boxes,
        seconds={part: round(value, 6) for part, value in seconds.items()},
    )


def _boxes(faces: Faces) -> tuple[FaceBox, ...]:
    rows = zip(faces.times_s, faces.box.round(2).tolist(), faces.prob, faces.found, strict=True)
    return tuple(
        FaceBox(float(at), left, top, right, bottom, round(float(prob), 4), bool(found))
        for at, (left, top, right, bottom), prob, found in rows
    )
