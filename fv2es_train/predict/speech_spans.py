"""The spans of one request: given ones, detected speech, or spans of fixed length."""

from __future__ import annotations

from collections.abc import Callable

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import MediaError
from fv2es_prep.media.probe import duration_s
from fv2es_train.predict.modalities import FailedMedia
from fv2es_train.predict.outputs import AUDIO, VIDEO
from fv2es_train.predict.request import Request, Span, named
from fv2es_train.predict.spans import fixed_spans, with_lines
from fv2es_train.predict.speech import WINDOW_S, cut_speech, detect_speech


def find_spans(
    request: Request, media: MediaSettings, failed: FailedMedia, on_note: Callable[[str], None]
) -> tuple[Span, ...]:
    """The spans to score, in order of time, each with a name and a view.

    Args:
        request: the request.
        media: limits of decoding.
        failed: updated if audio or video fails to decode.
        on_note: called with a sentence on what is missing.

    Raises:
        MediaError: there is neither video nor audio.
        UtteranceError: the audio has no channel of that number.
    """
    spans = request.spans
    if spans is None:
        spans = _detected_spans(request, media, failed, on_note)
    if request.lines:
        spans, note = with_lines(named(spans, request.views), request.lines)
        on_note(note)
    return tuple(named(spans, request.views))


def _detected_spans(
    request: Request, media: MediaSettings, failed: FailedMedia, on_note: Callable[[str], None]
) -> tuple[Span, ...]:
    """The spans of detected speech; without speech spans of fixed length."""
    channels = list(dict.fromkeys(view.audio_channel for view in request.views))
    audio_s: float | None = None
    try:
        speech = detect_speech(request.sound or request.video, channels, media)
    except MediaError as error:
        failed[AUDIO] = error
        on_note(f"{error.sentence.rstrip('.')}: the video alone is scored")
    else:
        audio_s = speech.length_s
        own = map(speech.without_cross_talk, range(len(channels)))
        cut = dict(
            zip(channels, (cut_speech(one, WINDOW_S, request.rules) for one in own), strict=True)
        )
        found = [
            Span(start_s, min(end_s, audio_s), view=view)
            for view in request.views
            for start_s, end_s in cut[view.audio_channel]
            if start_s < audio_s
        ]
        if found:
            return tuple(found)
    length_s = _length_s(request, media, audio_s, failed, on_note)
    if audio_s is not None:
        on_note(f"no speech was detected: spans of {request.rules.fixed_s:g} s are scored")
    spans = fixed_spans(length_s, request.rules)
    return tuple(Span(a, b, view=view) for a, b in spans for view in request.views)


def _length_s(
    request: Request,
    media: MediaSettings,
    audio_s: float | None,
    failed: FailedMedia,
    on_note: Callable[[str], None],
) -> float:
    """The length of the video in seconds; that of the audio if the video fails to decode."""
    try:
        # Without a length in its header the whole file is read.
        return max(duration_s(request.video, media), audio_s or 0)
    except MediaError as error:
        failed[VIDEO] = error
        if audio_s is None:
            raise
        on_note(f"{error.sentence.rstrip('.')}: the audio alone is scored")
        return audio_s
