"""An audit counts what a slow, plain count by the same definitions counts."""

from __future__ import annotations

import unicodedata
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fv2es_prep.errors import SplitError
from fv2es_prep.splits.audit import (
    KINDS,
    PAIRS,
    Audit,
    audit_split,
    exceeded,
    parse_limits,
)
from fv2es_prep.splits.audit_page import audit_text, write_audit_page
from fv2es_prep.splits.imported import read_lists
from fv2es_prep.splits.manifest import SUBSETS, Split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.splits.transcripts import normalised
from tests.prep.catalogues import CLASSES, dialogue_ids, dialogue_rows, table_from

PUBLISHED = Path(__file__).parents[2].parent / "shared/data/splits"

Row = dict[str, Any]


def plain(text: str) -> str:
    kept = (c for c in text.lower() if unicodedata.category(c)[0] not in "PS")
    return " ".join("".join(kept).split())


def runs(text: str) -> set[bytes]:
    data = text.encode()
    return {data[i : i + 5] for i in range(len(data) - 4)}


def covered(row: Row, others: list[Row]) -> int:
    """Microseconds of a turn that others cover: each piece between two times is looked at."""
    begin, end = round(row["start"] * 1e6), round(row["end"] * 1e6)
    spans = [(round(o["start"] * 1e6), round(o["end"] * 1e6)) for o in others]
    times = sorted({begin, end, *(t for span in spans for t in span if begin < t < end)})
    return sum(b - a for a, b in pairwise(times) if any(s <= a and b <= e for s, e in spans))


def nothing_between(one: str, other: str) -> bool:
    """Turns in IEMOCAP's ids are numbered: a number that is lacking is a turn that is not here."""
    numbers = [int(name[-3:]) for name in (one, other) if name[-3:].isdigit()]
    return len(numbers) < 2 or abs(numbers[0] - numbers[1]) == 1


def slow(rows: list[Row], subset_of: dict[str, str], of: str, within: str) -> dict[str, Any]:
    """What one subset shares with another, row by row."""
    mine = [row for row in rows if subset_of.get(row["id"]) == of]
    theirs = [row for row in rows if subset_of.get(row["id"]) == within]
    turns = defaultdict(list)
    for row in rows:
        turns[row["recording"], row["speaker"]].append(row)
    beside: dict[str, list[Row]] = {}
    for lines in turns.values():
        lines.sort(key=lambda row: (row["start"], row["end"]))
        for i, row in enumerate(lines):
            near = lines[max(i - 1, 0) : i] + lines[i + 1 : i + 2]
            beside[row["id"]] = [other for other in near if nothing_between(row["id"], other["id"])]
    there = defaultdict(list)
    for row in theirs:
        there[row["recording"]].append(row)
    time = [covered(row, there[row["recording"]]) for row in mine]
    length = [round(row["end"] * 1e6) - round(row["start"] * 1e6) for row in mine]
    texts = {plain(row["text"]) for row in theirs} - {""}
    same = [plain(row["text"]) for row in mine if plain(row["text"]) in texts]
    return {
        **{
            kind: sum(row[key] in {t[key] for t in theirs} - {""} for row in mine)
            for kind, key in (
                ("speaker", "speaker"),
                ("session", "session"),
                ("recording", "recording"),
                ("audio", "mel"),
                ("faces", "faces"),
            )
        },
        "adjacent_turn": sum(
            any(subset_of.get(o["id"]) == within for o in beside[row["id"]]) for row in mine
        ),
        "time_overlap": sum(t > 0 for t in time),
        "seconds": sum(time) / 1e6,
        "half_covered": sum(2 * t >= n for t, n in zip(time, length, strict=True)),
        "mean_coverage": np.mean([t / n for t, n in zip(time, length, strict=True)] or [0]),
        "transcript": len(same),
        "five_words": sum(len(text.split()) >= 5 for text in same),
    }


def slow_near(rows: list[Row], subset_of: dict[str, str], of: str, within: str) -> set[str]:
    texts = {plain(r["text"]) for r in rows if subset_of.get(r["id"]) == within}
    theirs = [runs(text) for text in texts if len(text.split()) >= 5]
    near = set()
    for row in rows:
        text = plain(row["text"])
        if subset_of.get(row["id"]) == of and len(text.split()) >= 5 and text not in texts:
            mine = runs(text)
            if any(len(mine & other) >= 0.7 * len(mine | other) for other in theirs):
                near.add(row["id"])
    return near


