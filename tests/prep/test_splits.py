from __future__ import annotations

import json

import pytest

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.splits import SUBSETS, read_split, write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from tests.prep.catalogues import table_from


def make_catalogue(count: int = 100, sessions: int = 5, order: int = 1) -> Catalogue:
    """A catalogue without shards; ``order`` -1 turns it round."""
    rows = [
        {
            "id": f"utt{n:03d}",
            "recording": "rec",
            "speaker": "F",
            "session": f"Session{n % sessions + 1}",
            "text": "",
            "start": 0.0,
            "end": 0.0,
            "labels": (("ang", "neu")[n % 2],),
            "faces": n,
            "mel": n,
        }
        for n in list(range(count))[::order]
    ]
    return table_from(rows, ("ang", "neu"))


def test_random_takes_each_utterance_once_in_the_papers_shares():
    split = next(build_splits(make_catalogue(), Rule("random", seed=3)))
    assert [len(split.ids(subset)) for subset in SUBSETS] == [70, 10, 20]
    assert len({*split.train, *split.valid, *split.test}) == 100
    assert sum(split.class_counts["train"].values()) == 70


def test_random_depends_on_the_seed_alone_and_not_on_the_order_of_shards():
    first = next(build_splits(make_catalogue(), Rule("random", seed=3)))
    turned = next(build_splits(make_catalogue(order=-1), Rule("random", seed=3)))
    assert first.digest() == turned.digest()
    assert first.digest() != next(build_splits(make_catalogue(), Rule("random", seed=4))).digest()


@pytest.mark.parametrize("name", ["2", "Session2"])
def test_session_shares_no_session_between_subsets(name):
    catalogue = make_catalogue()
    split = next(build_splits(catalogue, Rule("session", test=name)))
    sessions = catalogue.sessions.at(range(len(catalogue)))
    session_of = dict(zip(catalogue.ids.to_pylist(), sessions, strict=True))
    held = {subset: {session_of[i] for i in split.ids(subset)} for subset in SUBSETS}
    assert held == {
        "train": {"Session3", "Session4", "Session5"},
        "valid": {"Session1"},
        "test": {"Session2"},
    }
    assert split.parameters == {"test_session": "Session2", "valid_session": "Session1"}


def test_what_cannot_be_split_is_refused():
    with pytest.raises(SplitError, match="unknown session '9'"):
        next(build_splits(make_catalogue(), Rule("session", test="9")))
    with pytest.raises(SplitError, match="2 session"):
        next(build_splits(make_catalogue(sessions=2), Rule("session")))
    with pytest.raises(SplitError, match="unknown recipe 'magic'"):
        next(build_splits(make_catalogue(), Rule("magic")))
    with pytest.raises(SplitError, match="valid subset of 3"):
        next(build_splits(make_catalogue(3), Rule()))


def test_a_manifest_comes_back_and_damage_is_told(tmp_path):
    split = next(build_splits(make_catalogue(), Rule()))
    path = tmp_path / "split.json"
    write_split(split, path)
    assert read_split(path) == split
    with pytest.raises(SplitError, match="unknown subset 'dev'"):
        split.ids("dev")
    value = json.loads(path.read_text())
    path.write_text(json.dumps({**value, "valid": value["train"][:1]}))
    with pytest.raises(SplitError, match="more than once"):
        read_split(path)
    path.write_text(json.dumps({**value, "format_version": "2.0"}))
    with pytest.raises(SplitError, match=r"2\.0"):
        read_split(path)
    path.write_text("{}")
    with pytest.raises(SplitError, match="not a split manifest"):
        read_split(path)
    with pytest.raises(SplitError, match="cannot read"):
        read_split(tmp_path / "nowhere.json")
