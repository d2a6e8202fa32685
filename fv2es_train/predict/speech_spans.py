"""The spans of one request: those that are given, those in which somebody speaks, or fixed ones.

Owns what is tried in which order, and telling what was missing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import MediaError
from fv2es_prep.media.probe import duration_s
from fv2es_train.predict.modalities import PICTURE, SOUND, Missing
from fv2es_train.predict.request import Request, Span, named
from fv2es_train.predict.spans import fixed_spans, speech_spans, with_lines
from fv2es_train.predict.speech import WINDOW_S, Heard, listen

Say = Callable[[str], None]


def find_spans(request: Request, media: MediaSettings, lost: Missing, say: Say) -> tuple[Span, ...]:
    """The spans that are scored, in order of time, each with a name and a view.

    Args:
        request: the video and what is asked of it.
        media: the limits.
        lost: what is found to be missing is added.
        say: called with a sentence for what was missing.

    Raises:
        MediaError: there is neither picture nor sound.
        UtteranceError: the sound has no channel of that number.
    """
    spans = request.spans if request.spans is not None else _found(request, media, lost, say)
    if request.lines:
        spans, told = with_lines(named(spans, request.views), request.lines)
        say(told)
    return tuple(named(spans, request.views))


def _found(request: Request, media: MediaSettings, lost: Missing, say: Say) -> tuple[Span, ...]:
    channels = list(dict.fromkeys(view.audio_channel for view in request.views))
    heard: Heard | None = None
    try:
        heard = listen(request.sound or request.video, channels, media)
    except MediaError as error:
        lost.add(SOUND, error)
        say(f"{error.sentence.rstrip('.')}: the picture alone is scored")
    if heard is not None:
        own = map(heard.of_own, range(len(channels)))
        cut = [speech_spans(values, WINDOW_S, request.rules) for values in own]
        at = {channel: place for place, channel in enumerate(channels)}
        found = [
            Span(start_s, min(end_s, heard.length_s), view=view)
            for view in request.views
            for start_s, end_s in cut[at[view.audio_channel]]
            if start_s < heard.length_s
        ]
        if found:
            return tuple(found)
    length_s = _length_s(request, media, heard, lost, say)
    if heard is not None:
        say(f"nobody was heard to speak: spans of {request.rules.fixed_s:g} s are scored")
    spans = fixed_spans(length_s, request.rules)
    return tuple(replace(Span(a, b), view=view) for a, b in spans for view in request.views)


def _length_s(
    request: Request, media: MediaSettings, heard: Heard | None, lost: Missing, say: Say
) -> float:
    try:
        # A file that says nothing of its length is asked for that of its pictures.
        length_s = max(duration_s(request.video, media), heard.length_s if heard else 0)
    except MediaError as error:
        lost.add(PICTURE, error)
        if heard is None:
            raise
        say(f"{error.sentence.rstrip('.')}: the sound alone is scored")
        length_s = heard.length_s
    return length_s
