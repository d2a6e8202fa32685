"""Published lists are recognised, and changed subsets are reported."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from fv2es_prep.errors import SplitError
from fv2es_prep.splits import SUBSETS, published, read_split, write_split
from fv2es_prep.splits.compare import diff_splits
from fv2es_prep.splits.imported import import_lists, import_text, read_lists, read_split_or_lists
from fv2es_prep.splits.published import list_digest
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
    digests = {subset: list_digest(ids) for subset, ids in lists.items()}
    counts = {subset: len(ids) for subset, ids in lists.items()}
    split = published.Published("ours", "Ours", "here", "MIT", "utterance", counts, digests)
    monkeypatch.setattr(published, "published_splits", lambda: [split])
    return split


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\n", " \n"])
def test_lists_are_known_again_however_lines_end(lists, known, tmp_path, end):
    place = write_lists(tmp_path / "lists", lists, end)
    path = place / "train_split.txt"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    imported = import_lists(read_lists([place]), TABLE)
    assert imported.published is known
    assert not imported.changed
    assert imported.unit == "utterance"
    assert imported.split is not None
    # In the order of the list: what was published stays as it was.
    assert {s: list(imported.split.ids(s)) for s in SUBSETS} == lists
    assert ", exact" in import_text(imported)
    write_split(imported.split, tmp_path / "s.json")
    assert read_split(tmp_path / "s.json").parameters["published"] == "ours"


def test_a_changed_subset_is_reported_and_diff_names_its_ids(lists, known, tmp_path):
    published_lists = write_lists(tmp_path / "published", lists)
    gone = lists["train"][7]
    lists["train"][7:8] = ["Ses01F_impro99_F999", "Ses01F_impro99_F998"]
    ours = write_lists(tmp_path / "ours", lists)
    imported = import_lists(read_lists([ours]), TABLE)
    count = known.counts["train"]
    changed = {"train": {"listed": count + 1, "published": count}}
    assert imported.published is known
    assert imported.changed == changed
    assert imported.not_in_shards["train"] == ["Ses01F_impro99_F999", "Ses01F_impro99_F998"]
    text = import_text(imported)
    assert f"{count + 1} ids, {count} published" in text
    assert "Ses01F_impro99_F999" in text and "splits diff" in text
    values = imported.to_json()
    assert (values["recognised"], values["exact"], values["changed"]) == ("ours", False, changed)
    assert imported.split.parameters["changed"] == changed
    json.dumps(values)
    moved = diff_splits(read_split_or_lists(ours), read_split_or_lists(published_lists))["moved"]
    named = {(way["from"], way["to"]): way["named"] for way in moved}
    assert named == {
        ("train", "none"): ["Ses01F_impro99_F998", "Ses01F_impro99_F999"],
        ("none", "train"): [gone],
    }


def test_unknown_lists_are_not_recognised(tmp_path):
    lists = {subset: [f"{subset}{n}" for n in range(50)] for subset in SUBSETS}
    imported = import_lists(read_lists([write_lists(tmp_path, lists)]), None)
    assert imported.published is None
    assert "no published split" in import_text(imported)
    assert len(imported.split.train) == 50
    with pytest.raises(SplitError, match="none of the listed ids"):
        import_lists(read_lists([tmp_path]), TABLE)


def test_recordings_become_all_their_utterances(tmp_path):
    names = sorted({row["recording"] for row in ROWS})
    lists = {"train": [*names[4:], "gone"], "valid": names[2:4], "test": names[:2]}
    imported = import_lists(read_lists([write_lists(tmp_path, lists)]), TABLE)
    assert imported.unit == "recording"
    of = {row["id"]: row["recording"] for row in ROWS}
    assert {of[name] for name in imported.split.test} == set(names[:2])
    assert sum(len(imported.split.ids(s)) for s in SUBSETS) == len(ROWS)
    assert imported.not_in_shards["train"] == ["gone"]


def test_repeats_are_told_and_an_id_stays_in_one_subset(lists, tmp_path):
    lists["train"] += [lists["train"][0], lists["test"][0]]
    read = read_lists([write_lists(tmp_path, lists)])
    assert read.repeated == [lists["train"][0]]
    assert read.shared == [lists["test"][0]]
    assert lists["test"][0] not in read.ids["train"]
    text = import_text(import_lists(read, TABLE))
    assert "twice in one list" in text and "in two lists" in text


def test_three_files_are_told_apart_or_taken_in_order(lists, tmp_path):
    write_lists(tmp_path, lists)
    paths = [tmp_path / f"{subset}_split.txt" for subset in ("test", "train", "valid")]
    assert read_lists(paths).ids == lists
    others = [path.rename(tmp_path / f"{n}.txt") for n, path in enumerate(paths)]
    assert read_lists([others[1], others[2], others[0]]).ids == lists
    with pytest.raises(SplitError, match="expected one train"):
        read_lists([tmp_path])
    others[0].write_text("\n")
    with pytest.raises(SplitError, match="is empty"):
        read_lists(others)
    with pytest.raises(SplitError, match="cannot read"):
        read_lists([tmp_path / "a", tmp_path / "b", tmp_path / "c"])


def test_what_is_committed_has_facts_and_no_lists():
    splits = {split.name: split for split in published.published_splits()}
    counts = {name: [split.counts[s] for s in SUBSETS] for name, split in splits.items()}
    assert counts == {
        "iemocap-mme2e": [5162, 737, 1481],
        "mosei-mme2e": [14524, 1765, 4188],
        "mosei-cmu": [2249, 300, 678],
    }
    text = published.metadata_file("published.json").read_text()
    assert "Ses0" not in text and len(text) < 4_000


@needs_lists
@pytest.mark.parametrize(
    ("folder", "name"),
    [
        ("iemocap_mme2e", "iemocap-mme2e"),
        ("mosei_mme2e", "mosei-mme2e"),
        ("mosei_cmu", "mosei-cmu"),
    ],
)
def test_the_published_lists_are_known_and_a_changed_subset_is_reported(folder, name, tmp_path):
    imported = import_lists(read_lists([LISTS / folder]), None)
    assert imported.published.name == name
    assert not imported.changed
    lists = read_lists([LISTS / folder]).ids
    lists["valid"][3] = "another"
    imported = import_lists(read_lists([write_lists(tmp_path, lists)]), None)
    assert imported.published.name == name
    assert list(imported.changed) == ["valid"]
