from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fv2es_prep.errors import SplitError
from fv2es_prep.splits import SUBSETS, Split
from fv2es_prep.splits.compare import diff_splits, diff_text, split_stats, stats_text
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.splits.stratify import deal, deal_groups
from tests.prep.catalogues import CLASSES, dialogue_ids, dialogue_rows, table_from

ROWS = dialogue_rows(dialogue_ids())
TABLE = table_from(ROWS, CLASSES)
BY = {"recording_id": "recording", "speaker": "speaker", "session": "session"}


def held(split: Split, key: str) -> dict[str, set[str]]:
    of = {row["id"]: row[key] for row in ROWS}
    return {subset: {of[name] for name in split.ids(subset)} for subset in SUBSETS}


def once(split: Split) -> None:
    every = [name for subset in SUBSETS for name in split.ids(subset)]
    assert Counter(every) == Counter(row["id"] for row in ROWS)


@pytest.mark.parametrize("by", BY)
@pytest.mark.parametrize("stratify", [False, True])
def test_groups_stay_together(by, stratify):
    (split,) = build_splits(TABLE, Rule("group", by=by, stratify=stratify))
    once(split)
    found = held(split, BY[by])
    assert not (found["train"] & found["test"] or found["train"] & found["valid"])
    assert not found["valid"] & found["test"]
    assert split.parameters["by"] == by


def test_a_table_of_groups_of_ones_own(tmp_path):
    path = tmp_path / "groups.csv"
    lines = [f"{row['id']},{row['recording'][-2:]}" for row in ROWS]
    path.write_text("id,group\n" + "\n".join(lines[::-1]) + "\n")
    (split,) = build_splits(TABLE, Rule("group", table=path))
    found = [{name.split("_")[1][-2:] for name in split.ids(s)} for s in SUBSETS]
    assert not (found[0] & found[1] or found[0] & found[2] or found[1] & found[2])
    assert split.parameters["by"] == "groups.csv"
    for text, words in (
        ("id,group\n" + "\n".join(lines[1:]), "no group for 1"),
        ("id,group\n" + "\n".join([*lines, lines[0]]), "more than once"),
        ("name,group\nx,1\n", "cannot read"),
    ):
        path.write_text(text)
        with pytest.raises(SplitError, match=words):
            list(build_splits(TABLE, Rule("group", table=path)))


@pytest.mark.parametrize(
    "rule",
    [
        Rule(folds=5),
        Rule(folds=4, stratify=True),
        Rule("session", folds="all"),
        Rule("speaker", folds="all"),
        Rule("speaker", folds=4, stratify=True),
        Rule("group", by="recording_id", folds=7),
    ],
)
def test_folds_test_each_utterance_once(rule):
    splits = list(build_splits(TABLE, rule))
    for split in splits:
        once(split)
    tested = Counter(name for split in splits for name in split.test)
    assert tested == Counter(row["id"] for row in ROWS)
    # The part that is valid in a fold is the test of the fold before.
    assert all(b.valid == a.test for a, b in zip(splits[-1:] + splits[:-1], splits, strict=True))
    if rule.recipe in BY:
        for split in splits:
            found = held(split, rule.recipe)
            assert not found["test"] & (found["train"] | found["valid"])


def test_leaving_a_speaker_out():
    (split,) = build_splits(TABLE, Rule("speaker", test="Ses03F"))
    assert held(split, "speaker")["test"] == {"Ses03F"}
    assert split.parameters == {"test_speaker": "Ses03F", "valid_speaker": "Ses02M"}


def test_stratified_subsets_have_the_same_shares_of_each_class():
    (split,) = build_splits(TABLE, Rule(stratify=True))
    once(split)
    for name in CLASSES:
        counts = [split.class_counts[subset][name] for subset in SUBSETS]
        shares = np.array(counts) / sum(counts)
        np.testing.assert_allclose(shares, (0.7, 0.1, 0.2), atol=1.01 / sum(counts))


