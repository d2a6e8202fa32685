"""One example from the modalities that a recording has.

Uses `prepare_example`, as the shards do. A missing modality gets a placeholder of the right shape
and is reported by its letter, so that the model skips it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, UtteranceError
from fv2es_prep.example import label_row, prepare_example
from fv2es_prep.media.quality import check_sound
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.stages.tokens import tokenize
from fv2es_prep.types import Example, Faces, MelSpectrum
from fv2es_train.predict.outputs import AUDIO, TEXT, VIDEO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.config import MelSettings, PrepSettings, TextSettings
    from fv2es_prep.media.recording import OpenRecording
    from fv2es_prep.stages.context import StageContext
    from fv2es_prep.types import Utterance, Waveform

# Modality -> why the recording's file failed to decode; it is not decoded again.
FailedMedia = dict[str, MediaError]
# Every other reason concerns the video: the audio is checked first.
_AUDIO_REASONS = {
    DropReason.NO_AUDIO_STREAM,
    DropReason.UNDECODABLE_AUDIO,
    DropReason.AUDIO_MISSING,
    DropReason.NO_AUDIO_IN_SPAN,
    DropReason.SILENT_AUDIO,
    DropReason.CHANNEL_MISSING,
}


def read_audio(
    utterance: Utterance, source: OpenRecording, settings: PrepSettings, failed: FailedMedia
) -> tuple[Waveform | None, str]:
    """The waveform of an utterance, or None and the reason why it is unusable.

    Args:
        utterance: the next utterance of ``source``.
        source: its recording.
        settings: settings of the stages.
        failed: updated if the audio fails to decode.
    """
    if AUDIO in failed:
        return None, failed[AUDIO].sentence
    try:
        waveform = source.waveform(utterance)
        length_s = len(waveform.samples) / waveform.rate_hz
        if length_s < settings.spans.min_left * utterance.duration_s:
            return None, f"its audio has {length_s:.3f} s of its {utterance.duration_s:.3f} s"
        check_sound(waveform, settings.quality)
        mel_spectrum(waveform, settings.mel)
    except UtteranceError as error:
        return None, error.sentence
    except MediaError as error:
        failed[AUDIO] = error
        return None, error.sentence
    return waveform, ""


def prepare(
    utterance: Utterance,
    source: OpenRecording,
    stages: StageContext,
    wanted: str,
    missing: dict[str, str],
    failed: FailedMedia,
) -> Example:
    """Prepare an utterance whose audio was checked with `read_audio`.

    Args:
        utterance: the next utterance of ``source``.
        source: its recording.
        stages: loaded stages.
        wanted: letters of the modalities to prepare.
        missing: modality -> reason; holds an unusable audio, and is updated.
        failed: updated if the video fails to decode.

    Returns:
        The example, with placeholders for what is missing or not wanted.

    Raises:
        MediaKilledError: a decoder was killed from outside.
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    if VIDEO in failed and VIDEO in wanted:
        missing[VIDEO] = failed[VIDEO].sentence
    while True:
        left_out = {m for m in (VIDEO, AUDIO, TEXT) if m not in wanted or m in missing}
        made = _placeholders(left_out, stages.settings)
        try:
            example = prepare_example(utterance, source, stages, made)
        except MediaKilledError:
            raise
        except (MediaError, UtteranceError) as error:
            # Each turn leaves out one more modality.
            modality = _modality_of(error.reason, missing)
            missing[modality] = error.sentence
            if isinstance(error, MediaError):
                failed[modality] = error
            continue
        if VIDEO not in left_out and not len(example.faces.times_s):
            missing[VIDEO] = "no picture was on screen in its span"
            example = example.replace(faces=_no_faces(example.faces.rgb.shape[1]))
        return example


def text_example(utterance: Utterance, stages: StageContext, with_text: bool) -> Example:
    """An example whose only real modality is the text; no media file is opened.

    Args:
        utterance: with its transcript.
        stages: loaded stages.
        with_text: whether the transcript is known; if not, the text is a placeholder, too.

    Raises:
        TokenizerError: the tokenizer cannot be loaded or is another one.
    """
    settings = stages.settings
    return Example(
        utterance=utterance,
        label=label_row(utterance, stages.label_classes),
        faces=_no_faces(settings.faces.image_size_px),
        mel=_no_audio(settings.mel),
        tokens=tokenize(utterance.transcript, stages.tokenizer, settings.text)
        if with_text
        else _no_text(settings.text),
    )


def _modality_of(reason: DropReason, missing: dict[str, str]) -> str:
    modality, other = (AUDIO, VIDEO) if reason in _AUDIO_REASONS else (VIDEO, AUDIO)
    return other if modality in missing else modality


def _placeholders(left_out: set[str], settings: PrepSettings) -> dict[str, Any]:
    made = {
        VIDEO: ("faces", _no_faces(settings.faces.image_size_px)),
        AUDIO: ("mel", _no_audio(settings.mel)),
        TEXT: ("tokens", _no_text(settings.text)),
    }
    return dict(made[modality] for modality in left_out)


def _no_audio(settings: MelSettings) -> MelSpectrum:
    silence = np.full((1, settings.n_mels), np.log(settings.floor), np.float16)
    return MelSpectrum(silence, settings.hop_s)


def _no_text(settings: TextSettings) -> NDArray[np.int32]:
    return np.array([settings.pad_id], np.int32)


def _no_faces(side_px: int) -> Faces:
    return Faces(
        rgb=np.zeros((1, side_px, side_px, 3), np.uint8),
        times_s=np.zeros(1),
        found=np.zeros(1, np.bool_),
        box=np.zeros((1, 4), np.float32),
        prob=np.zeros(1, np.float32),
    )
