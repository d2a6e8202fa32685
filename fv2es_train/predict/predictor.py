"""A run made ready to predict: a request goes in, utterances come out as they are done.

Owns what is loaded and the order of the work on one video. Leaves spans to `finding`, words to
`words`, the work on one span to `utterances`, and looks to others. The way of an utterance is that
of the shards, and the settings are those of the checkpoint.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

from fv2es_prep.errors import TokenizerError, TrainError
from fv2es_prep.example import Stages
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.stages.tokens import tokenize
from fv2es_prep.types import Recording
from fv2es_train.evaluation.inference import choose_device
from fv2es_train.models.checkpoint import Checkpoint, load_checkpoint
from fv2es_train.predict.face_tracks import RecordingStages
from fv2es_train.predict.modalities import Missing
from fv2es_train.predict.outputs import NAMES, WITHOUT_WORDS, UtterancePrediction
from fv2es_train.predict.recognisers import recogniser
from fv2es_train.predict.request import Request
from fv2es_train.predict.scoring import Scorer
from fv2es_train.predict.speech_spans import Say, find_spans
from fv2es_train.predict.utterances import Loaded, OpenVideo, See, reworded, utterance_of
from fv2es_train.predict.warmup import warm

if TYPE_CHECKING:
    from fv2es_prep.config import MediaSettings
    from fv2es_train.predict.recognisers import Recogniser


class Predictor:
    """A trained run with all that it takes to score new video.

    It may be used for any number of videos, one after the other; not by two threads at once.

    Args:
        checkpoint: the run's; its model is fused into a copy.
        tokenizer: directory or name of the tokenizer; None takes the one that the settings name.
        words: hears the words that no transcript gives; None hears none.
        fuse: whether the RepVGG blocks become single convolutions.
        media: how much a file may cost; None takes the checkpoint's. No number depends on it.

    Attributes:
        settings: of the stages, with these limits.
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
        media: MediaSettings | None = None,
    ) -> None:
        model = checkpoint.model
        settings = replace(checkpoint.settings, media=media or checkpoint.settings.media)
        self.settings = settings
        self.thresholds = {name: checkpoint.thresholds[name] for name in model.config.label_classes}
        self.classes, self.modalities = model.config.label_classes, model.modalities
        self.words = words if "t" in self.modalities else None
        self.scorer = Scorer(checkpoint, fuse)
        stages = Stages(settings, tokenizer or settings.text.tokenizer, self.classes)
        every = RecordingStages(settings, stages.tokenizer, self.classes, plain=stages)
        self._loaded = Loaded(stages, self.scorer, self.words, self.thresholds, every)

    @classmethod
    def load(
        cls,
        run: Path,
        device: str = "auto",
        tokenizer: str | None = None,
        asr: str | None = None,
        which: str = "best",
        media: MediaSettings | None = None,
    ) -> Self:
        """Read a run; what is loaded only when it is first needed is not loaded, see `warm`.

        Args:
            run: directory of the run.
            device: where the model computes: ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.
            tokenizer: see `Predictor`.
            asr: see `words.recogniser`.
            which: ``best`` or ``last``.
            media: see `Predictor`.

        Raises:
            UsageError: there is no such run or device.
            TrainError: the checkpoint is damaged.
            WorkError: the recogniser cannot be loaded.
        """
        checkpoint = load_checkpoint(run, which, choose_device(device))
        words = recogniser(asr) if asr or "t" in checkpoint.model.modalities else None
        return cls(checkpoint, tokenizer, words, media=media)

    def warm(self) -> None:
        """Load all that is otherwise loaded with the first video, by scoring a second of noise.

        That is the network that finds speech, the face detector with its compiled loops, the
        resampling and the spectrum, the recogniser and the model's first run; the tokenizer comes
        last. Nothing is read but what these read, and no ffmpeg is started but to ask its version.

        Raises:
            WorkError: one of them cannot be loaded; of the tokenizer a TokenizerError, after which
                the rest is warm.
        """
        warm(self._loaded)
        self.check_tokenizer()

    def check_tokenizer(self) -> None:
        """See that the tokenizer is the run's, before any video is decoded for nothing.

        Raises:
            TokenizerError: it cannot be loaded, or has another digest.
        """
        if "t" not in self.modalities:
            return
        try:
            tokenize("", self._loaded.stages.tokenizer, self.settings.text)
        except TokenizerError as error:
            raise TokenizerError(
                f"the run needs its tokenizer {self.settings.text.tokenizer!r} "
                f"({self.settings.text.vocabulary_sha256[:12]}): {error.sentence}",
                "pass the one that made its shards: --tokenizer DIR",
            ) from error

    def predict(
        self, request: Request, say: Say = lambda _: None, see: See | None = None
    ) -> Iterator[UtterancePrediction]:
        """Score a video, utterance by utterance, in order of time.

        Where no spans are given all of the sound is gone through first, which takes a minute for
        an hour; then each utterance is given as soon as it is done. Memory does not grow with the
        length of the video, but for the list of spans.

        Args:
            request: the video and what is asked of it.
            say: called with a sentence for whatever was missing, and what was done instead.
            see: called with an utterance's id and the faces that the model saw, just before the
                utterance is given; not where it saw none.

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
        utterances = [utterance_of(span, request) for span in spans]
        recording = Recording(request.video.stem, request.video, request.sound or request.video)
        chosen = self.settings
        told = set(lost.reasons)
        with OpenRecording(
            recording, utterances, chosen.frames, chosen.media, chosen.spans
        ) as source:
            video = OpenVideo(request, source, lost, self._loaded, see)
            for span, utterance in zip(spans, utterances, strict=True):
                yield from video.score(span, utterance)
                for part in lost.reasons.keys() - told:
                    why = lost.reasons[part].rstrip(".")
                    say(f"{why}: left out from {utterance.start_s:g} s on")
                told |= lost.reasons.keys()

    def reword(self, one: UtterancePrediction, text: str | None) -> UtterancePrediction:
        """The same utterance with other words, without decoding anything.

        The terms of sound and faces are kept; the text branch alone is run. What comes out is what
        `predict` would give where the span has these words. A run without text gives the utterance
        back with the words put in.

        Args:
            one: what `predict` gave, of this run.
            text: the words; empty where nothing is said, None where they are not known.

        Raises:
            TokenizerError: there are words, and the tokenizer is not the run's.
            TrainError: the model gives no finite number.
        """
        return reworded(one, text, self._loaded)

    def _say_without_words(self, say: Say) -> None:
        rest = [NAMES[letter] for letter in self.modalities if letter != "t"]
        if "t" in self.modalities and rest:
            say(f"{WITHOUT_WORDS}: the model runs on {' and '.join(rest)} alone")
        elif "t" in self.modalities:
            raise TrainError(
                "the run knows words only, and there are none",
                "pass --transcript FILE, or a recogniser with --asr",
            )