@settings(max_examples=50, deadline=None)
@given(st.lists(st.lists(st.booleans(), min_size=4, max_size=4), min_size=1, max_size=80))
def test_dealing_keeps_close_to_each_share(rows):
    label = np.array(rows, np.uint8)
    parts = deal(label, (0.5, 0.25, 0.25))
    kinds = len(np.unique(label, axis=0))
    for column in [*label.T, np.ones(len(label))]:
        counts = np.bincount(parts, weights=column, minlength=3)
        # Each kind of utterance is dealt in whole numbers: at most one is off for each.
        assert np.all(np.abs(counts - column.sum() * np.array([0.5, 0.25, 0.25])) <= kinds + 1)


def test_dealing_many_groups_reaches_each_share():
    rng = np.random.default_rng(1)
    codes = rng.integers(0, 9000, 40_000).astype(np.int32)
    label = rng.integers(0, 2, (40_000, 3)).astype(np.uint8)
    parts = deal_groups(codes, (0.7, 0.1, 0.2), 0, label)
    assert all(len(set(parts[codes == group])) == 1 for group in range(0, 9000, 500))
    columns = [np.ones(len(codes)), *label.T]
    shares = np.stack([np.bincount(parts, column) for column in columns], axis=1)
    np.testing.assert_allclose(
        shares / shares.sum(axis=0), np.outer((0.7, 0.1, 0.2), np.ones(4)), atol=1e-3
    )


@pytest.mark.parametrize("recipe", [Rule(), Rule("group"), Rule(stratify=True), Rule(folds=3)])
def test_no_recipe_depends_on_the_order_of_shards(recipe):
    turned = table_from(ROWS[::-1], CLASSES)
    assert [s.digest() for s in build_splits(TABLE, recipe)] == [
        s.digest() for s in build_splits(turned, recipe)
    ]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"recipe": "magic"}, "unknown recipe"),
        ({"shares": (0.5, 0.5)}, "invalid shares"),
        ({"shares": (0.5, 0.6, 0.2)}, "invalid shares"),
        ({"by": "speaker"}, "does not use groups"),
        ({"folds": 2}, "too few"),
        ({"folds": "some"}, "invalid number of folds"),
        ({"folds": "all"}, "no groups"),
        ({"recipe": "session", "test": "1", "folds": 3}, "conflicts"),
        ({"recipe": "session", "folds": 6}, "expected at least 6"),
        ({"recipe": "session", "stratify": True}, "cannot be stratified"),
        ({"recipe": "group", "by": "colour"}, "unknown group column"),
        ({"recipe": "speaker", "test": "Nobody"}, "unknown speaker"),
    ],
)
def test_what_cannot_be_is_refused(changes, words):
    with pytest.raises(SplitError, match=words):
        list(build_splits(TABLE, Rule(**changes)))


def test_unknown_speakers_are_no_group():
    table = table_from([{**row, "speaker": ""} for row in ROWS], CLASSES)
    with pytest.raises(SplitError, match="speaker of .* is unknown"):
        list(build_splits(table, Rule("speaker")))


def test_stats_and_diff_count():
    one, other = (next(build_splits(TABLE, Rule(seed=seed))) for seed in (0, 1))
    stats = split_stats(TABLE, one)
    for subset in SUBSETS:
        names = set(one.ids(subset))
        rows = [row for row in ROWS if row["id"] in names]
        told = stats["subsets"][subset]
        assert told["utterances"] == len(rows)
        assert told["speakers"] == len({row["speaker"] for row in rows})
        assert told["recordings"] == len({row["recording"] for row in rows})
        assert told["hours"] == round(sum(r["end"] - r["start"] for r in rows) / 3600, 4)
        assert told["classes"] == one.class_counts[subset]
    assert "hours" in stats_text(stats)
    found = diff_splits(one, other)
    moved = {(way["from"], way["to"]): way["count"] for way in found["moved"]}
    for a in SUBSETS:
        for b in SUBSETS:
            if a != b:
                assert moved.get((a, b), 0) == len({*one.ids(a)} & {*other.ids(b)})
    assert found["same"] == sum(len({*one.ids(s)} & {*other.ids(s)}) for s in SUBSETS)
    assert "train -> test" in diff_text(found)
    assert diff_splits(one, one) == {"equal": True, "same": len(ROWS), "moved": []}
    json.dumps(found)
