"""Lists of others are known again, and what is changed in them is named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fv2es_prep.errors import SplitError
from fv2es_prep.splits import SUBSETS, published, read_split, write_split
from fv2es_prep.splits.import_report import import_text, import_values
from fv2es_prep.splits.imported import import_lists
from fv2es_prep.splits.lists import read_lists
from fv2es_prep.splits.sketch import Sketch, differences, hash_of, likeness, sketch_of
from tests.prep.catalogues import CLASSES, dialogue_ids, dialogue_rows, table_from

ROOT = Path(__file__).parents[2]
LISTS = ROOT.parent / "shared/data/splits"
needs_lists = pytest.mark.skipif(not LISTS.is_dir(), reason="the published lists are not here")

IDS = dialogue_ids()
ROWS = dialogue_rows(IDS)
TABLE = table_from(ROWS, CLASSES)


def write_lists(place: Path, lists: dict[str, list[str]], end: str = "\n") -> Path:
    place.mkdir(exist_ok=True)
    for subset, ids in lists.items():
        (place / f"{subset}_split.txt").write_bytes((end.join(ids) + end).encode())
    return place


@pytest.fixture
def lists() -> dict[str, list[str]]:
    return {"train": IDS[: -len(IDS) // 3], "valid": IDS[-200:-100], "test": IDS[-100:]}


@pytest.fixture
def known(lists, monkeypatch) -> published.Published:
    """The lists of this file, as if they had been published."""
    subsets = {s: Sketch.from_json(sketch_of(ids).to_json()) for s, ids in lists.items()}
    split = published.Published("ours", "Ours", "here", "MIT", "utterance", subsets)
    monkeypatch.setattr(published, "published_splits", lambda: [split])
    return split


ids_strategy = st.sets(st.text("abc", min_size=1, max_size=4), max_size=40)


@settings(max_examples=60, deadline=None)
@given(ids_strategy, ids_strategy)
def test_differences_of_sketches_are_those_of_the_lists(ours, theirs):
    found = differences(sketch_of(ours), sketch_of(theirs))
    if found is not None:
        assert found == (set(map(hash_of, ours - theirs)), set(map(hash_of, theirs - ours)))
    # Up to half as many as there are cells are always told.
    assert found is not None or len(ours ^ theirs) > 48


def test_likeness_is_an_estimate():
    ours, theirs = ([f"u{n}" for n in span] for span in (range(3000), range(1000, 4000)))
    assert likeness(sketch_of(ours), sketch_of(theirs)) == pytest.approx(0.5, abs=0.2)
    assert differences(sketch_of(ours), sketch_of(theirs)) is None
    assert likeness(sketch_of(ours), sketch_of(ours)) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", " \n"])
def test_lists_are_known_again_however_lines_end(lists, known, tmp_path, end):
    place = write_lists(tmp_path / "lists", lists, end)
    path = place / "train_split.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    imported = import_lists(read_lists([place]), TABLE)
    assert imported.recognised is not None
    assert imported.recognised.exact
    assert imported.unit == "utterance"
    assert imported.split is not None
    # In the order of the list: what was published stays as it was.
    assert {s: list(imported.split.ids(s)) for s in SUBSETS} == lists
    assert "exactly" in import_text(imported)
    write_split(imported.split, tmp_path / "s.json")
    assert read_split(tmp_path / "s.json").parameters["published"] == "ours"


def test_a_changed_line_is_named(lists, known, tmp_path):
    gone = lists["train"][7]
    lists["train"][7] = "Ses01F_impro99_F999"
    imported = import_lists(read_lists([write_lists(tmp_path, lists)]), TABLE)
    change = imported.recognised.changes["train"]
    assert change.added == ("Ses01F_impro99_F999",)
    assert change.lacking == (gone,)  # the shards know it
    assert imported.not_in_shards["train"] == ("Ses01F_impro99_F999",)
    text = import_text(imported)
    assert "but changed" in text and "Ses01F_impro99_F999" in text and gone in text
    values = import_values(imported)
    assert not values["exact"] and values["likeness"] > 0.99
    json.dumps(values)
    alone = import_lists(read_lists([tmp_path]), None)
    assert alone.recognised.changes["train"].unnamed == 1


def test_a_line_that_moved_is_named_on_both_sides(lists, known, tmp_path):
    moved = lists["test"].pop()
    lists["train"].append(moved)
    found = import_lists(read_lists([write_lists(tmp_path, lists)]), None).recognised
    assert found.changes["train"].added == found.changes["test"].lacking == (moved,)


def test_lists_of_something_else_are_none_of_them(tmp_path):
    lists = {subset: [f"{subset}{n}" for n in range(50)] for subset in SUBSETS}
    imported = import_lists(read_lists([write_lists(tmp_path, lists)]), None)
    assert imported.recognised is None
    assert "none of the published" in import_text(imported)
    assert len(imported.split.train) == 50
    with pytest.raises(SplitError, match="none of the ids"):
        import_lists(read_lists([tmp_path]), TABLE)


def test_recordings_become_all_their_utterances(tmp_path):
    names = sorted({row["recording"] for row in ROWS})
    lists = {"train": [*names[4:], "gone"], "valid": names[2:4], "test": names[:2]}
    imported = import_lists(read_lists([write_lists(tmp_path, lists)]), TABLE)
    assert imported.unit == "recording"
    of = {row["id"]: row["recording"] for row in ROWS}
    assert {of[name] for name in imported.split.test} == set(names[:2])
    assert sum(len(imported.split.ids(s)) for s in SUBSETS) == len(ROWS)
    assert imported.not_in_shards["train"] == ("gone",)


def test_repeats_are_told_and_an_id_stays_in_one_subset(lists, tmp_path):
    lists["train"] += [lists["train"][0], lists["test"][0]]
    read = read_lists([write_lists(tmp_path, lists)])
    assert read.repeated == (lists["train"][0],)
    assert read.shared == (lists["test"][0],)
    assert lists["test"][0] not in read.ids["train"]
    text = import_text(import_lists(read, TABLE))
    assert "in one list twice" in text and "in two lists" in text


def test_three_files_are_told_apart_or_taken_in_order(lists, tmp_path):
    write_lists(tmp_path, lists)
    paths = [tmp_path / f"{subset}_split.txt" for subset in ("test", "train", "valid")]
    assert read_lists(paths).ids == lists
    others = [path.rename(tmp_path / f"{n}.txt") for n, path in enumerate(paths)]
    assert read_lists([others[1], others[2], others[0]]).ids == lists
    with pytest.raises(SplitError, match="no three lists"):
        read_lists([tmp_path])
    others[0].write_text("\n")
    with pytest.raises(SplitError, match="holds no ids"):
        read_lists(others)
    with pytest.raises(SplitError, match="cannot read"):
        read_lists([tmp_path / "a", tmp_path / "b", tmp_path / "c"])


def test_what_is_committed_has_facts_and_no_lists():
    splits = {split.name: split for split in published.published_splits()}
    counts = {name: [split.subsets[s].count for s in SUBSETS] for name, split in splits.items()}
    assert counts == {
        "iemocap-mme2e": [5162, 737, 1481],
        "mosei-mme2e": [14524, 1765, 4188],
        "mosei-cmu": [2249, 300, 678],
    }
    text = published.facts_file("published.json").read_text()
    assert "Ses0" not in text and len(text) < 40_000


@needs_lists
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("iemocap_mme2e", "iemocap-mme2e"),
        ("mosei_mme2e", "mosei-mme2e"),
        ("mosei_cmu", "mosei-cmu"),
    ],
)
def test_the_published_lists_are_known_and_a_changed_line_is_named(folder, name, tmp_path):
    found = import_lists(read_lists([LISTS / folder]), None).recognised
    assert found.exact
    assert found.published.name == name
    changed = read_lists([LISTS / folder]).ids
    changed["valid"][3] = "another"
    found = import_lists(read_lists([write_lists(tmp_path, changed)]), None).recognised
    assert found.published.name == name
    assert found.changes["valid"].added == ("another",)
    assert list(found.changes) == ["valid"]
