"""Inputs that are far from those of the training are known by a distance."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fv2es_prep.errors import TrainError
from fv2es_prep.types import Example, Faces, MelSpectrum
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


def test_values_that_do_not_go_together_are_unfamiliar() -> None:
    """In train the bands are loud or quiet together; here every other one is, within the range."""
    rng, example = np.random.default_rng(0), make_examples(1)[0]
    bands = example.mel.log_power.shape[1]

    def at(levels: Any) -> Example:
        rows = levels + rng.normal(0, 0.1, (20, bands))
        return example.replace(mel=MelSpectrum(rows.astype(np.float16), 0.0125))

    found = measure_familiarity(at(level) for level in rng.uniform(-8, -2, 100))
    assert max(found.score(at(level))["a"] for level in np.linspace(-8, -2, 20)) < 1
    assert found.score(at(np.where(np.arange(bands) % 2, -6.5, -3.5)))["a"] > 2


def test_few_or_equal_inputs_give_limits() -> None:
    one = make_examples(1)[0]
    assert measure_familiarity([one]).limit == {}
    assert max(measure_familiarity([one] * 4).score(one).values()) < 1


def test_pauses_hardly_count() -> None:
    """Spans of the corpus have pauses, and those that speech detection finds have none."""
    rng, example = np.random.default_rng(0), make_examples(1)[0]
    bands = example.mel.log_power.shape[1]

    def at(quiet: int) -> Example:
        spoken = rng.uniform(-6, -4, 60) + rng.uniform(-2, 2)
        level = np.r_[np.full(quiet, -14), spoken, np.full(quiet, -14)]
        rows = level[:, None] + rng.normal(0, 0.3, (len(level), bands))
        return example.replace(mel=MelSpectrum(rows.astype(np.float16), 0.0125))

    found = measure_familiarity(at(quiet) for quiet in rng.integers(20, 60, 60))
    assert max(found.score(at(0))["a"] for _ in range(20)) < 1


def test_a_missing_modality_has_no_distance() -> None:
    found = measure_familiarity(without(example, "v") for example in make_examples(6))
    assert set(found.limit) == {"a"}
    assert set(found.score(make_examples(1)[0])) == {"a"}


def test_a_run_has_its_statistics_and_an_old_one_has_none(run: Path, tmp_path: Path) -> None:
    found = read_familiarity(run)
    assert found is not None and set(found.limit) == {"a", "v"}
    assert read_familiarity(tmp_path) is None
    old = {name: vars(found)[name] for name in ("mean", "deviation", "limit")}
    (tmp_path / FAMILIARITY).write_text(json.dumps(old))
    assert read_familiarity(tmp_path) is None
    (tmp_path / FAMILIARITY).write_text("{")
    with pytest.raises(TrainError, match=r"familiarity\.json cannot be read"):
        read_familiarity(tmp_path)
