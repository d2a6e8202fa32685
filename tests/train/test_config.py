"""The presets, what may be asked of them, and their way through JSON."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from fv2es_prep.config import FaceSettings, PrepSettings
from fv2es_prep.errors import SettingsError, TrainError, UsageError
from fv2es_train.config import TrainConfig
from fv2es_train.models import families
from fv2es_train.models.families import FAMILIES, Preset, config_from_json, preset
from fv2es_train.models.fv2es_config import FV2ESConfig
from fv2es_train.training.run_config import resumed, store, train_config
from tests.train.conftest import tiny_config

PLACES = {"shards": Path("shards"), "split": Path("split.json"), "out": Path("run")}


def test_fv2es_has_the_published_settings() -> None:
    config = TrainConfig(**preset("fv2es").train)
    assert (config.lr, config.epochs, config.batch_size) == (4.5e-6, 30, 2)
    assert (config.early_stop, config.text_lr_divisor) == (6, 10)


def test_fv2es_reads_linear_power_and_begins_from_albert_base() -> None:
    model = preset("fv2es").model
    assert isinstance(model, FV2ESConfig)
    assert (model.mel_input, model.text_encoder) == ("power", "albert-base-v2")


def test_given_values_override_the_preset() -> None:
    values = {"epochs": 3, "lr": 0.5, "seed": 9, "model": {"modalities": "va", "dropout": 0.3}}
    config = train_config("fv2es-tiny", **PLACES, **values)
    assert (config.model.modalities, config.model.dropout) == ("av", 0.3)
    assert (config.epochs, config.lr, config.seed) == (3, 0.5, 9)
    assert config.batch_size == preset("fv2es-tiny").train["batch_size"]


def test_the_defaults_override_no_preset(monkeypatch: pytest.MonkeyPatch) -> None:
    """A preset may set what no preset sets today."""
    sets = {"schedule": "cosine", "warmup": 5, "accumulate": 4, "class_weights": "balanced"}
    mine = Preset(preset("fv2es-tiny").model, sets)
    monkeypatch.setattr(families, "preset", {"mine": mine}.__getitem__)
    config = train_config("mine", **PLACES)
    assert {name: getattr(config, name) for name in sets} == sets
    assert train_config("mine", **PLACES, warmup=0).warmup == 0


def test_a_run_keeps_its_configuration(tmp_path: Path) -> None:
    config = tiny_config(tmp_path, tmp_path, tmp_path, modalities="t", augment=("flip",), epochs=3)
    store(replace(config, overwrite=True))
    assert resumed(tmp_path) == replace(config, resume=True)
    assert resumed(tmp_path, epochs=7).epochs == 7
    with pytest.raises(UsageError, match="lr cannot change"):
        resumed(tmp_path, lr=0.1)
    with pytest.raises(UsageError, match="epochs is 0"):
        resumed(tmp_path, epochs=0)


def test_the_options_of_an_earlier_version_are_read(tmp_path: Path) -> None:
    old = {"shards": "/shards", "split": "/split.json", "model": "fv2es-tiny", "epochs": 3}
    old |= {"batch_size": None, "threads": None, "augment": ["flip"], "freeze_text": "2"}
    old |= {"modalities": "ta", "text_encoder": None, "device": "cpu", "class_weights": "none"}
    (tmp_path / "options.json").write_text(json.dumps(old))
    config = resumed(tmp_path)
    expected = tiny_config(
        Path("/shards"),
        Path("/split.json"),
        tmp_path,
        epochs=3,
        modalities="ta",
        freeze_text=2,
        augment=("flip",),
        device="cpu",
        class_weights="none",
        decision="thresholds",
        unverified_faces="keep",
    )
    assert config == replace(expected, resume=True)
    (tmp_path / "options.json").write_text("{}")
    with pytest.raises(TrainError, match=r"options\.json cannot be read"):
        resumed(tmp_path)


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
        tiny_config(**{**PLACES, **change})  # type: ignore[arg-type]  # wrong on purpose


def test_shards_without_a_stage_that_the_model_reads_are_refused() -> None:
    settings = PrepSettings(stages=("mel", "tokens"))
    FV2ESConfig(modalities="ta").check(settings)
    with pytest.raises(SettingsError, match="lack the stages faces, which the model fv2es reads"):
        FV2ESConfig().check(settings)


def test_shards_of_other_sizes_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"faces\.image_size_px of the shards is 64"):
        FV2ESConfig().check(PrepSettings(faces=FaceSettings(image_size_px=64)))
