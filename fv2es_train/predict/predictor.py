"""`Predictor`: a trained run that scores raw video, utterance by utterance.

Stages and settings are those of the shards that trained the run.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.errors import TokenizerError, TrainError
from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version, input_of
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.stages.base import Pictures
from fv2es_prep.stages.faces import crop_faces
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.stages.registry import StageContext, modalities_of
from fv2es_prep.stages.tokens import tokenize
from fv2es_prep.types import Recording, Utterance, Waveform
from fv2es_train.config import STAGES
from fv2es_train.evaluation.inference import choose_device
from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint
from fv2es_train.models.familiarity import Familiarity, read_familiarity
from fv2es_train.models.run_files import tokenizer_of
from fv2es_train.predict import speech
from fv2es_train.predict.encoder_sources import check_encoders, find_encoders, without_unread
from fv2es_train.predict.face_tracks import AllFacesStages, SharedStages
from fv2es_train.predict.outputs import (
    NO_TEXT,
    TEXT,
    VIDEO,
    FailedMedia,
    UtterancePrediction,
)
from fv2es_train.predict.rating_scales import rating_scales
from fv2es_train.predict.recognisers import load_recogniser
from fv2es_train.predict.request import Request, Span
from fv2es_train.predict.scoring import Scorer
from fv2es_train.predict.spans import find_spans
from fv2es_train.predict.texts_ahead import TextsAhead
from fv2es_train.predict.utterances import (
    UNKNOWN_TEXT,
    OnFaces,
    OpenVideo,
    model_fields,
    text_example,
    timed,
    utterance_of,
)

if TYPE_CHECKING:
    from fv2es_prep.config import MediaSettings
    from fv2es_train.engines.choice import Engine, Precision
    from fv2es_train.predict.recognisers import Recogniser

# Differs from the rate of the spectrum, so that resampling is loaded, too.
_WARM_HZ = 48_000


class Predictor:
    """A trained run, ready to score raw video.

    Scores any number of videos, one after the other; not safe for concurrent use by threads.

    Args:
        checkpoint: checkpoint of the run. The model is fused into a copy.
        tokenizer: directory or hub name of the tokenizer; None for the name in the settings.
        recogniser: speech recogniser for utterances without a transcript; None for none.
        fuse: whether to fuse the RepVGG blocks into single convolutions.
        media: limits of decoding; None for the checkpoint's. They do not change any prediction.
        familiarity: statistics of the training data; None decides for any input.
        encoders: stage -> directory or hub name of its encoder, see `find_encoders`.
        engine: library that runs the encoders, for a fused model; see `use_engine`.
        at_once: see `use_engine`.
        precision: see `use_engine`.

    Attributes:
        settings: settings of the stages, with these limits.
        classes: class names in the order of the model's outputs.
        ratings: scales of the ratings that it predicts in addition to the classes.
        decision: how logits become probabilities and decided classes.
        modalities: letters of the model's modalities, some of ``tva``.
        scorer: runs the model on one example.
        stages: stages of preparation; ``all_faces_stages`` also keep the smaller faces.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        tokenizer: str | None = None,
        recogniser: Recogniser | None = None,
        fuse: bool = True,
        media: MediaSettings | None = None,
        familiarity: Familiarity | None = None,
        encoders: Mapping[str, str] = {},
        engine: Engine = "torch",
        at_once: bool = False,
        precision: Precision = "float32",
    ) -> None:
        model = checkpoint.model
        limits = media or checkpoint.settings.media
        faces = replace(checkpoint.settings.faces, select="largest")
        # A missing modality is left out; the others are still used.
        settings = replace(checkpoint.settings, media=limits, faces=faces, require="")
        self.settings = settings = without_unread(settings, model.config)
        self.decision = checkpoint.decision
        self.classes, self.modalities = model.config.label_classes, model.modalities
        self.ratings = rating_scales(model.config)
        self.recogniser = recogniser if TEXT in self.modalities else None
        self.scorer, self.familiarity = (
            Scorer(checkpoint, fuse, engine, at_once, precision),
            familiarity,
        )
        shared = (tokenizer or settings.text.tokenizer, self.classes, "cpu", (*encoders.items(),))
        self.stages = StageContext(settings, *shared)
        track = replace(settings, faces=replace(settings.faces, select="track"))
        self.track_stages = SharedStages(track, *shared, plain=self.stages)
        self.all_faces_stages = AllFacesStages(settings, *shared, plain=self.stages)

    @classmethod
    def load(
        cls,
        run: Path,
        device: str = "auto",
        tokenizer: str | None = None,
        asr: str | None = None,
        which: str = "best",
        media: MediaSettings | None = None,
        encoders: Sequence[str] = (),
        engine: Engine = "auto",
        at_once: bool = False,
        precision: Precision = "float32",
    ) -> Self:
        """Load a run. The face detector, tokenizer, encoders and speech detector load on first use.

        ``asr`` names a recogniser for `recognisers.load_recogniser`; ``which`` is the checkpoint,
        ``best`` or ``last``; ``encoders`` are the places of moved encoders, see `find_encoders`;
        ``engine``, ``at_once`` and ``precision`` are arguments of `use_engine`, the others those of
        `Predictor` and `inference.choose_device`.

        Raises:
            UsageError: the run or device does not exist, or the run does not read a given encoder.
            TrainError: the checkpoint is damaged.
            WorkError: the recogniser cannot be loaded.
        """
        checkpoint = load_checkpoint(run, which, choose_device(device))
        tokenizer = tokenizer or tokenizer_of(run)
        recogniser = load_recogniser(asr) if asr or TEXT in checkpoint.model.modalities else None
        known = read_familiarity(run)
        read = without_unread(checkpoint.settings, checkpoint.model.config)
        places = find_encoders(run, read, encoders)
        given = (checkpoint, tokenizer, recogniser, True, media, known, places)
        return cls(*given, engine, at_once, precision)

    def warm(self) -> None:
        """Load all that a first video would load, except ffmpeg, by scoring one second of noise.

        Raises:
            TokenizerError: see `check_encoders`, and `check_tokenizer`, which comes last.
            WorkError: something else cannot be loaded.
        """
        stages, noise = self.stages, np.random.default_rng(0)
        input_of("picture", self.settings.media)
        ffmpeg_version(ffmpeg_path())
        waveform = Waveform(noise.normal(0, 0.1, _WARM_HZ).astype(np.float32), _WARM_HZ)
        speech.load()
        example = text_example(Utterance("warm", "", 0, 1, "", ()), stages, with_text=False)
        tokens = np.array([self.settings.text.pad_id], np.int32)
        example = example.replace(mel=mel_spectrum(waveform, self.settings.mel), tokens=tokens)
        rgb = noise.integers(0, 256, (480, 640, 3)).astype(np.uint8)
        pictures = Pictures([0.0], [rgb])
        if VIDEO in self.modalities:
            example = example.replace(faces=crop_faces(pictures, stages.detector))
        self.check_encoders()
        inputs = {"transcript": "", "sound": waveform, "video": pictures, **example}
        for stage in stages.stages:
            if stage.name not in inputs and {*modalities_of(stage)} <= {*self.modalities}:
                inputs[stage.name] = stages.value(stage, inputs)
        made = {stage.name: inputs[stage.name] for stage in stages.stages if stage.name in inputs}
        self.scorer.score(example.replace(**made))
        if self.recogniser is not None:
            self.recogniser.recognise(waveform)
        self.check_tokenizer()

    def check_encoders(self) -> None:
        """Load the encoders of the run's stages, before any video is decoded.

        Raises:
            TokenizerError: an encoder is missing, or differs from that of the run.
        """
        check_encoders(self.stages)

    def check_tokenizer(self) -> None:
        """Check the tokenizer against the run, before any video is decoded.

        Raises:
            TokenizerError: the tokenizer cannot be loaded, or its digest differs.
        """
        if TEXT not in self.modalities or STAGES[TEXT] not in self.settings.stages:
            return
        try:
            tokenize("", self.stages.tokenizer, self.settings.text)
        except TokenizerError as error:
            raise TokenizerError(
                f"the run needs its tokenizer {self.settings.text.tokenizer!r} "
                f"({self.settings.text.vocabulary_sha256[:12]}): {error.sentence}",
                "pass the tokenizer that made its shards: --tokenizer DIR",
            ) from error

    def predict(
        self,
        request: Request,
        on_note: Callable[[str], None] = lambda _: None,
        on_faces: OnFaces | None = None,
    ) -> Iterator[UtterancePrediction]:
        """Score a video, utterance by utterance, in order of time.

        Without spans in the request, speech detection reads all of the audio first (about half a
        minute for an hour). Each utterance is yielded as soon as it is scored. Apart from the list
        of spans, memory does not grow with the length of the video.

        Args:
            request: the video and its spans, views and faces.
            on_note: called with a sentence about each missing input and what is done instead.
            on_faces: called with the id of an utterance and the faces that the model saw (uint8,
                shape (F, 48, 48, 3)), just before the utterance is yielded; not called without
                faces.

        Yields:
            The predictions of each span: one, or with ``faces="all"`` one for each face.

        Raises:
            MediaError: neither video nor audio can be used.
            TokenizerError: text is given, and the tokenizer differs from that of the run.
            TrainError: the output of the model is not finite, or the run needs text and has none.
        """
        failed: FailedMedia = {}
        pictures = VIDEO in self.modalities
        spans = find_spans(request, self.settings.media, failed, on_note, pictures)
        self._note_text_source(spans, on_note)
        noted = set(failed)
        utterances = [utterance_of(span, request) for span in spans]
        recording = Recording(request.video.stem, request.video, request.sound or request.video)
        use = self.settings
        with OpenRecording(recording, utterances, use.frames, use.media, use.spans) as source:
            source.failed.update(failed)
            failed = source.failed
            pairs = [*zip(spans, utterances, strict=True)]
            texts = TextsAhead(self, [each for span, each in pairs if span.text is not None])
            video = OpenVideo(self, request, source, texts, on_faces)
            for span, utterance in pairs:
                yield from video.score(span, utterance)
                for modality in failed.keys() - noted:
                    reason = failed[modality].sentence.rstrip(".")
                    on_note(f"{reason}; it is left out from {utterance.start_s:g} s on")
                noted |= failed.keys()

    def reword(self, one: UtterancePrediction, text: str | None) -> UtterancePrediction:
        """Score an utterance again with another text, without decoding anything.

        The terms of audio and video are kept and only the text branch runs. The result equals that
        of `predict` for a span with this text (empty: nothing is said, None: unknown). For a run
        without text only ``text`` changes.

        Raises:
            TokenizerError: text is given, and the tokenizer differs from that of the run.
            TrainError: the output of the model is not finite.
        """
        known = text is not None
        one = replace(one, text=text, text_from="transcript" if known else "")
        if TEXT not in self.modalities:
            return one
        seconds: dict[str, float] = {}
        with timed(seconds, "model"):
            utterance = Utterance(one.id, "", one.start_s, one.end_s, text or "", ())
            example = text_example(utterance, self.stages, known)
            scores = self.scorer.reword(one, example, known)
        missing = {m: reason for m, reason in one.missing.items() if m != TEXT}
        if not known:
            missing[TEXT] = UNKNOWN_TEXT
        fields = model_fields(scores, missing, one.unfamiliar, self)
        return replace(one, **fields, seconds=seconds)

    def _note_text_source(self, spans: tuple[Span, ...], on_note: Callable[[str], None]) -> None:
        """Report where the text comes from, unless all of it is given."""
        if self.recogniser is not None:
            if any(span.text is None for span in spans):
                on_note(f"{self.recogniser.name} transcribes utterances without text")
        elif TEXT not in self.modalities or any(span.text is not None for span in spans):
            pass
        elif rest := [MODALITY_NAMES[letter] for letter in self.modalities if letter != TEXT]:
            on_note(f"{NO_TEXT}: the model uses only {' and '.join(rest)}")
        else:
            raise TrainError(
                "the run reads only text, but the video has no transcript",
                "pass --transcript FILE, or a speech recogniser with --asr",
            )
