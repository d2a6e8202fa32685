"""One utterance made ready with whatever of it there is: a lost sound or picture is left out.

Owns finding out what is missing. The road is `prepare_example`, the same as for shards; what is
missing gets a stand-in that keeps the shapes, and is named so that nobody looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, UtteranceError
from fv2es_prep.example import Made, label_row, prepare_example
from fv2es_prep.media.quality import check_sound
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.stages.tokens import tokenize
from fv2es_prep.types import Example, Faces, MelSpectrum

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.config import MelSettings, PrepSettings, TextSettings
    from fv2es_prep.example import Stages
    from fv2es_prep.media.recording import OpenRecording
    from fv2es_prep.types import Utterance, Waveform

PICTURE, SOUND = "v", "a"
# What else can be wrong is wrong with the pictures: the sound is looked at first.
_OF_SOUND = {
    DropReason.NO_AUDIO_STREAM,
    DropReason.UNDECODABLE_AUDIO,
    DropReason.AUDIO_MISSING,
    DropReason.NO_AUDIO_IN_SPAN,
    DropReason.SILENT_AUDIO,
    DropReason.CHANNEL_MISSING,
}


@dataclass
class Missing:
    """What a whole recording lacks, as far as it is known.

    Attributes:
        reasons: ``v`` or ``a`` -> a sentence.
        errors: the same, as they were raised.
    """

    reasons: dict[str, str] = field(default_factory=dict)
    errors: dict[str, MediaError] = field(default_factory=dict)

    def add(self, part: str, error: MediaError) -> None:
        """Remember that a file has failed: it is not asked again."""
        self.reasons[part] = error.sentence
        self.errors[part] = error


@dataclass(frozen=True)
class Prepared:
    """An utterance that is ready.

    Attributes:
        example: with stand-ins for what is missing.
        missing: ``v`` or ``a`` -> why it is missing; what was not wanted is not named.
    """

    example: Example
    missing: dict[str, str]


def heard(
    utterance: Utterance, source: OpenRecording, settings: PrepSettings, lost: Missing
) -> tuple[Waveform | None, str]:
    """The sound of an utterance, or why there is none that can be used.

    Args:
        utterance: the next one.
        source: its recording.
        settings: of the stages.
        lost: what the recording lacks; a sound that cannot be decoded is added.
    """
    if SOUND in lost.reasons:
        return None, lost.reasons[SOUND]
    try:
        waveform = source.waveform(utterance)
        length_s = len(waveform.samples) / waveform.rate_hz
        if length_s < settings.spans.min_left * utterance.duration_s:
            return None, f"its sound has {length_s:.3f} s of its {utterance.duration_s:.3f} s"
        check_sound(waveform, settings.quality)
        mel_spectrum(waveform, settings.mel)
    except UtteranceError as error:
        return None, error.sentence
    except MediaError as error:
        lost.add(SOUND, error)
        return None, error.sentence
    return waveform, ""


def prepare(
    utterance: Utterance,
    source: OpenRecording,
    stages: Stages,
    wanted: str,
    silent: str,
    lost: Missing,
    tokens: bool,
) -> Prepared:
    """Make an utterance ready.

    Args:
        utterance: the next one, whose sound was looked at with `heard`.
        source: its recording.
        stages: the loaded stages.
        wanted: the modalities that the model has.
        silent: why its sound cannot be used; empty where it can.
        lost: what the recording lacks; pictures that cannot be decoded are added.
        tokens: whether its words are wanted.

    Raises:
        MediaKilledError: a decoder was killed from outside.
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    missing = {SOUND: silent} if silent and SOUND in wanted else {}
    if PICTURE in lost.reasons and PICTURE in wanted:
        missing[PICTURE] = lost.reasons[PICTURE]
    unwanted = {PICTURE, SOUND} - set(wanted)
    while True:
        made = _stand_ins(unwanted | missing.keys(), stages.settings, tokens)
        try:
            example = prepare_example(utterance, source, stages, made)
        except MediaKilledError:
            raise
        except (MediaError, UtteranceError) as error:
            # Each turn leaves one part less to fail.
            part = _part_of(error.reason, missing)
            missing[part] = error.sentence
            if isinstance(error, MediaError):
                lost.add(part, error)
        else:
            return Prepared(_checked(example, missing, made), missing)


def words_only(utterance: Utterance, stages: Stages, worded: bool) -> Example:
    """An utterance of which the words alone are looked at: no medium is opened.

    Args:
        utterance: with its words.
        stages: the loaded stages.
        worded: whether its words are known.

    Raises:
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    settings = stages.settings
    return Example(
        utterance=utterance,
        label=label_row(utterance, stages.label_classes),
        faces=_no_faces(settings.faces.image_size_px),
        mel=_no_sound(settings.mel),
        tokens=tokenize(utterance.transcript, stages.tokenizer, settings.text)
        if worded
        else _no_words(settings.text),
    )


def _part_of(reason: DropReason, missing: dict[str, str]) -> str:
    part = SOUND if reason in _OF_SOUND else PICTURE
    other = PICTURE if part == SOUND else SOUND
    return other if part in missing else part


def _checked(example: Example, missing: dict[str, str], made: Made) -> Example:
    """The example; one whose pictures were all gone gets the stand-in."""
    if len(example.faces.times_s) or made.faces is not None:
        return example
    missing[PICTURE] = "no picture was on screen in its span"
    return replace(example, faces=_no_faces(example.faces.rgb.shape[1]))


def _stand_ins(lacking: set[str], settings: PrepSettings, tokens: bool) -> Made:
    """Parts that need not be made: of the right shape, and never looked at."""
    return Made(
        faces=_no_faces(settings.faces.image_size_px) if PICTURE in lacking else None,
        mel=_no_sound(settings.mel) if SOUND in lacking else None,
        tokens=None if tokens else _no_words(settings.text),
    )


def _no_sound(settings: MelSettings) -> MelSpectrum:
    silence = np.full((1, settings.n_mels), np.log(settings.floor), np.float16)
    return MelSpectrum(silence, settings.hop_s)


def _no_words(settings: TextSettings) -> NDArray[np.int32]:
    return np.array([settings.pad_id], np.int32)


def _no_faces(side: int) -> Faces:
    return Faces(
        rgb=np.zeros((1, side, side, 3), np.uint8),
        times_s=np.zeros(1),
        found=np.zeros(1, np.bool_),
        box=np.zeros((1, 4), np.float32),
        prob=np.zeros(1, np.float32),
    )
