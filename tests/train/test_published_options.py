"""Every option of the published program has a field here that acts, or a reason why it has none."""

from __future__ import annotations

import json
import tomllib
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.stages.fingerprint import fingerprints_of
from fv2es_prep.stages.registry import sections_of
from fv2es_prep.types import Utterance
from fv2es_prep.utils.configuration import resolve
from fv2es_train.config import TrainConfig
from fv2es_train.evaluation.inference import choose_device
from fv2es_train.models.families import build
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import preset_of
from pipelines.config import PrepConfig, prep_config, preset_values
from pipelines.plan import plan_corpus
from tests.train.conftest import CLASSES, SETTINGS, Corpus

TABLE = Path(__file__).parents[2] / "docs/published-options.toml"
OPTIONS: list[dict[str, Any]] = tomllib.loads(TABLE.read_text())["option"]
# The options of the published cli.py, by their long names.
PUBLISHED = (
    *("batch-size", "learning-rate", "weight-decay", "epochs", "early-stop", "cuda", "clip"),
    *("scheduler", "seed", "loss", "optim", "text-lr-factor", "model", "text-model-size"),
    *("fusion", "feature-dim", "sparse-threshold", "hfc-sizes", "trans-dim", "trans-nlayers"),
    *("trans-nheads", "audio-feature-type", "num-emotions", "img-interval", "hand-crafted"),
    *("text-max-len", "datapath", "dataset", "modalities", "valid", "test", "ckpt", "ckpt-mod"),
    *("dropout", "num-layers", "hidden-size", "bidirectional", "gru"),
)


@dataclass(frozen=True)
class Here:
    """A field, and the value that shows that it acts."""

    field: str
    changes: str
    value: str = ""
    model: str = "fv2es-tiny"
    given: dict[str, str] = field(default_factory=dict)


def fields_that(*changes: str) -> list[Any]:
    every = [one for option in OPTIONS for one in option.get("here", ())]
    chosen = [one for one in every if one["changes"] in changes]
    named = [{"given" if name == "with" else name: v for name, v in one.items()} for one in chosen]
    return [pytest.param(Here(**one), id=one["field"]) for one in named]


def test_every_option_is_in_the_table_with_a_field_or_a_reason() -> None:
    flags = [flag.strip() for option in OPTIONS for flag in option["flags"].split(",")]
    assert sorted(flag[2:] for flag in flags if flag.startswith("--")) == sorted(PUBLISHED)
    assert all(bool(option.get("here")) != bool(option.get("without")) for option in OPTIONS)


def configs(here: Here, places: dict[str, str], **base: str) -> tuple[TrainConfig, TrainConfig]:
    """The configuration without and with the other value."""
    names = {name: name for name in ("shards", "split", "out")}
    before = {**names, **base, "model.name": here.model, **here.given}
    after = {**before, here.field: here.value}

    def made(given: dict[str, str]) -> TrainConfig:
        typed = {path: places.get(value, value) for path, value in given.items()}
        return resolve(TrainConfig, typed, preset_of(typed))

    return made(before), made(after)


def network_of(config: TrainConfig) -> nn.Module:
    stages = ("waveform", "mfcc", "egemaps-lld")
    listed = {**sections_of(stages)}
    settings = replace(SETTINGS, stages=(*SETTINGS.stages, *stages), others=listed)
    torch.manual_seed(0)
    return build(replace(config.model, label_classes=CLASSES), settings)


def described(network: nn.Module) -> list[tuple[Any, ...]]:
    """Every module with what it says of itself, and the shapes of its parameters."""
    return [
        (
            *(name, type(module).__name__, module.extra_repr(), getattr(module, "num_heads", 0)),
            [tuple(one.shape) for one in module.parameters(recurse=False)],
        )
        for name, module in network.named_modules()
    ]


@pytest.mark.parametrize("here", fields_that("network"))
def test_another_value_gives_another_network(here: Here, text_model: Path) -> None:
    before, after = (network_of(c) for c in configs(here, {"ALBERT": str(text_model)}))
    assert described(before) != described(after)


@pytest.mark.parametrize("here", fields_that("initial weights"))
def test_another_value_gives_other_first_weights(here: Here) -> None:
    before, after = (network_of(config) for config in configs(here, {}))
    assert described(before) == described(after)
    pairs = zip(before.parameters(), after.parameters(), strict=True)
    assert not all(torch.equal(one, other) for one, other in pairs)


@pytest.mark.slow
@pytest.mark.parametrize("here", fields_that("training"))
def test_another_value_trains_otherwise(
    here: Here, corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    """Other losses in an epoch or another number of epochs, from the same data and seed."""
    base = {"shards": str(corpus.shards), "split": str(corpus.split), "epochs": "2"}
    base |= {"batch_size": "8", "model.modalities": "t"}
    found = []
    for number, config in enumerate(configs(here, {"RUN": str(run)}, **base)):
        out = tmp_path / str(number)
        train(replace(config, out=out))
        lines = [json.loads(line) for line in (out / "history.jsonl").read_text().splitlines()]
        found.append([(line["train_loss"], line["valid_loss"]) for line in lines])
    assert found[0] != found[1]


@pytest.mark.parametrize("here", fields_that("faces", "tokens"))
def test_another_value_makes_a_column_anew(here: Here) -> None:
    def made(given: dict[str, str]) -> dict[str, bytes]:
        paths = {"raw": "raw", "out": "out", **given}
        config = resolve(PrepConfig, paths, preset_values("iemocap", paths))
        sections = {name: getattr(config, name) for name in ("frames", "faces", "mel", "text")}
        utterance = Utterance("u", "r", 0.0, 3.0, "hello", ())
        return fingerprints_of(utterance, ("0" * 64, "1" * 64), PrepSettings(**sections))

    before, after = made({}), made({here.field: here.value})
    assert [name for name in before if before[name] != after[name]] == [here.changes]


@pytest.mark.parametrize("here", fields_that("classes"))
def test_another_value_gives_other_classes(
    here: Here, demo: Path, text_model: Path, tmp_path: Path
) -> None:
    def classes(**given: str) -> tuple[str, ...]:
        places = {"raw": demo, "out": tmp_path, "tokenizer": str(text_model)}
        config = prep_config("iemocap", **places, **given)
        return plan_corpus(config).inventory.label_classes

    assert len(classes()) == 6 and ",".join(classes(**{here.field: here.value})) == here.value


@pytest.mark.parametrize("here", fields_that("device"))
def test_the_device_is_the_one_asked_for_or_refused(here: Here) -> None:
    _, after = configs(here, {})
    if torch.cuda.is_available():
        assert choose_device(after.device) == torch.device(here.value)
    else:
        with pytest.raises(UsageError, match=here.value):
            choose_device(after.device)


@pytest.mark.parametrize("here", fields_that("place"))
def test_a_training_needs_its_place(here: Here) -> None:
    given = {"shards": "s", "split": "s", "out": "o"}
    given.pop(here.field)
    with pytest.raises(SettingsError, match=f"{here.field} is missing"):
        resolve(TrainConfig, given, preset_of(given))


@pytest.mark.parametrize("here", fields_that("command"))
def test_the_command_has_the_option(here: Here) -> None:
    command, option = here.field.split()
    shown = CliRunner().invoke(app, [command, "--help"])
    assert shown.exit_code == 0 and option in shown.output
