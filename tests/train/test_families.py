"""A model in a package of its own trains, evaluates and predicts without a change to fv2es."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from fv2es_prep.errors import UsageError
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.families import FAMILIES, ModelConfig, config_from_json, preset
from tests.command_line import fv2es
from tests.train.conftest import Corpus

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/models.md"
TOY = '''
"""Mean mel spectrum, loudness of the faces, and a linear layer."""
from dataclasses import dataclass

import torch
from torch import nn

from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.families import ModelConfig, ModelFamily, Preset


@dataclass(frozen=True)
class ToyConfig(ModelConfig):
    """Attributes:
        bands: mel bands that are read.
    """

    family = "toy"
    name: str = "toy"
    modalities: str = "a"
    bands: int = 128


class Toy(EmotionModel):
    def __init__(self, config):
        super().__init__(config)
        self.linear = nn.Linear(config.bands + 1, len(config.label_classes))

    def forward(self, batch):
        chunks = batch.mel[:, 0, : self.config.bands].clamp_min(1e-10).log().mean(-1)
        parts = torch.split(chunks, list(batch.chunk_counts))
        mean = torch.stack([part.mean(0) for part in parts])
        return self.linear(torch.cat([mean, batch.extras["brightness"]], dim=1))


def brightness(examples):
    return {"brightness": torch.tensor([[float(e.faces.rgb.mean()) / 255] for e in examples])}


FAMILY = ModelFamily(
    name="toy",
    config=ToyConfig,
    presets={
        "toy": Preset(ToyConfig(), {"lr": 0.02, "epochs": 3, "batch_size": 6}),
        "toy-small": Preset(ToyConfig(name="toy-small", bands=64)),
    },
    build=lambda config, settings: Toy(config),
    extras=brightness,
)
'''


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory with the package as pip installs it."""
    place = tmp_path_factory.mktemp("site")
    (place / "toy_emotion.py").write_text(TOY)
    info = place / "toy_emotion-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-emotion\nVersion: 1.0\n")
    lines = (f"{name} = toy_emotion:FAMILY\n" for name in ("toy", "toy-small"))
    (info / "entry_points.txt").write_text("[fv2es.models]\n" + "".join(lines))
    return place


@pytest.fixture(scope="module")
def toy_run(package: Path, corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("toy") / "run"
    given = ("--shards", corpus.shards, "--split", corpus.split, "--out", run, "--model", "toy")
    result = fv2es("train", *given, "--device", "cpu", site=package)
    assert result.returncode == 0, result.stderr
    return run


def evaluated(package: Path | None, corpus: Corpus, run: Path, *more: str) -> Any:
    given = ("--shards", corpus.shards, "--split", corpus.split, "--run", run, "--json")
    result = fv2es("eval", *given, *more, site=package)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


def test_a_model_of_another_package_trains_with_its_own_defaults(toy_run: Path) -> None:
    stored = json.loads((toy_run / "best/config.json").read_text())
    assert stored["model"]["family"] == "toy" and stored["model"]["modalities"] == "a"
    assert (stored["train"]["lr"], stored["train"]["epochs"]) == (0.02, 3)
    losses = [
        json.loads(line)["train_loss"]
        for line in (toy_run / "history.jsonl").read_text().splitlines()
    ]
    assert losses[-1] < losses[0]


def test_it_is_evaluated_also_by_modality(package: Path, corpus: Corpus, toy_run: Path) -> None:
    metrics = json.loads((toy_run / "metrics.json").read_text())["test"]
    again = evaluated(package, corpus, toy_run, "--by", "modality")
    assert again["average"] == metrics["average"]
    assert len(again["by"]["groups"]) >= 1


def test_a_run_whose_package_is_not_installed_says_so(corpus: Corpus, toy_run: Path) -> None:
    with pytest.raises(UsageError, match="unknown model 'toy'") as caught:
        load_checkpoint(toy_run)
    assert "install the package" in caught.value.hint


def test_a_network_that_fuses_early_reports_no_logits_by_modality() -> None:
    class Early(EmotionModel):
        """Two modalities, one output."""

    early = Early(ModelConfig(name="early", modalities="av", label_classes=("x",)))
    assert early.fusion_weights() == {}
    with pytest.raises(UsageError, match="early does not report logits by modality"):
        early.check_late_fusion()


def test_runs_from_before_there_were_families_are_read() -> None:
    model = preset("fv2es-tiny").model
    stored = model.to_json()
    assert stored.pop("family") == "fv2es"
    assert config_from_json(json.loads(json.dumps(stored))) == model


def test_every_name_in_the_registry_is_a_preset_of_its_family() -> None:
    for name in FAMILIES.names():
        family = FAMILIES.load(name)
        assert name in family.presets and family.name in FAMILIES.names()


def test_the_documented_model_trains(corpus: Corpus, tmp_path: Path) -> None:
    page = PAGE.read_text("utf-8")
    (tmp_path / "my_models.py").write_text(page.partition("```python\n")[2].partition("```")[0])
    info = tmp_path / "my_models-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: my-models\nVersion: 1.0\n")
    named = page.partition('fv2es.models"]\n')[2].partition("```")[0].replace('"', "")
    (info / "entry_points.txt").write_text(f"[fv2es.models]\n{named}")
    given = ("--shards", corpus.shards, "--split", corpus.split, "--out", tmp_path / "run")
    more = ("--model", "mean-mel", "--epochs", "1", "--device", "cpu")
    result = fv2es("train", *given, *more, site=tmp_path)
    assert result.returncode == 0, result.stderr
