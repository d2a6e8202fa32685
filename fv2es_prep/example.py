"""`prepare_example`: the only road from an utterance to an example, for shards and for prediction.

Owns the order of the stages and what an utterance must have. Leaves each stage to its file.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.media.audio import mel_spectrum
from fv2es_prep.media.faces import FaceDetector, crop_faces
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.media.text import tokenize
from fv2es_prep.settings import PrepSettings
from fv2es_prep.types import Example, Utterance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Stages:
    """What the stages need loaded: once per process, for any number of utterances.

    Attributes:
        settings: the settings of all stages.
        detector: the loaded face detector.
        tokenizer: name at the hub or directory of the tokenizer.
        label_classes: the classes, in the order of the label columns.
    """

    settings: PrepSettings
    detector: FaceDetector
    tokenizer: str
    label_classes: tuple[str, ...]

    @classmethod
    def load(cls, settings: PrepSettings, tokenizer: str, label_classes: tuple[str, ...]) -> Stages:
        """Load the detector; the tokenizer is loaded when the first transcript comes."""
        return cls(settings, FaceDetector(settings.faces), tokenizer, label_classes)


def prepare_example(utterance: Utterance, source: OpenRecording, stages: Stages) -> Example:
    """Sample frames, crop faces, compute the spectrum, tokenize the transcript.

    Args:
        utterance: one of the utterances that ``source`` was opened for, asked for in order.
        source: its recording.
        stages: loaded stages and their settings.

    Returns:
        The example, ready to be written or to be fed to a model.

    Raises:
        UtteranceError: this utterance has no picture or too little sound in its span.
        MediaError: the recording cannot be decoded.
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    settings = stages.settings
    faces = crop_faces(source.frames(utterance), stages.detector)
    if not len(faces.rgb):
        raise UtteranceError(
            f"no picture was on screen from {utterance.start_s} s to {utterance.end_s} s",
            DropReason.NO_FRAME_IN_SPAN,
        )
    mel = mel_spectrum(source.waveform(utterance), settings.mel)
    tokens = tokenize(utterance.transcript, stages.tokenizer, settings.text)
    return Example(utterance, label_row(utterance, stages.label_classes), faces, mel, tokens)


def label_row(utterance: Utterance, label_classes: tuple[str, ...]) -> NDArray[np.uint8]:
    """uint8 (C,), 1 for each class that holds for the utterance."""
    import numpy as np

    return np.array([name in utterance.labels for name in label_classes], np.uint8)
