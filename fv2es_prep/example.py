"""`prepare_example`: the only road from an utterance to an example, for shards and for prediction.

Owns the order of the stages and what an utterance must have. Leaves each stage to its file.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from fv2es_prep.config import PrepSettings, SpanSettings
from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.media.audio import sample_index
from fv2es_prep.media.quality import PictureCheck, check_sound
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.stages.compact import stored_faces, stored_mel
from fv2es_prep.stages.faces import FaceDetector, crop_faces
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.stages.tokens import tokenize
from fv2es_prep.types import Example, Faces, MelSpectrum, Utterance, Waveform

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stages:
    """What the stages need loaded: once per process, for any number of utterances.

    Attributes:
        settings: the settings of all stages.
        tokenizer: name at the hub or directory of the tokenizer.
        label_classes: the classes, in the order of the label columns.
        device: where faces are looked for, ``cpu`` or torch's name of a GPU.
    """

    settings: PrepSettings
    tokenizer: str
    label_classes: tuple[str, ...]
    device: str = "cpu"

    @functools.cached_property
    def detector(self) -> FaceDetector:
        """The face detector, loaded when the first picture comes."""
        return FaceDetector(self.settings.faces, self.device)


@dataclass(frozen=True)
class Made:
    """Parts of an example that are there already, made by the same stages of the same media.

    Attributes:
        utterance: with the span that it has within the media, where faces or spectrum are given.
        faces: the faces, or None.
        mel: the spectrum, or None.
        tokens: the token ids, or None.
    """

    utterance: Utterance | None = None
    faces: Faces | None = None
    mel: MelSpectrum | None = None
    tokens: NDArray[np.int32] | None = None

    @property
    def media(self) -> bool:
        """Whether the recording is not needed any more."""
        return self.faces is not None and self.mel is not None


def prepare_example(
    utterance: Utterance, source: OpenRecording, stages: Stages, made: Made = Made()
) -> Example:
    """Sample frames, crop faces, compute the spectrum, tokenize the transcript.

    Faces and spectrum come in the form in which they are stored: where that loses something, the
    example holds what is left, for shards and for prediction alike.

    Where the media end before the utterance, the example's utterance is the clamped one.

    Args:
        utterance: one of the utterances that ``source`` was opened for, asked for in order.
        source: its recording.
        stages: loaded stages and their settings.
        made: what need not be made again.

    Returns:
        The example, ready to be written or to be fed to a model.

    Raises:
        UtteranceError: this utterance has too little picture or sound in its span, or they show
            nothing.
        MediaError: the recording cannot be decoded, or is over a limit.
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    kept, faces, mel = utterance, made.faces, made.mel
    if faces is None and mel is None:
        kept, faces, mel = _make(utterance, source, stages)
    elif made.utterance is not None:
        kept = made.utterance
    if faces is None:
        faces = _faces(kept, kept.end_s, source, stages)
    if mel is None:
        mel = _spectrum(kept, source.waveform(kept), stages.settings)
    tokens = made.tokens
    if tokens is None:
        tokens = tokenize(utterance.transcript, stages.tokenizer, stages.settings.text)
    storage = stages.settings.storage
    return Example(
        utterance=kept,
        label=label_row(kept, stages.label_classes),
        faces=stored_faces(faces, storage),
        mel=stored_mel(mel, storage, stages.settings.mel),
        tokens=tokens,
    )


def _make(
    utterance: Utterance, source: OpenRecording, stages: Stages
) -> tuple[Utterance, Faces, MelSpectrum]:
    # The sound comes first: it is cheap, and no face is looked for where it has ended.
    waveform = source.waveform(utterance)
    until_s = _heard_until_s(utterance, waveform, stages.settings.spans)
    faces = _faces(utterance, until_s, source, stages)
    kept = source.clamped(utterance)
    if not len(faces.rgb):
        raise UtteranceError(
            f"no picture was on screen from {kept.start_s} s to {kept.end_s} s",
            DropReason.NO_FRAME_IN_SPAN,
        )
    return kept, faces, _spectrum(kept, waveform, stages.settings)


def _heard_until_s(utterance: Utterance, waveform: Waveform, spans: SpanSettings) -> float:
    """Where the utterance or, before it, its sound ends.

    It is judged by its own sound alone: what other utterances have met must change nothing.
    """
    count, rate = len(waveform.samples), waveform.rate_hz
    end_s = (sample_index(utterance.start_s, rate) + count) / rate if count else utterance.start_s
    if utterance.end_s <= end_s + spans.tolerance_s:
        return utterance.end_s
    if utterance.within(0, end_s, spans.min_left) is None:
        found = f"the sound ends at {end_s:.3f} s" if count else "the sound ends before it"
        raise UtteranceError(
            f"its span is {utterance.start_s:g} s to {utterance.end_s:g} s, and {found}",
            DropReason.SPAN_OUTSIDE_MEDIA,
        )
    return end_s


def _faces(utterance: Utterance, until_s: float, source: OpenRecording, stages: Stages) -> Faces:
    """The faces up to a moment."""
    # Pictures are asked for up to that very moment, so that it is known if they end before.
    end_s = min(utterance.end_s, until_s + stages.settings.spans.tolerance_s)
    frames = source.frames(replace(utterance, end_s=end_s))
    shown = (frame for frame in frames if frame[0] < round(until_s, 6))
    check = PictureCheck(stages.settings.quality)
    faces = crop_faces(check.passing(shown), stages.detector)
    # That the pictures end too early says more than what the few of them look like.
    source.clamped(utterance)
    check.judge()
    return faces


def _spectrum(utterance: Utterance, waveform: Waveform, settings: PrepSettings) -> MelSpectrum:
    """The spectrum of a span that may end earlier than the sound that was read for it."""
    rate = waveform.rate_hz
    count = sample_index(utterance.end_s, rate) - sample_index(utterance.start_s, rate)
    heard = replace(waveform, samples=waveform.samples[:count])
    check_sound(heard, settings.quality)
    return mel_spectrum(heard, settings.mel)


def label_row(utterance: Utterance, label_classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """uint8 (C,), 1 for each class that holds for the utterance."""
    import numpy as np

    return np.array([name in utterance.labels for name in label_classes], np.uint8)
