"""`fv2es train` as it is typed: what it passes on, what --resume needs and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fv2es_prep.errors import UsageError
from fv2es_train.commands.train import train
from tests.train.conftest import Corpus

APP = typer.Typer()
APP.command()(train)


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def test_a_run_is_trained_and_continued(corpus: Corpus, tmp_path: Path) -> None:
    run = tmp_path / "run"
    first = typed(
        *("--shards", corpus.shards, "--split", corpus.split, "--out", run, "--json"),
        *("--model", "fv2es-tiny", "--modalities", "t", "--epochs", 1, "--augment", "flip,spec"),
        *("--freeze-text", "embeddings", "--class-weights", "balanced", "--warmup", 2),
    )
    assert first.exit_code == 0, first.output
    assert json.loads(first.stdout)["epochs"] == 1
    config = json.loads((run / "last/config.json").read_text())["train"]
    assert config["augment"] == ["flip", "spec"] and config["freeze_text"] == "embeddings"
    assert config["class_weights"] == "balanced" and config["warmup"] == 2
    second = typed("--resume", run, "--epochs", 2)
    assert second.exit_code == 0, second.output
    assert "f1_binary" in second.stdout and second.stdout.endswith(f"run {run}\n")
    assert "epoch 2:" in second.stderr and "epoch 1:" not in second.stderr
    assert len((run / "history.jsonl").read_text().splitlines()) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--out", "run"), "shards is missing"),
        (("--resume", "nowhere"), "contains no run to continue"),
        (("--resume", "nowhere", "--lr", 1), "lr cannot change"),
        (("--resume", "nowhere", "--compile"), "compile cannot change"),
        (("--resume", "nowhere", "--overwrite"), "overwrite cannot change"),
    ],
)
def test_what_does_not_go_together_is_refused(arguments: tuple[object, ...], said: str) -> None:
    error = typed(*arguments).exception
    assert isinstance(error, UsageError)
    assert said in error.sentence and error.hint


def test_help_shows_the_options_in_groups() -> None:
    shown = typed("--help").stdout
    for group in ("Data and run", "Model", "Learning", "Loss and augmentation", "Speed and memory"):
        assert group in shown