def split_of(subset_of: dict[str, str]) -> Split:
    ids = {s: tuple(name for name, found in subset_of.items() if found == s) for s in SUBSETS}
    return Split("test", {}, ids["train"], ids["valid"], ids["test"], {})


def compare(audit: Audit, rows: list[Row], subset_of: dict[str, str]) -> None:
    for pair in audit.pairs:
        expected = slow(rows, subset_of, pair.of, pair.within)
        found = {shared.kind: shared for shared in pair.shared}
        assert list(found) == list(KINDS)
        got = {kind: found[kind].count for kind in KINDS if kind != "near_transcript"}
        assert got == {kind: expected[kind] for kind in got}, (pair.of, pair.within)
        detail = found["time_overlap"].detail
        assert detail["seconds"] == pytest.approx(expected["seconds"], abs=1e-9)
        assert detail["half_covered"] == expected["half_covered"]
        assert detail["mean_coverage"] == pytest.approx(expected["mean_coverage"], abs=1e-6)
        assert found["transcript"].detail["five_words"] == expected["five_words"]


def drawn(ids: list[str], seed: int = 0) -> dict[str, str]:
    subsets = np.random.default_rng(seed).choice(SUBSETS, len(ids), p=(0.7, 0.1, 0.2))
    return dict(zip(ids, map(str, subsets), strict=True))


def test_an_audit_is_a_slow_plain_count():
    rows = dialogue_rows(dialogue_ids())
    subset_of = drawn([row["id"] for row in rows[:-20]])
    audit = audit_split(table_from(rows, CLASSES), split_of(subset_of))
    compare(audit, rows, subset_of)
    assert audit.in_no_subset.count == 20
    shared = {s.kind: s for s in audit.pairs[1].shared}
    # The material has some of everything, else the comparison would say little.
    assert all(shared[kind].count for kind in KINDS)
    assert 0 < shared["time_overlap"].detail["half_covered"] < shared["time_overlap"].count
    sums = {c: sum(c in row["labels"] for row in rows[:-20]) for c in CLASSES}
    assert {c: sum(audit.classes[s][c] for s in SUBSETS) for c in CLASSES} == sums


def test_near_transcripts_are_true_and_hardly_one_is_missed():
    rows = dialogue_rows(dialogue_ids(40))
    subset_of = drawn([row["id"] for row in rows])
    audit = audit_split(table_from(rows, CLASSES), split_of(subset_of))
    for pair in audit.pairs:
        expected = len(slow_near(rows, subset_of, pair.of, pair.within))
        (found,) = (s.count for s in pair.shared if s.kind == "near_transcript")
        assert 0.9 * expected <= found <= expected
    assert expected


times = st.integers(0, 12).map(lambda n: n / 4)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from("ab"), st.sampled_from(["", "F", "M"]), times, times.filter(bool),
            st.sampled_from(["Yes!", "yes", "NO —", "", "a b c d e", "A b, c d e."]),
            st.sampled_from([*SUBSETS, ""]),
        ),
        max_size=12,
    )
)  # fmt: skip
def test_small_dialogues_are_counted_as_by_hand(turns):
    rows = [
        {
            "id": f"{i}u", "recording": recording, "speaker": speaker, "session": "1",
            "text": text, "start": start + i / 1000, "end": start + i / 1000 + length,
            "labels": (), "faces": i % 3, "mel": i % 5,
        }
        for i, (recording, speaker, start, length, text, _) in enumerate(turns)
    ]  # fmt: skip
    subset_of = {f"{i}u": turn[-1] for i, turn in enumerate(turns) if turn[-1]}
    compare(audit_split(table_from(rows, ()), split_of(subset_of)), rows, subset_of)


def test_a_session_disjoint_split_is_clean():
    table = table_from(dialogue_rows(dialogue_ids()), CLASSES)
    for split in build_splits(table, Rule("session", folds="all")):
        audit = audit_split(table, split)
        kinds = ("speaker", "session", "recording", "adjacent_turn", "time_overlap")
        assert not list(exceeded(audit, parse_limits(f"{kind}=0" for kind in kinds)))
    (random,) = build_splits(table, Rule())
    assert len(list(exceeded(audit_split(table, random), parse_limits(["recording=0"])))) == len(
        PAIRS
    )


def test_ids_that_do_not_fit_are_told():
    rows = dialogue_rows(dialogue_ids(2))
    names = [row["id"] for row in rows]
    split = Split("test", {}, (*names[:9], "gone"), (names[9], names[9]), (names[0],), {})
    audit = audit_split(table_from(rows, CLASSES), split)
    assert audit.not_in_shards["train"].named == ("gone",)
    assert audit.repeated.count == 2
    assert set(audit.repeated.named) == {names[0], names[9]}
    assert audit.in_no_subset.count == len(rows) - 10
    # The same utterance in two subsets shares everything with itself.
    assert all(s.count == 1 for s in audit.pairs[1].shared if s.kind in ("audio", "faces"))


