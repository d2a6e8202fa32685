"""The spans of a video to score (given, detected or of fixed length), and their text."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import MediaError, UsageError
from fv2es_prep.media.probe import announced_s, duration_s
from fv2es_prep.utils.csv_text import plain
from fv2es_train.predict.outputs import AUDIO, VIDEO, FailedMedia
from fv2es_train.predict.request import Request, Span, SpanRules, named, parse_view
from fv2es_train.predict.speech import WINDOW_S, cut_speech, detect_speech
from fv2es_train.predict.subtitles import read_text

_HINT = "give each span start_s and end_s; text, id and view are optional"


def read_spans(path: Path) -> tuple[Span, ...]:
    """Read spans from a JSON or CSV file, see `parse_spans`."""
    return parse_spans(read_text(path), str(path))


def parse_spans(text: str, name: str = "the list of spans") -> tuple[Span, ...]:
    """Parse spans.

    JSON is a list of objects, or an object with such a list under ``spans`` or ``utterances``, as
    ``--json`` writes it; CSV has a header. The names are ``start_s``, ``end_s`` and optionally
    ``text`` (empty: unknown), ``id`` and ``view``.

    Raises:
        UsageError: the text is invalid; names the file and the first invalid entry.
    """
    try:
        is_json = text.lstrip()[:1] in ("[", "{")
        rows = _json_rows(text) if is_json else _csv_rows(text)
    except csv.Error as error:
        raise UsageError(f"{name} is not CSV: {error}", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is not JSON: {error}", _HINT) from error
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{name} contains no list of spans", _HINT)
    return tuple(_span(row, f"span {number} of {name}") for number, row in enumerate(rows, 1))


def _json_rows(text: str) -> Any:
    value = json.loads(text)
    return value.get("spans", value.get("utterances")) if isinstance(value, dict) else value


def _csv_rows(text: str) -> list[dict[str, str]]:
    """Rows as ``predict --csv`` writes them; cells beyond the header are left out."""
    rows = csv.DictReader(text.splitlines())
    return [{k: plain(v or "") for k, v in row.items() if k is not None} for row in rows]


def _span(row: Any, name: str) -> Span:
    try:
        view = row.get("view")
        return Span(
            float(row["start_s"]),
            float(row["end_s"]),
            str(row.get("text") or "") or None,
            str(row.get("id") or ""),
            parse_view(view) if view else None,
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{name} is invalid: {error!r}", _HINT) from error
    except UsageError as error:
        raise UsageError(f"{name}: {error.sentence}", error.hint) from error


def fixed_spans(length_s: float, rules: SpanRules) -> list[tuple[float, float]]:
    """Spans of fixed length over a whole video; one too short at the end joins the one before."""
    count = max(int(length_s // rules.fixed_s), 0)
    edges = [k * rules.fixed_s for k in range(count + 1)]
    if length_s - edges[-1] >= rules.shortest_s or count == 0:
        edges.append(length_s)
    else:
        edges[-1] = length_s
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def with_cues(spans: Sequence[Span], cues: Sequence[Span]) -> tuple[Span, ...]:
    """Give each span the text of the cues whose middle lies in it; a span with text keeps it."""

    def text_of(span: Span) -> str | None:
        middles = ((cue, (cue.start_s + cue.end_s) / 2) for cue in cues)
        inside = [cue.text or "" for cue, at in middles if span.start_s <= at < span.end_s]
        return " ".join(inside) or None

    return tuple(
        span if span.text is not None else replace(span, text=text_of(span)) for span in spans
    )


def given_spans(spans: tuple[Span, ...] | None, cues: tuple[Span, ...]) -> tuple[Span, ...] | None:
    """The given spans with their text, else the cues themselves; None to detect speech."""
    return (cues or None) if spans is None else with_cues(spans, cues)


def with_lines(spans: Sequence[Span], lines: Sequence[str]) -> tuple[tuple[Span, ...], str]:
    """Assign text without times to spans; also return a note on how.

    If there are as many lines as spans, each span gets its line. Otherwise each span gets a share
    of all words in proportion to its length.
    """
    if len(lines) == len(spans):
        each = [replace(span, text=line) for span, line in zip(spans, lines, strict=True)]
        return tuple(each), "the transcript has no times; each utterance gets one line"
    words, done_s, begin = " ".join(lines).split(), 0.0, 0
    total_s = sum(span.duration_s for span in spans)
    dealt = []
    for span in spans:
        done_s += span.duration_s
        end = round(len(words) * done_s / total_s)
        dealt.append(replace(span, text=" ".join(words[begin:end]) or None))
        begin = end
    return tuple(dealt), (
        f"the transcript has no times, but {len(lines)} lines for {len(spans)} utterances; its "
        "words are assigned by length, which is a guess"
    )


def find_spans(
    request: Request,
    media: MediaSettings,
    failed: FailedMedia,
    on_note: Callable[[str], None],
    pictures: bool = True,
) -> tuple[Span, ...]:
    """Find the spans to score, in order of time, each with a name and a view.

    Updates ``failed`` if audio or video fails to decode. With ``pictures``, spans after the end of
    the audio are scored, too.

    Raises:
        MediaError: the file has neither video nor audio.
        UtteranceError: the audio has no channel of that number.
    """
    spans = request.spans
    if spans is None:
        # Words without times are not assigned to spans without sound.
        unheard = pictures and not request.lines
        spans = _detected_spans(request, media, failed, on_note, unheard)
    if request.lines:
        spans, note = with_lines(named(spans, request.views), request.lines)
        on_note(note)
    return tuple(named(spans, request.views))


def _detected_spans(
    request: Request,
    media: MediaSettings,
    failed: FailedMedia,
    on_note: Callable[[str], None],
    unheard: bool,
) -> tuple[Span, ...]:
    """The spans of detected speech; spans of fixed length without speech."""
    channels = list(dict.fromkeys(view.audio_channel for view in request.views))
    audio_s: float | None = None
    try:
        speech = detect_speech(request.sound or request.video, channels, media)
    except MediaError as error:
        failed[AUDIO] = error
        on_note(f"{error.sentence.rstrip('.')}; only the video is scored")
    else:
        audio_s = speech.length_s
        cut = {
            channel: cut_speech(speech.without_cross_talk(place), WINDOW_S, request.rules)
            for place, channel in enumerate(channels)
        }
        found = [
            Span(start_s, min(end_s, audio_s), view=view)
            for view in request.views
            for start_s, end_s in cut[view.audio_channel]
            if start_s < audio_s
        ]
        if found:
            after = _after_sound(request, media, audio_s, on_note) if unheard else []
            return (*found, *after)
    try:
        # Without a length in the header, this reads the whole file.
        length_s = max(duration_s(request.video, media), audio_s or 0)
    except MediaError as error:
        failed[VIDEO] = error
        if audio_s is None:
            raise
        on_note(f"{error.sentence.rstrip('.')}; only the audio is scored")
        length_s = audio_s
    if audio_s is not None:
        on_note(f"no speech was detected; spans of {request.rules.fixed_s:g} s are scored")
    spans = fixed_spans(length_s, request.rules)
    return tuple(Span(a, b, view=view) for a, b in spans for view in request.views)


def _after_sound(
    request: Request, media: MediaSettings, audio_s: float, on_note: Callable[[str], None]
) -> list[Span]:
    """Spans of fixed length for pictures after the end of the audio."""
    try:
        rest_s = announced_s(request.video, "picture", media) - audio_s
    except MediaError:
        # The decoder will fail again, and report it.
        return []
    if rest_s < request.rules.shortest_s:
        return []
    on_note(f"the sound ends at {audio_s:g} s; after that only the picture is scored")
    spans = fixed_spans(rest_s, request.rules)
    return [Span(audio_s + a, audio_s + b, view=view) for a, b in spans for view in request.views]
