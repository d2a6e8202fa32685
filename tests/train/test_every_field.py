"""Every field of every configuration is set by a file and by --set, and documented."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_prep.utils.configuration import given_values, resolve, toml_value
from fv2es_prep.utils.fields import Field, fields_of
from fv2es_train.config import TrainConfig
from fv2es_train.models.families import FAMILIES
from fv2es_train.predict.request import PredictConfig
from fv2es_train.serve.settings import ServeConfig
from fv2es_train.training.run_config import preset_of
from tests.train.conftest import Corpus

PLACES = {"shards": "shards", "split": "split.json", "out": "run"}
CONFIGS: dict[str, tuple[type, dict[str, Any], dict[str, Any]]] = {
    **{
        name: (TrainConfig, {**PLACES, "model.name": name}, dict(preset_of({"model.name": name})))
        for name in FAMILIES.names()
    },
    "serve": (ServeConfig, {"run": "run"}, {}),
    "predict": (PredictConfig, {"videos": ["talk.mp4"], "run": "run"}, {}),
}
# Fields whose values are bound by a rule of their own.
OTHERS = {"model.modalities": "v", "label_smoothing": 0.5, "seed": 3}
CASES = [
    (name, path) for name, (kind, _, preset) in CONFIGS.items() for path in fields_of(kind, preset)
]


def another(field: Field) -> Any:
    """A value that differs from the default."""
    if field.path == "model.name":
        return "fv2es" if field.default != "fv2es" else "fv2es-lite"
    if field.path in OTHERS:
        return OTHERS[field.path]
    if field.choices and isinstance(field.default, tuple):
        return (field.choices[0],)
    if field.choices:
        return next(choice for choice in field.choices if choice != field.default)
    if isinstance(field.default, bool):
        return not field.default
    if isinstance(field.default, int | float):
        return field.default * 2 or 1
    if isinstance(field.default, tuple) and field.default and isinstance(field.default[0], tuple):
        return field.default[::-1]
    if isinstance(field.default, tuple) and field.default and not isinstance(field.default[0], str):
        return tuple(2 * item for item in field.default)
    if isinstance(field.default, tuple):
        return ("x", "y")
    return 3 if field.none_word else "x"


@pytest.mark.parametrize(("name", "path"), CASES)
def test_a_field_is_set_by_a_file_and_by_set(name: str, path: str, tmp_path: Path) -> None:
    kind, needed, preset = CONFIGS[name]
    field = fields_of(kind, preset)[path]
    value = another(field)
    section, _, last = path.rpartition(".")
    file = tmp_path / "job.toml"
    file.write_text(f"[{section}]\n" * bool(section) + f"{last} = {toml_value(value)}\n")
    text = value if isinstance(value, str) else toml_value(value)
    for given in (given_values(file), given_values(None, [f"{path}={text}"])):
        found: Any = resolve(kind, {**needed, **given}, preset)
        for part in path.split("."):
            found = getattr(found, part)
        assert found == field.convert(value) != field.default
    assert field.doc


def call(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize("name", ["train", "predict", "serve"])
def test_what_show_prints_is_what_it_reads(name: str, tmp_path: Path) -> None:
    words = ("config", "show", name, "--set", "device=cpu")
    shown = call(*words)
    assert shown.exit_code == 0, shown.output
    file = tmp_path / "job.toml"
    file.write_text(shown.stdout)
    assert 'device = "cpu"' in shown.stdout
    assert call("config", "show", name, "--config", file).stdout == shown.stdout


def test_two_runs_from_one_shown_configuration_are_identical(
    corpus: Corpus, tmp_path: Path
) -> None:
    file = tmp_path / "job.toml"
    shown = call(
        *("config", "show", "train", "--model", "fv2es-tiny", "--modalities", "a", "--epochs", 1),
        *("--shards", corpus.shards, "--split", corpus.split, "--set", "model.dropout=0.2"),
    )
    assert "dropout = 0.2" in shown.stdout and "lr = 0.0005" in shown.stdout
    file.write_text(shown.stdout)
    for run in ("one", "two"):
        made = call("train", "--config", file, "--out", tmp_path / run)
        assert made.exit_code == 0, made.output
    for part in ("last/model.safetensors", "last/config.json", "history.jsonl"):
        first, second = ((tmp_path / run / part).read_bytes() for run in ("one", "two"))
        assert part == "history.jsonl" or first == second
    assert json.loads((tmp_path / "one/last/config.json").read_text())["model"]["dropout"] == 0.2
    differ = call("config", "diff", tmp_path / "one", tmp_path / "two", "--json")
    assert list(json.loads(differ.stdout)) == ["out"]


def test_runs_datasets_and_files_are_compared(run: Path, corpus: Corpus, tmp_path: Path) -> None:
    file = tmp_path / "job.toml"
    file.write_text("epochs = 9\n[model]\nname = 'fv2es-tiny'\n")
    shown = call("config", "diff", run, file).stdout
    assert [line.split() for line in shown.splitlines() if line.startswith("epochs")] == [
        ["epochs", "2", "9"]
    ]
    assert "model.name" not in shown
    assert call("config", "diff", corpus.shards, corpus.shards).stdout == ""
    assert call("config", "diff", run, tmp_path / "no").exit_code == 2
