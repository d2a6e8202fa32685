"""Which spans of a video are scored, and which words belong to each.

Owns files of spans, cutting speech by its probability, and giving words to spans. Leaves finding
speech to `speech` and transcripts to `subtitles`.
"""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.errors import UsageError
from fv2es_train.predict.request import Span, SpanRules, parse_view
from fv2es_train.predict.subtitles import read_text

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Speech begins where its probability is above the first and goes on until it is below the second:
# silero's own values.
_SPEAKS, _SILENT = 0.5, 0.35
# Windows over which the probability is averaged where speech has to be cut.
_SMOOTH = 5
_FORM = "start_s, end_s and, where wanted, text, id and view"


def read_spans(path: Path) -> tuple[Span, ...]:
    """The spans in a JSON or CSV file.

    JSON is a list of objects, or an object that holds one under ``spans`` or ``utterances`` (so
    that what ``--json`` wrote can be read); CSV has a header. The names are ``start_s``, ``end_s``
    and, where wanted, ``text``, ``id`` and ``view``; empty words count as not known.

    Raises:
        UsageError: it cannot be read or understood; the first bad entry is named.
    """
    return parse_spans(read_text(path), str(path))


def parse_spans(text: str, name: str = "the list of spans") -> tuple[Span, ...]:
    """The spans in a text, see `read_spans`.

    Args:
        text: the content.
        name: of the file, for messages.

    Raises:
        UsageError: it cannot be understood; the first bad entry is named.
    """
    try:
        rows = _json_rows(text, name) if text.lstrip()[:1] in ("[", "{") else _csv_rows(text)
    except csv.Error as error:
        raise UsageError(f"{name} is no CSV: {error}", f"give each span {_FORM}") from error
    if not rows:
        raise UsageError(f"{name} holds no spans", f"give each span {_FORM}")
    return tuple(_span(row, number, name) for number, row in enumerate(rows, 1))


def _json_rows(text: str, name: str) -> list[Any]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{name} is no JSON: {error}", f"give each span {_FORM}") from error
    if isinstance(value, dict):
        value = value.get("spans", value.get("utterances"))
    if not isinstance(value, list):
        raise UsageError(f"{name} holds no list of spans", f"give each span {_FORM}")
    return value


def _csv_rows(text: str) -> list[Any]:
    return list(csv.DictReader(text.splitlines()))


def _span(row: Any, number: int, name: str) -> Span:
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
        raise UsageError(
            f"span {number} of {name} cannot be understood: {error!r}", f"give each span {_FORM}"
        ) from error
    except UsageError as error:
        raise UsageError(f"span {number} of {name}: {error.sentence}", error.hint) from error


def speech_spans(
    probability: NDArray[np.float32], window_s: float, rules: SpanRules
) -> list[tuple[float, float]]:
    """Cut speech into utterances.

    Args:
        probability: float32 (W,), that there is speech in each window.
        window_s: length of a window in seconds.
        rules: what counts as an utterance.

    Returns:
        (start, end) in seconds, in order, without overlap and within the W windows.
    """
    pieces: list[tuple[int, int]] = []
    most = int(rules.longest_s / window_s)
    for begin, end in _runs(probability, rules.silence_s / window_s):
        if (end - begin) * window_s >= rules.shortest_s:
            pieces += _cut(probability, begin, end, most)
    spans: list[tuple[float, float]] = []
    limit_s = len(probability) * window_s
    for place, (begin, end) in enumerate(pieces):
        before_s = spans[-1][1] if spans else 0.0
        after_s = pieces[place + 1][0] * window_s if place + 1 < len(pieces) else limit_s
        start_s = max(begin * window_s - rules.pad_s, before_s)
        spans.append((round(start_s, 3), round(min(end * window_s + rules.pad_s, after_s), 3)))
    return spans


def _runs(probability: NDArray[np.float32], silence: float) -> list[tuple[int, int]]:
    """(first window, window after the last) of each stretch of speech."""
    runs: list[tuple[int, int]] = []
    begin, last = -1, -1
    for window, value in enumerate(probability.tolist()):
        if begin < 0 and value >= _SPEAKS:
            begin, last = window, window
        elif begin >= 0 and value >= _SILENT:
            last = window
        elif begin >= 0 and window - last > silence:
            runs.append((begin, last + 1))
            begin = -1
    return [*runs, (begin, last + 1)] if begin >= 0 else runs


def _cut(
    probability: NDArray[np.float32], begin: int, end: int, most: int
) -> list[tuple[int, int]]:
    """A stretch in parts of at most so many windows, cut where speech is least likely."""
    import numpy as np

    smooth = np.convolve(probability, np.ones(_SMOOTH) / _SMOOTH, mode="same")
    parts = []
    while end - begin > most:
        middle = begin + max(most // 2, 1)
        at = middle + int(smooth[middle : begin + most + 1].argmin())
        parts.append((begin, at))
        begin = at
    return [*parts, (begin, end)]


def fixed_spans(length_s: float, rules: SpanRules) -> list[tuple[float, float]]:
    """Spans of fixed length over a whole video; a last one that is too short joins the one before.

    Args:
        length_s: of the video.
        rules: the length of a span, and the shortest one.
    """
    count = max(int(length_s // rules.fixed_s), 0)
    edges = [k * rules.fixed_s for k in range(count + 1)]
    if length_s - edges[-1] >= rules.shortest_s or count == 0:
        edges.append(length_s)
    else:
        edges[-1] = length_s
    return [(a, b) for a, b in itertools.pairwise(edges) if b > a]


def with_words(spans: Sequence[Span], cues: Sequence[Span]) -> tuple[Span, ...]:
    """Spans with the words of the cues whose middle lies in them.

    Args:
        spans: to be scored; words that a span has already stay.
        cues: words with times.
    """
    found = []
    for span in spans:
        inside = [
            cue.text or ""
            for cue in cues
            if span.start_s <= (cue.start_s + cue.end_s) / 2 < span.end_s
        ]
        words = " ".join(inside) or None
        found.append(span if span.text is not None else replace(span, text=words))
    return tuple(found)


def given_spans(spans: tuple[Span, ...] | None, cues: tuple[Span, ...]) -> tuple[Span, ...] | None:
    """What is scored where spans, words with times, both or neither are given.

    Args:
        spans: the spans that are asked for; None where none are.
        cues: words with times.

    Returns:
        The spans with their words, or the cues themselves; None: speech is to be looked for.
    """
    return (cues or None) if spans is None else with_words(spans, cues)


def with_lines(spans: Sequence[Span], lines: Sequence[str]) -> tuple[tuple[Span, ...], str]:
    """Spans with words that have no times, and a sentence on how they were given out.

    As many lines as spans: a line each. Else all the words are dealt out in order, to each span as
    many as its share of the time.
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
        "words were dealt out by length, which is a guess"
    )
