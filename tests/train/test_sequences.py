"""The models `lf-rnn` and `lf-transformer`: late fusion of feature sequences."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from fv2es_prep.errors import SettingsError
from fv2es_prep.types import Example
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.inference import loader_of, run_model
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build
from fv2es_train.models.feature_config import SequenceConfig
from fv2es_train.models.sequences import Sequences
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import train_config
from tests.train.conftest import CLASSES, SETTINGS, Corpus, make_examples, write_shards

SMALL = SequenceConfig(features=("mel",), label_classes=CLASSES, hidden=8, heads=2)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> ShardDataset:
    """Utterances of which one has no sound, and one fewer rows than are pooled."""
    examples = make_examples(12)
    short = examples[3].mel
    examples[3] = examples[3].replace(mel=replace(short, log_power=short.log_power[:3]))
    rest = {name: value for name, value in examples[5].items() if name != "mel"}
    examples[5] = Example(examples[5].utterance, examples[5].label, {"a": "no_audio"}, **rest)
    place = tmp_path_factory.mktemp("sequences")
    return ShardDataset(write_shards(place, examples, replace(SETTINGS, require="")))


@pytest.mark.parametrize("encoder", ["lstm", "gru", "transformer"])
def test_what_else_is_in_the_batch_changes_nothing(dataset: ShardDataset, encoder: str) -> None:
    torch.manual_seed(0)
    model = build(replace(SMALL, encoder=encoder, layers=2), dataset.index.settings)
    assert isinstance(model, Sequences)
    model.fit(dataset)
    together, alone = (run_model(model, loader_of(dataset, model, n), CPU) for n in (12, 1))
    torch.testing.assert_close(together.logits, alone.logits, rtol=1e-4, atol=1e-5)
    assert together.missing[5] == "a" and not together.logits[5].any()
    assert together.logits.unique(dim=0).shape[0] == 12


def test_the_normalization_is_that_of_the_rows_of_train(dataset: ShardDataset) -> None:
    model = build(SMALL, dataset.index.settings)
    model.fit(dataset)
    examples = [dataset[row] for row in range(12)]
    rows = np.concatenate([e.mel.log_power for e in examples if "mel" in e]).astype(np.float64)
    branch = model.get_submodule("branches.mel")
    np.testing.assert_allclose(branch.get_buffer("mean"), rows.mean(0), atol=1e-4)
    np.testing.assert_allclose(branch.get_buffer("deviation"), rows.std(0), atol=1e-4)


@pytest.mark.parametrize("preset", ["lf-rnn", "lf-transformer"])
def test_it_learns_and_is_read_back(corpus: Corpus, tmp_path: Path, preset: str) -> None:
    given = {"shards": corpus.shards, "split": corpus.split, "out": tmp_path / "run"}
    model = {"features": ("mel",), "hidden": 16, "heads": 2}
    result = train(train_config(preset, model=model, epochs=6, lr=0.01, warmup=0, **given))
    assert result is not None
    lines = (tmp_path / "run/history.jsonl").read_text().splitlines()
    losses = [json.loads(line)["train_loss"] for line in lines]
    assert losses[-1] < 0.6 * losses[0]
    kept = load_checkpoint(tmp_path / "run")
    assert kept.model.config.name == preset
    assert float(kept.model.get_submodule("branches.mel").get_buffer("mean").abs().sum()) > 0


@pytest.mark.parametrize("bidirectional", [True, False])
def test_the_published_sizes_of_late_fusion(dataset: ShardDataset, bidirectional: bool) -> None:
    """An LSTM as wide as the feature; its last states, a layer of half their width, the logits."""
    sizes = {"encoder": "lstm", "hidden": 0, "summary": "last", "dropout": 0.0, "pool": 1}
    config = replace(SMALL, bidirectional=bidirectional, **sizes)
    torch.manual_seed(0)
    model = build(config, dataset.index.settings).eval()
    width, ends = 128, 128 * (1 + bidirectional)
    lstm = nn.LSTM(width, width, bidirectional=bidirectional)
    head = nn.Sequential(nn.Linear(ends, ends // 2), nn.ReLU(), nn.Linear(ends // 2, len(CLASSES)))
    lstm.load_state_dict(model.get_submodule("branches.mel.encoder").state_dict())
    head.load_state_dict(model.get_submodule("branches.mel.classifier").state_dict())
    count = sum(p.numel() for part in (lstm, head) for p in part.parameters())
    assert sum(p.numel() for p in model.parameters()) == count
    logits = run_model(model, loader_of(dataset, model, 12), CPU).logits
    with torch.no_grad():
        rows = torch.from_numpy(dataset[0].mel.log_power.astype(np.float32))
        expected = head(lstm(rows[:, None])[1][0].flatten()[None])[0]
    torch.testing.assert_close(logits[0], expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden": 0}, "width 0 with 2 heads"),
        ({"summary": "last"}, "a transformer with the summary"),
    ],
)
def test_a_transformer_has_no_published_sizes(changes: dict[str, Any], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        build(replace(SMALL, encoder="transformer", **changes), SETTINGS)


def test_a_transformer_needs_a_width_for_its_heads() -> None:
    config = replace(SMALL, encoder="transformer", heads=3)
    with pytest.raises(SettingsError, match="width 8 with 3 heads"):
        build(config, SETTINGS)
