"""The published way of training: groups, first weights, losses, and the recipes as a whole."""

from __future__ import annotations

import json
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_prep.utils.configuration import flat_values, flatten
from fv2es_train.config import TrainConfig
from fv2es_train.models.encoders import MelEncoder
from fv2es_train.models.families import preset
from fv2es_train.models.fv2es import build_model
from fv2es_train.training.loss import make_loss
from fv2es_train.training.optimization import freeze, make_optimizer
from fv2es_train.training.run_config import stored_config, train_config
from tests.train.conftest import CLASSES, SETTINGS, random_split

RECIPES = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))


def tiny() -> Any:
    return build_model(replace(preset("fv2es-tiny").model, label_classes=CLASSES), SETTINGS)


def test_the_head_of_text_is_in_the_group_of_the_text_encoder_if_asked() -> None:
    model = tiny()
    freeze(model, ["v_out"])
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    for with_head in (False, True):
        config = TrainConfig(text_lr_head=with_head, lr=1e-3, text_lr_divisor=10)
        optimizer = make_optimizer(model, config)
        rates = {names[id(p)]: g["lr"] for g in optimizer.param_groups for p in g["params"]}
        slow = {name for name, rate in rates.items() if rate == pytest.approx(1e-4)}
        expected = {n for n in names.values() if n.startswith("text.")}
        expected |= {"t_out.weight", "t_out.bias"} if with_head else set()
        assert slow == expected
        assert set(names.values()) - set(rates) == {"v_out.weight", "v_out.bias"}


def test_the_optimizer_is_the_one_asked_for() -> None:
    names: tuple[Any, ...] = ("adam", "sgd")
    kinds = {name: type(make_optimizer(tiny(), TrainConfig(optimizer=name))) for name in names}
    assert kinds == {"adam": torch.optim.Adam, "sgd": torch.optim.SGD}


@pytest.mark.parametrize(("how", "std"), [("nest", 0.02), ("torch", 1 / (3 * 36) ** 0.5)])
def test_the_first_convolution_of_nest_starts_as_asked(how: str, std: float) -> None:
    small: dict[str, Any] = {"mel_dims": (32, 48, 64), "mel_heads": (2, 4, 4)}
    small |= {"mel_depths": (1, 1, 1), "mel_hidden": 128, "mel_init": how}
    config = replace(preset("fv2es-tiny").model, mel_encoder="nest", **small)
    first = MelEncoder(config).nest.patch_embed.proj
    assert first.weight.std().item() == pytest.approx(std, rel=0.1)
    assert bool(first.bias.any()) == (how == "torch")


@pytest.mark.parametrize(
    ("kind", "criterion"),
    [("ce", nn.CrossEntropyLoss()), ("mse", nn.MSELoss()), ("l1", nn.L1Loss())],
)
def test_a_loss_is_that_of_torch(kind: str, criterion: nn.Module) -> None:
    torch.manual_seed(0)
    label = torch.eye(6)[torch.arange(12) % 6]
    logits = torch.randn(12, 6)
    loss = make_loss(label.numpy().astype("uint8"), CLASSES, kind=kind)
    aim = label.argmax(1) if kind == "ce" else label
    torch.testing.assert_close(loss.of_each(logits, label).mean(), criterion(logits, aim))
    smooth = replace(loss, smoothing=0.2)
    assert smooth.of_each(logits, label).mean() != loss.of_each(logits, label).mean()
    assert smooth.of_each(logits, label, plain=True).equal(loss.of_each(logits, label))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_is_a_configuration(recipe: Path) -> None:
    values = tomllib.loads(recipe.read_text())
    name = values["model"].pop("name")
    config = train_config(name, shards="s", split="s.json", out="o", **values)
    found = flat_values(config)
    for path, value in flatten(values).items():
        assert found[path] == (tuple(value) if isinstance(value, list) else value), path
    assert config.text_lr_head and config.threshold_ties == "lowest"


@pytest.mark.slow
@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_two_epochs_on_the_demo_corpus(
    recipe: Path,
    prepared: Path,
    text_model: Path,
    tmp_path: Path,
) -> None:
    random_split(prepared, tmp_path)
    # The sizes of a test; all that the recipe says of training is as it is.
    sizes = {"epochs": 2, "model.text_encoder": text_model, "model.mel_depths": "1,1,1"}
    sizes |= {
        "model.mel_hidden": 32,
        "model.face_hidden": 32,
        "model.face_stages": "[[8],[8],[16]]",
    }
    words = ["train", "--config", recipe, "--shards", prepared, "--split", tmp_path / "split.json"]
    words += ["--out", tmp_path / "run"]
    words += [word for path, value in sizes.items() for word in ("--set", f"{path}={value}")]
    made = CliRunner().invoke(app, [str(word) for word in words])
    assert made.exit_code == 0, made.output
    lines = (tmp_path / "run/history.jsonl").read_text().splitlines()
    assert len(lines) == 2
    stored = stored_config(tmp_path / "run")
    assert stored.text_lr_head and stored.threshold_ties == "lowest"
    lr = json.loads(lines[0])["lr"]
    assert lr["main"] == pytest.approx(10 * lr["text"])
