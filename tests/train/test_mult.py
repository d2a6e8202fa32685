"""The model `mult`: cross-modal attention over feature sequences."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import SettingsError
from fv2es_prep.types import Example
from fv2es_train.data.batches import rows_of
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.evaluate import evaluate
from fv2es_train.evaluation.inference import loader_of, run_model
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build
from fv2es_train.models.feature_config import MultConfig
from fv2es_train.models.mult import MulT
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import train_config
from tests.train.conftest import CLASSES, SETTINGS, Corpus, make_examples, write_shards

STAGES = ("mel", "tokens", "landmarks")
WITH_POINTS = replace(SETTINGS, require="", stages=("faces", "mel", "tokens", "landmarks"))
SMALL = MultConfig(
    features=STAGES, modalities="tav", label_classes=CLASSES, hidden=8, heads=2, layers=1
)
CPU = torch.device("cpu")


def with_points(example: Example, number: int) -> Example:
    rng = np.random.default_rng(number)
    points = rng.normal(24, 8, (len(example.faces.rgb), 5, 2)).astype(np.float32)
    points[0] = np.nan
    values = {**example, "landmarks": points}
    lacks = {}
    if number in (2, 3):
        values.pop("mel")
        lacks = {"a": "no_audio"}
    return Example(example.utterance, example.label, lacks, **values)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ShardDataset:
    """Text, sound and points; in the first picture no face was found; 2 and 3 have no sound."""
    examples = [with_points(example, n) for n, example in enumerate(make_examples(12))]
    place = tmp_path_factory.mktemp("mult")
    return ShardDataset(write_shards(place, examples, WITH_POINTS))


def made(dataset: ShardDataset, config: MultConfig = SMALL) -> MulT:
    torch.manual_seed(0)
    model = build(config, dataset.index.settings)
    assert isinstance(model, MulT)
    model.fit(dataset)
    return model.eval()


@pytest.mark.parametrize("letters", ["t", "v", "ta", "tav"])
def test_what_else_is_in_the_batch_changes_nothing(dataset: ShardDataset, letters: str) -> None:
    model = made(dataset, replace(SMALL, modalities=letters))
    together, alone = (run_model(model, loader_of(dataset, model, n), CPU) for n in (12, 1))
    torch.testing.assert_close(together.logits, alone.logits, rtol=1e-4, atol=1e-5)
    assert together.logits.shape == (12, len(CLASSES))
    assert len(model.crossed) == len(letters) * (len(letters) - 1)
    assert torch.isfinite(together.logits).all()


def test_the_points_are_flattened_without_pictures_that_have_no_face(dataset: ShardDataset) -> None:
    model = made(dataset)
    rows = np.concatenate([rows_of(dataset[n], "landmarks") for n in range(12)])
    expected = np.concatenate([dataset[n]["landmarks"][1:].reshape(-1, 10) for n in range(12)])
    np.testing.assert_array_equal(rows, expected)
    found = model.get_submodule("rows.landmarks").get_buffer("mean")
    np.testing.assert_allclose(found, expected.mean(0), rtol=1e-5)


def test_a_missing_modality_is_as_good_as_removed(dataset: ShardDataset) -> None:
    model, batch = made(dataset), next(iter(loader_of(dataset, made(dataset), 4)))
    assert batch.missing == ("", "", "a", "a")
    counts = batch.extras["mel/rows"]
    rubbish = torch.full((50, 128), 1e3)
    there = torch.cat([batch.extras["mel"], rubbish])
    changed = {**batch.extras, "mel": there, "mel/rows": counts + torch.tensor([0, 0, 50, 0])}
    with torch.no_grad():
        before, after = model(batch), model(replace(batch, extras=changed))
        # Nothing of the branches that read the sound matters to the utterances without it.
        for name, parameter in model.named_parameters():
            if name.startswith(("inward.mel", "crossed.ta", "crossed.va")) and "attention" in name:
                parameter.mul_(3)
        scaled = model(batch)
    torch.testing.assert_close(before, after)
    torch.testing.assert_close(before[2:], scaled[2:])
    assert not torch.allclose(before[:2], scaled[:2])
    none = replace(batch, missing=("tav",) * 4)
    assert not model(none).any()


def test_it_learns_and_is_read_back(corpus: Corpus, tmp_path: Path) -> None:
    given = {"shards": corpus.shards, "split": corpus.split, "out": tmp_path / "run"}
    sizes = {"features": ("mel", "tokens"), "hidden": 16, "layers": 1, "modalities": "ta"}
    result = train(train_config("mult", model=sizes, epochs=8, lr=0.01, warmup=0, **given))
    assert result is not None and result["test"]["single_label"]["accuracy"] > 0.6
    kept = load_checkpoint(tmp_path / "run")
    assert isinstance(kept.model, MulT) and kept.model.config.modalities == "ta"
    again = evaluate(corpus.shards, corpus.split, tmp_path / "run")
    assert again["average"] == result["test"]["average"]


def test_a_width_that_does_not_fit_its_heads_is_refused() -> None:
    with pytest.raises(SettingsError, match="width 8 with 3 heads"):
        build(replace(SMALL, heads=3), WITH_POINTS)
    with pytest.raises(SettingsError, match="cannot read the stage faces"):
        build(replace(SMALL, features=("faces",), modalities="v"), PrepSettings())
