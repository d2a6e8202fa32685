"""The presets, what may be asked of them, and their way through JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fv2es_prep.config import FaceSettings, PrepSettings
from fv2es_prep.errors import SettingsError, TrainError, UsageError
from fv2es_train.config import TrainConfig
from fv2es_train.models.families import FAMILIES, config_from_json, preset
from fv2es_train.models.fv2es_config import FV2ESConfig
from fv2es_train.training.options import TrainOptions

OPTIONS = TrainOptions(Path("shards"), Path("split.json"), Path("run"))


def test_fv2es_has_the_published_settings() -> None:
    config = TrainConfig(**preset("fv2es").train)
    assert (config.lr, config.epochs, config.batch_size) == (4.5e-6, 30, 2)
    assert (config.early_stop, config.text_lr_divisor) == (6, 10)


def test_fv2es_reads_linear_power_and_begins_from_albert_base() -> None:
    model = preset("fv2es").model
    assert isinstance(model, FV2ESConfig)
    assert (model.mel_input, model.text_encoder) == ("power", "albert-base-v2")


def test_what_is_asked_for_goes_over_the_preset() -> None:
    options = replace(OPTIONS, model="fv2es-tiny", epochs=3, lr=0.5, modalities="va", seed=9)
    model, config = options.configs(("x", "y"))
    assert (model.modalities, model.label_classes) == ("av", ("x", "y"))
    assert (config.epochs, config.lr, config.seed) == (3, 0.5, 9)
    assert config.batch_size == preset("fv2es-tiny").train["batch_size"]


@pytest.mark.parametrize("name", FAMILIES.names())
def test_json_brings_back_the_same_configs(name: str) -> None:
    model, config = preset(name).model, TrainConfig(**preset(name).train)
    assert config_from_json(json.loads(json.dumps(model.to_json()))) == model
    assert TrainConfig.from_json(json.loads(json.dumps(config.to_json()))) == config


def test_a_config_from_the_future_is_refused_by_name() -> None:
    with pytest.raises(TrainError, match="'momentum'"):
        TrainConfig.from_json({"momentum": 0.9})


@pytest.mark.parametrize("modalities", ["", "x", "tt", "tavx"])
def test_unknown_modalities_are_refused(modalities: str) -> None:
    with pytest.raises(UsageError, match="modalities"):
        FV2ESConfig(modalities=modalities)


@pytest.mark.parametrize(
    "change",
    [
        {"model": "huge"},
        {"epochs": 0},
        {"lr": 0.0},
        {"batch_size": 0},
        {"threads": 0},
        {"shuffle_shards": -1},
    ],
)
def test_values_out_of_range_are_refused(change: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        replace(OPTIONS, **change).configs(("x",))  # type: ignore[arg-type]  # wrong on purpose


def test_shards_of_other_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"faces\.image_size_px is 64"):
        FV2ESConfig().check(PrepSettings(faces=FaceSettings(image_size_px=64)))
