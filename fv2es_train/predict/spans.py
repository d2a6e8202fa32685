"""The spans of a video that are scored, and the text of each.

Owns files of spans, spans of fixed length, and assigning text to spans. `subtitles` reads
transcripts, `speech_spans` chooses the spans of a request.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from fv2es_prep.errors import UsageError
from fv2es_train.predict.predict_config import SpanRules
from fv2es_train.predict.request import Span, parse_view
from fv2es_train.predict.subtitles import read_text

_HINT = "each span needs start_s and end_s; text, id and view are optional"


def read_spans(path: Path) -> tuple[Span, ...]:
    """Read spans from a JSON or CSV file, see `parse_spans`.

    Raises:
        UsageError: the file is unreadable or invalid; names the first invalid entry.
    """
    return parse_spans(read_text(path), str(path))


def parse_spans(text: str, name: str = "the list of spans") -> tuple[Span, ...]:
    """Parse spans.

    JSON is a list of objects, or an object with such a list under ``spans`` or ``utterances``, as
    ``--json`` writes it; CSV has a header. The names are ``start_s``, ``end_s`` and optionally
    ``text`` (empty: unknown), ``id`` and ``view``.

    Args:
        text: JSON or CSV.
        name: name of the file in messages.

    Raises:
        UsageError: the text is invalid; names the first invalid entry.
    """
    try:
        is_json = text.lstrip()[:1] in ("[", "{")
        rows = _json_rows(text) if is_json else list(csv.DictReader(text.splitlines()))
    except csv.Error as error:
        raise UsageError(f"{name} is no CSV: {error}", _HINT) from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is no JSON: {error}", _HINT) from error
    if not isinstance(rows, list) or not rows:
        raise UsageError(f"{name} contains no list of spans", _HINT)
    return tuple(_span(row, f"span {number} of {name}") for number, row in enumerate(rows, 1))


def _json_rows(text: str) -> Any:
    value = json.loads(text)
    return value.get("spans", value.get("utterances")) if isinstance(value, dict) else value


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
    """Spans of fixed length over a whole video; a last one that is too short joins the one before.

    Args:
        length_s: length of the video in seconds.
        rules: the length of a span, and the shortest one.
    """
    count = max(int(length_s // rules.fixed_s), 0)
    edges = [k * rules.fixed_s for k in range(count + 1)]
    if length_s - edges[-1] >= rules.shortest_s or count == 0:
        edges.append(length_s)
    else:
        edges[-1] = length_s
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def with_cues(spans: Sequence[Span], cues: Sequence[Span]) -> tuple[Span, ...]:
    """Spans with the text of the cues whose middle lies in them.

    Args:
        spans: spans to score; a span with text keeps it.
        cues: text with times.
    """

    def text_of(span: Span) -> str | None:
        middles = ((cue, (cue.start_s + cue.end_s) / 2) for cue in cues)
        inside = [cue.text or "" for cue, at in middles if span.start_s <= at < span.end_s]
        return " ".join(inside) or None

    return tuple(
        span if span.text is not None else replace(span, text=text_of(span)) for span in spans
    )


def given_spans(spans: tuple[Span, ...] | None, cues: tuple[Span, ...]) -> tuple[Span, ...] | None:
    """The spans of a request for which spans, text with times, both or neither are given.

    Args:
        spans: the given spans, or None.
        cues: text with times.

    Returns:
        The spans with their text, or the cues themselves; None if speech is to be detected.
    """
    return (cues or None) if spans is None else with_cues(spans, cues)


def with_lines(spans: Sequence[Span], lines: Sequence[str]) -> tuple[tuple[Span, ...], str]:
    """Assign text without times to spans; also returns a note on how.

    If there are as many lines as spans, each span gets its line. Otherwise each span gets a share
    of all words in proportion to its length.
    """
    if len(lines) == len(spans):
        each = [replace(span, text=line) for span, line in zip(spans, lines, strict=True)]
        return tuple(each), "the transcript has no times: each utterance got its line"
    words, done_s, begin = " ".join(lines).split(), 0.0, 0
    total_s = sum(span.duration_s for span in spans)
    dealt = []
    for span in spans:
        done_s += span.duration_s
        end = round(len(words) * done_s / total_s)
        dealt.append(replace(span, text=" ".join(words[begin:end]) or None))
        begin = end
    return tuple(dealt), (
        f"the transcript has no times, and {len(lines)} lines for {len(spans)} utterances: its "
        "words were assigned by length, which is a guess"
    )
