"""The model `linear`: logistic regression on feature columns, fitted at once."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import SettingsError
from fv2es_prep.types import Example
from fv2es_train.data.dataset import ShardDataset
from fv2es_train.evaluation.evaluate import evaluate
from fv2es_train.evaluation.inference import loader_of, run_model
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.families import build
from fv2es_train.models.feature_config import LinearConfig
from fv2es_train.models.linear import Linear
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import train_config
from tests.train.conftest import CLASSES, SETTINGS, VOCABULARY, Corpus, make_examples, write_shards

MEL = LinearConfig(features=("mel",), label_classes=CLASSES)
CPU = torch.device("cpu")


def moments(dataset: ShardDataset) -> np.ndarray:
    mels = [dataset[row].mel.log_power.astype(np.float64) for row in range(len(dataset))]
    return np.array([np.concatenate([mel.mean(0), mel.std(0)]) for mel in mels])


def fitted(dataset: ShardDataset, config: LinearConfig = MEL) -> tuple[Linear, float]:
    model = build(config, dataset.index.settings)
    assert isinstance(model, Linear)
    return model, model.fit(dataset)


@pytest.mark.parametrize("exclusive", [True, False])
def test_it_is_scikit_learns_logistic_regression(tmp_path: Path, exclusive: bool) -> None:
    rng, examples = np.random.default_rng(3), make_examples(60)
    if not exclusive:
        second = (rng.random((60, len(CLASSES))) < 0.2).astype(np.uint8)
        examples = [
            Example(e.utterance, e.label | more, {}, **e)
            for e, more in zip(examples, second, strict=True)
        ]
    dataset = ShardDataset(write_shards(tmp_path, examples))
    model, loss = fitted(dataset)
    scaled = StandardScaler().fit_transform(moments(dataset))
    reference = LogisticRegression(C=1 / (0.1 * 60), max_iter=5000, tol=1e-8)
    outputs = run_model(model, loader_of(dataset, model, 7), CPU)
    if exclusive:
        expected = reference.fit(scaled, dataset.label.argmax(1)).predict_proba(scaled)
        found = outputs.logits.double().softmax(1).numpy()
        kept = -np.log(expected[np.arange(60), dataset.label.argmax(1)]).mean()
        assert loss == pytest.approx(kept, abs=1e-3)
    else:
        # The mean over the classes: each class has its own objective, divided by their number.
        reference.C /= len(CLASSES)
        columns = [reference.fit(scaled, y).predict_proba(scaled)[:, 1] for y in dataset.label.T]
        expected, found = np.stack(columns, axis=1), outputs.probability
    np.testing.assert_allclose(found, expected, atol=2e-3)


def test_a_missing_modality_and_a_constant_input_change_nothing_else(tmp_path: Path) -> None:
    examples = make_examples(24)
    mel = examples[5].mel
    gone = {name: value for name, value in examples[5].items() if name != "mel"}
    examples[5] = Example(examples[5].utterance, examples[5].label, {"a": "no_audio"}, **gone)
    for number, example in enumerate(examples):
        if "mel" in example:
            log_power = example.mel.log_power.copy()
            log_power[:, 7] = -3.0
            examples[number] = example.replace(mel=replace(example.mel, log_power=log_power))
    whole = write_shards(tmp_path / "all", examples, replace(SETTINGS, require=""))
    dataset = ShardDataset(whole)
    model, _ = fitted(dataset)
    outputs = run_model(model, loader_of(dataset, model, 5), CPU)
    assert outputs.missing[5] == "a" and not outputs.logits[5].any()
    assert torch.isfinite(outputs.logits).all()
    rest = ShardDataset(whole, [name for name in dataset.ids if name != "utt005"])
    alone, _ = fitted(rest)
    for name, value in alone.state_dict().items():
        torch.testing.assert_close(value, model.state_dict()[name], rtol=1e-4, atol=1e-4)
    assert mel is not None and model.deviation_a[7] == torch.inf


def test_it_trains_in_one_epoch_and_is_read_back(corpus: Corpus, tmp_path: Path) -> None:
    given = {"shards": corpus.shards, "split": corpus.split, "out": tmp_path / "run"}
    result = train(train_config("linear", model={"features": ("mel",)}, **given))
    assert result is not None and result["epochs"] == 1
    assert result["test"]["average"]["f1_binary"] > 0.8
    record = json.loads((tmp_path / "run/history.jsonl").read_text())
    assert 0 < record["train_loss"] < 1 and record["steps"] == 0
    kept = load_checkpoint(tmp_path / "run")
    assert kept.model.config == replace(MEL, features=("mel",))
    again = evaluate(corpus.shards, corpus.split, tmp_path / "run")
    assert again["average"] == result["test"]["average"]


@pytest.mark.parametrize(
    ("config", "settings", "said"),
    [
        (LinearConfig(), SETTINGS, "the shards lack the stages mfcc"),
        (
            LinearConfig(features=("faces",), modalities="v"),
            SETTINGS,
            "expected floating-point vectors",
        ),
        (
            LinearConfig(features=("mel",), modalities="ta"),
            SETTINGS,
            "but none of them is made from",
        ),
        (
            LinearConfig(features=("waveform",)),
            PrepSettings(stages=("waveform",)),
            "cannot read the stage waveform",
        ),
    ],
)
def test_what_it_cannot_read_is_refused(
    config: LinearConfig, settings: PrepSettings, said: str
) -> None:
    with pytest.raises(SettingsError, match=said):
        build(config, settings)


def test_tokens_are_read_as_a_bag(tmp_path: Path) -> None:
    dataset = ShardDataset(write_shards(tmp_path, make_examples(60)))
    config = LinearConfig(features=("mel", "tokens"), modalities="t", label_classes=CLASSES)
    model, loss = fitted(dataset, config)
    assert model.classifiers["t"].weight.shape == (len(CLASSES), VOCABULARY)
    outputs = run_model(model, loader_of(dataset, model, 7), CPU)
    # The word that tells the class is one of a few in each utterance.
    assert loss < 0.3 and (outputs.logits.argmax(1).numpy() == dataset.label.argmax(1)).all()
    shares = np.bincount(dataset[3].tokens, minlength=VOCABULARY) / len(dataset[3].tokens)
    one = model.get_buffer("mean_t") + model.get_buffer("deviation_t") * model._scaled(
        "t", torch.from_numpy(shares).float()
    )
    np.testing.assert_allclose(one, shares, atol=1e-6)
