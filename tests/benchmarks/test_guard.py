"""The guard tells each value that changed, and only those."""

from __future__ import annotations

from pathlib import Path

import h5py

from benchmarks.guard import record as guard
from benchmarks.guard.compare import compare
from benchmarks.guard.digest import dataset_record, leaves


def test_a_changed_value_a_removed_one_and_an_added_column_are_told(shards: Path) -> None:
    before = dataset_record(shards)
    assert not compare(before, dataset_record(shards)).differs
    path = min(shards.glob("*.h5"))
    with h5py.File(path, "r+") as file:
        file["faces/values"][0, 0, 0, 0] ^= 1
        del file["mel/values"]
        file["extra"] = [1, 2]
        file.attrs["more"] = b"1"
        file.attrs["format_version"] = b"9.9"
    found = compare(before, dataset_record(shards))
    assert found.differs
    assert list(found.changed) == [f"{path.name}/faces/values"]
    assert found.removed == (f"{path.name}/mel/values",)
    assert found.added == (f"{path.name}/extra", f"{path.name}@more")
    assert list(found.noted) == [f"{path.name}@format_version"]
    assert "DIFFERENT" in found.text()


def test_numbers_may_be_given_a_tolerance_and_keys_ignored() -> None:
    one, two = {"a": 1.0, "b": "x", "c": None}, {"a": 1.0 + 1e-9, "b": "y", "c": None}
    assert set(compare(one, two).changed) == {"a", "b"}
    assert set(compare(one, two, tolerance=1e-6).changed) == {"b"}
    assert not compare(one, two, ["b"], 1e-6).differs


def test_clocks_and_sentences_are_no_values() -> None:
    value = {"seconds": 3, "a": [{"b": 1, "hint": "try"}], "c": [1, 2]}
    assert leaves(value, "x") == {"x.a.0.b": 1, "x.c": "[1, 2]"}


def test_the_fixtures_of_this_checkout_are_recorded_through_its_own_reader(
    tmp_path: Path,
) -> None:
    root = Path(guard.__file__).parents[2]
    tree = guard.Tree(root, tmp_path)
    found = guard._fixtures(tree)
    assert {"1.0/0.rgb", "1.0/batch.mel", "1.1/0.mel"} <= found.keys()
