"""Inputs that are far from those of the training are known by a distance."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fv2es_prep.errors import TrainError
from fv2es_prep.types import Faces, MelSpectrum
from fv2es_train.models.familiarity import measure_familiarity, read_familiarity
from fv2es_train.models.run_files import FAMILIARITY
from tests.train.conftest import make_examples
from tests.train.test_missing import without


def test_the_same_kind_is_familiar_and_another_is_not() -> None:
    train, (other, *_) = make_examples(120), make_examples(6, seed=9)
    found = measure_familiarity(train)
    new = [found.score(example) for example in make_examples(60, seed=1)]
    assert max(max(scores.values()) for scores in new) < 1
    quiet = other.replace(mel=MelSpectrum(other.mel.log_power - np.float16(12), 0.0125))
    assert found.score(quiet)["a"] > 1 > found.score(quiet)["v"]
    white = Faces(**{**vars(other.faces), "rgb": np.full_like(other.faces.rgb, 255)})
    assert found.score(other.replace(faces=white))["v"] > 1


def test_a_missing_modality_has_no_distance() -> None:
    found = measure_familiarity(without(example, "v") for example in make_examples(6))
    assert set(found.limit) == {"a"}
    assert set(found.score(make_examples(1)[0])) == {"a"}


def test_a_run_has_its_statistics_and_an_old_one_has_none(run: Path, tmp_path: Path) -> None:
    found = read_familiarity(run)
    assert found is not None and set(found.limit) == {"a", "v"}
    assert read_familiarity(tmp_path) is None
    (tmp_path / FAMILIARITY).write_text("{")
    with pytest.raises(TrainError, match=r"familiarity\.json cannot be read"):
        read_familiarity(tmp_path)