def test_what_is_above_a_limit_is_said_and_shown(tmp_path):
    table = table_from(dialogue_rows(dialogue_ids()), CLASSES)
    audit = audit_split(table, next(build_splits(table, Rule())))
    sentences = list(exceeded(audit, parse_limits(["transcript=100%", "recording=50%"])))
    assert len(sentences) == 3
    assert "share the recording" in sentences[0]
    text = audit_text(audit, sentences)
    assert all(kind in text for kind in KINDS)
    write_audit_page(tmp_path / "a.html", "a <b>", audit, sentences)
    page = (tmp_path / "a.html").read_text()
    assert "a &lt;b&gt;" in page and "time_overlap" in page and "the limit is recording=50%" in page
    assert page.count("<svg") == 2 and "<h2>Shared</h2>" in page and "http" not in page
    for wrong in (
        "dialogue=0",
        "recording",
        "recording=x",
        "recording=-1",
        "recording=nan",
        "recording=inf",
    ):
        with pytest.raises(SplitError):
            parse_limits([wrong])


def test_nothing_is_known_of_speakers_that_have_no_name():
    rows = [{**row, "speaker": "", "id": row["id"] + "x"} for row in dialogue_rows(dialogue_ids(4))]
    subset_of = drawn([row["id"] for row in rows])
    audit = audit_split(table_from(rows, CLASSES), split_of(subset_of))
    (speaker,) = (s for s in audit.pairs[1].shared if s.kind == "speaker")
    assert (speaker.count, speaker.unknown) == (0, speaker.of)
    assert "unknown" in audit_text(audit, [])
    compare(audit, rows, subset_of)


def test_missing_faces_and_sound_are_not_shared():
    gone = {"a": "no_audio", "v": "no_video"}
    rows = [
        {**row, "faces": 0, "mel": 0, "missing": gone} for row in dialogue_rows(dialogue_ids(4))
    ]
    audit = audit_split(table_from(rows, CLASSES), split_of(drawn([row["id"] for row in rows])))
    shared = {s.kind: s for s in audit.pairs[1].shared}
    for kind in ("audio", "faces"):
        assert (shared[kind].count, shared[kind].unknown) == (0, shared[kind].of)


@given(st.lists(st.text(st.characters(max_codepoint=127)), min_size=1, max_size=20))
def test_ascii_is_normalised_as_all_text_is(texts):
    assert normalised(pa.array(texts, pa.large_string())).to_pylist() == [plain(t) for t in texts]


def test_texts_beyond_ascii_are_normalised_beside_the_others():
    texts = ["Über  – alles!", "", " A - b ", "«Ça va?»", "x\u00a0Y", "...", "last"]
    column = pa.array(["cut off", *texts], pa.large_string()).slice(1)
    assert normalised(column).to_pylist() == [plain(text) for text in texts]


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="the published lists are not here")
def test_the_published_split_of_iemocap_shares_every_dialogue():
    lists = read_lists([PUBLISHED / "iemocap_mme2e"]).ids
    subset_of = {name: subset for subset, ids in lists.items() for name in ids}
    rows = dialogue_rows(list(subset_of))
    audit = audit_split(table_from(rows, CLASSES), split_of(subset_of))
    compare(audit, rows, subset_of)
    found = {(p.of, p.within): {s.kind: s for s in p.shared} for p in audit.pairs}
    for kind in ("speaker", "session", "recording"):
        assert found["test", "train"][kind].count == 1481
        assert found["valid", "train"][kind].count == 737
    assert found["test", "train"]["adjacent_turn"].count == 1150


def test_numbers_that_do_not_count_turns_leave_the_order_of_start():
    names = [f"r_{time}" for time in (90, 4180, 9977, 12003)]
    material = zip(names, dialogue_rows(dialogue_ids(1)), strict=False)
    same = {"recording": "r", "speaker": "s"}
    rows = [{**row, "id": name, **same, "start": i} for i, (name, row) in enumerate(material)]
    split = split_of({names[0]: "train", names[1]: "test", names[3]: "test"})
    shared = {
        s.kind: s.count for s in audit_split(table_from(rows, CLASSES), split).pairs[1].shared
    }
    assert shared["adjacent_turn"] == 1
