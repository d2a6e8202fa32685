"""Spans, transcripts and subtitles: what is written comes back, and speech is cut by its rules."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fv2es_prep.errors import UsageError
from fv2es_prep.types import View
from fv2es_train.predict.request import Span, SpanRules, describe_view, named, parse_view
from fv2es_train.predict.spans import (
    fixed_spans,
    read_spans,
    with_cues,
    with_lines,
)
from fv2es_train.predict.speech import cut_speech
from fv2es_train.predict.subtitles import parse_transcript, read_transcript, write_srt

WORDS = st.lists(st.from_regex(r"[A-Za-zäß',.!?]{1,9}", fullmatch=True), min_size=1, max_size=6)
TIMES = st.integers(0, 3_600_000 * 5)
CUES = st.lists(st.tuples(TIMES, st.integers(1, 90_000), WORDS), min_size=1, max_size=8)


@given(CUES)
def test_subtitles_come_back(cues: list[tuple[int, int, list[str]]]) -> None:
    made = [(ms / 1000, (ms + long) / 1000, " ".join(words)) for ms, long, words in cues]
    made.sort(key=lambda cue: cue[0])
    for text in ("".join(write_srt(made)), _vtt(made)):
        found = parse_transcript(text).spans
        assert [span.text for span in found] == [cue[2] for cue in made]
        times = [(span.start_s, span.end_s) for span in found]
        np.testing.assert_allclose(times, [cue[:2] for cue in made], atol=1e-9)


def _vtt(cues: list[tuple[float, float, str]]) -> str:
    blocks = "".join(write_srt(cues)).replace("\r", "")
    lines = [
        line.replace(",", ".") + " align:start" if "-->" in line else line
        for line in blocks.split("\n")
    ]
    return "WEBVTT - a title\n\nNOTE a note\n\n" + "\n".join(lines)


def test_tags_and_entities_are_no_words() -> None:
    text = "1\n00:01,5 --> 00:02,25\n{\\an8}<i>Tom &amp; Ann</i>\nsay no\n"
    (span,) = parse_transcript(text).spans
    assert (span.start_s, span.end_s, span.text) == (1.5, 2.25, "Tom & Ann say no")


def test_iemocap_lines_have_ids_and_others_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "t.txt"
    path.write_bytes(b"Ses01F_x_M000 [002.5000-004.0000]: No: never.\r\nM: Yeah.\r\n")
    (span,) = read_transcript(path).spans
    assert span == Span(2.5, 4.0, "No: never.", "Ses01F_x_M000")


def test_plain_words_have_no_times() -> None:
    found = parse_transcript("One line.\n\nAnd: another [1]\n")
    assert (found.spans, found.lines) == ((), ("One line.", "And: another [1]"))


@pytest.mark.parametrize("text", ["", "\n \n", "WEBVTT"])
def test_no_words_are_an_error_or_plain(text: str) -> None:
    if text.strip():
        assert parse_transcript(text).lines == ("WEBVTT",)
    else:
        with pytest.raises(UsageError, match="no words"):
            parse_transcript(text)


def test_lines_go_to_their_utterances_and_words_are_dealt_by_length() -> None:
    spans = (Span(0, 1), Span(1, 4))
    each, told = with_lines(spans, ["a b", "c"])
    assert [span.text for span in each] == ["a b", "c"] and "one line" in told
    dealt, told = with_lines(spans, ["a b c d e f g h"])
    assert [span.text for span in dealt] == ["a b", "c d e f g h"] and "guess" in told


def test_a_span_gets_the_cues_whose_middle_is_in_it() -> None:
    cues = [Span(0, 1, "one"), Span(1, 2.2, "two"), Span(2.1, 3, "three")]
    spans = [Span(0, 2), Span(2, 3), Span(5, 6), Span(0, 3, "own")]
    assert [s.text for s in with_cues(spans, cues)] == ["one two", "three", None, "own"]


def test_spans_are_read_from_json_and_csv(tmp_path: Path) -> None:
    expected = (Span(0.5, 2, "hi", "u1", View("left", 224, 0)), Span(3, 4))
    rows = [
        {"start_s": 0.5, "end_s": 2, "text": "hi", "id": "u1", "view": "left:224:0"},
        {"start_s": 3, "end_s": 4},
    ]
    path = tmp_path / "spans"
    for text in (
        json.dumps(rows),
        json.dumps({"utterances": rows}),
        "start_s,end_s,text,id,view\n0.5,2,hi,u1,left:224:0\n3,4,,,\n",
    ):
        path.write_text(text)
        assert read_spans(path) == expected


@pytest.mark.parametrize(
    "text", ["[]", "{}", "start_s\n1\n", '[{"start_s": 2, "end_s": 1}]', "[1]"]
)
def test_bad_spans_are_named(text: str, tmp_path: Path) -> None:
    path = tmp_path / "spans"
    path.write_text(text)
    with pytest.raises(UsageError):
        read_spans(path)


@pytest.mark.parametrize("text", ["left", "full", "right:224", "left:0:1", "left:224:0"])
def test_a_view_comes_back(text: str) -> None:
    assert describe_view(parse_view(text)) == text


@pytest.mark.parametrize("text", ["", "middle", "left:", "left:2:3:4", "left:-1"])
def test_what_is_no_view_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="the view is"):
        parse_view(text)


@given(
    st.lists(st.floats(0, 1, width=32), max_size=400),
    st.floats(0.05, 0.6),
    st.floats(0.7, 4),
)
def test_speech_is_cut_by_its_rules(values: list[float], shortest: float, longest: float) -> None:
    rules = SpanRules(shortest, longest, silence_s=0.2, pad_s=0.05)
    found = cut_speech(np.array(values, np.float32), 0.032, rules)
    ends = [edge for span in found for edge in span]
    assert ends == sorted(ends)
    for start_s, end_s in found:
        assert 0 <= start_s < end_s <= len(values) * 0.032 + 1e-3
        assert end_s - start_s <= longest + 2 * rules.pad_s + 1e-3


def test_long_speech_is_cut_at_its_quietest_place() -> None:
    values = np.full(200, 0.9, np.float32)
    values[120:126] = 0.4
    found = cut_speech(values, 0.1, SpanRules(longest_s=15, pad_s=0))
    assert len(found) == 2 and 12.0 <= found[0][1] == found[1][0] <= 12.6


@given(st.floats(0.1, 100))
def test_fixed_spans_cover_a_video(length_s: float) -> None:
    found = fixed_spans(length_s, SpanRules())
    assert found[0][0] == 0 and found[-1][1] == pytest.approx(length_s)
    assert all(a[1] == b[0] for a, b in itertools.pairwise(found))
    assert all(0.1 <= b - a <= 5.5 for a, b in found)


def test_names_are_unique_and_spans_without_a_view_are_scored_in_each() -> None:
    views = (View("left"), View("right"))
    found = named([Span(2, 3, id="x"), Span(0, 1, id="x", view=views[0])], views)
    assert [(span.start_s, span.view) for span in found] == [
        (0, views[0]),
        (2, views[0]),
        (2, views[1]),
    ]
    assert len({span.id for span in found}) == 3
