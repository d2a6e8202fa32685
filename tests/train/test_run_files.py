"""What lies in a run beside its checkpoints."""

from __future__ import annotations

from pathlib import Path

import pytest

from fv2es_prep.errors import TrainError
from fv2es_prep.splits import read_split
from fv2es_train.models.run_files import IDS, overlap, write_ids
from tests.train.conftest import Corpus


def test_a_run_knows_how_many_utterances_of_another_split_it_has_seen(
    corpus: Corpus, run: Path
) -> None:
    split = read_split(corpus.split)
    assert overlap(run, split.ids("test")) == {"train": 0, "valid": 0}
    mixed = (*split.ids("train")[:3], *split.ids("valid")[:2], *split.ids("test"), "unknown")
    assert overlap(run, mixed) == {"train": 3, "valid": 2}
    assert not any(name in (run / IDS).read_text() for name in mixed)


def test_a_run_of_an_earlier_version_does_not_know(tmp_path: Path) -> None:
    assert overlap(tmp_path, ["a"]) == {}


def test_damage_is_told(tmp_path: Path) -> None:
    write_ids(tmp_path, {"train": ["a"]})
    (tmp_path / IDS).write_text("[1")
    with pytest.raises(TrainError, match=r"ids\.json cannot be read"):
        overlap(tmp_path, ["a"])
