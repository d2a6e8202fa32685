"""Marks of a person, and splits that leave out what is marked."""

from __future__ import annotations

import json

import pytest

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.review import add_review, excluded, read_review
from fv2es_prep.splits import SUBSETS
from fv2es_prep.splits.recipes import Rule, build_splits
from tests.prep.test_split_recipes import TABLE


def test_the_last_line_of_an_utterance_counts(tmp_path) -> None:
    path = tmp_path / "review.jsonl"
    add_review(path, "a", ["exclude", "label"], " too quiet\nand \u00e9\u2028! ")
    add_review(path, "b", ["exclude"])
    add_review(path, "b", [])
    add_review(path, "c", ["words"])
    found = read_review(path)
    assert list(found) == ["a", "c"]
    assert (
        found["a"].marks == ("label", "exclude")
        and found["a"].note == "too quiet\nand \u00e9\u2028!"
    )
    assert excluded(path) == {"a": "too quiet\nand \u00e9\u2028!"}
    assert path.read_text("utf-8").count("\n") == 4


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("{", "line 2 of"),
        ('{"id": "x", "marks": ["odd"]}', "unknown mark 'odd'"),
        ('{"marks": []}', "line 2 of"),
        ("\ufffd", "line 2 of"),
    ],
)
def test_a_line_that_is_no_mark_is_named(tmp_path, line, said) -> None:
    path = tmp_path / "review.jsonl"
    add_review(path, "a", ["face"])
    path.write_text(path.read_text() + line + "\n")
    with pytest.raises(UsageError, match=said):
        read_review(path)
    with pytest.raises(UsageError, match="cannot be read"):
        read_review(tmp_path / "none.jsonl")


def test_a_mark_that_is_unknown_or_a_note_that_is_too_long_is_not_written(tmp_path) -> None:
    for marks, note in ((["odd"], ""), ([], "x" * 2001)):
        with pytest.raises(ValueError, match="unknown mark|note has"):
            add_review(tmp_path / "review.jsonl", "a", marks, note)
    assert not (tmp_path / "review.jsonl").exists()


@pytest.mark.parametrize("rule", [{}, {"recipe": "session"}, {"folds": 5}])
def test_a_split_leaves_out_what_is_excluded_and_moves_nothing_else(rule) -> None:
    gone = (*TABLE.ids.to_pylist()[3:9], "unknown")
    before = list(build_splits(TABLE, Rule(**rule)))
    after = list(build_splits(TABLE, Rule(**rule, exclude=gone)))
    for whole, less in zip(before, after, strict=True):
        for subset in SUBSETS:
            kept = tuple(name for name in whole.ids(subset) if name not in gone)
            assert less.ids(subset) == kept
        assert less.parameters["excluded"] == 6
        assert sum(map(len, map(less.ids, SUBSETS))) == len(TABLE) - 6
        assert json.dumps(less.parameters)
