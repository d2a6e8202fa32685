"""Processes that share each batch have the curve of one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from fv2es_prep.types import Example, MelSpectrum
from fv2es_train.training.distributed import CpuSyncBatchNorm, World
from fv2es_train.training.loop import train
from tests.train.conftest import SETTINGS, Corpus, make_examples, options_of, write_shards
from tests.train.processes import together

ROOT = Path(__file__).parents[2]


def torchrun(*arguments: object, packages: str) -> subprocess.CompletedProcess[str]:
    start = (sys.executable, "-m", "torch.distributed.run", "--standalone")
    return subprocess.run(
        [*start, "--nproc-per-node", "2", "-m", "cli", *map(str, arguments)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": f"{ROOT}{os.pathsep}{packages}"},
        timeout=120,
    )


def history(run: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]


# 18 rows in batches of 17: the second one holds one utterance, which both have to compute.
GIVEN: dict[str, Any] = {"batch_size": 17, "augment": ("flip", "spec"), "early_stop": 0}


def same_curve(one: Path, two: Path) -> None:
    """Losses within 1e-3, weights close."""
    for name in ("train_loss", "valid_loss"):
        first, second = ([line[name] for line in history(run)] for run in (one, two))
        assert second == pytest.approx(first, abs=1e-3)
    single, shared = (load_file(run / "last/model.safetensors") for run in (one, two))
    for name, value in single.items():
        torch.testing.assert_close(shared[name], value, rtol=1e-2, atol=5e-3)


@pytest.mark.usefixtures("still")
def test_two_processes_have_the_curve_of_one(corpus: Corpus, tmp_path: Path) -> None:
    options = options_of(corpus, tmp_path / "one", epochs=2, threads=1, model="still", **GIVEN)
    train(options)
    assert together(replace(options, out=tmp_path / "two"), 2) == [0, 0]
    same_curve(tmp_path / "one", tmp_path / "two")


@pytest.mark.usefixtures("still")
def test_a_process_without_a_face_in_its_part_waits_for_the_others(tmp_path: Path) -> None:
    examples = make_examples(18)
    for row in range(1, 18, 2):
        one = examples[row]
        examples[row] = Example(
            one.utterance, one.label, {"v": "no_face"}, mel=one.mel, tokens=one.tokens
        )
    shards = write_shards(tmp_path / "shards", examples, replace(SETTINGS, require=""))
    corpus = Corpus(shards, tmp_path / "split.json", examples)
    names = tuple(example.utterance.id for example in examples)
    corpus.resplit(lambda s: replace(s, train=names[:12], valid=names[12:], test=()), corpus.split)
    options = options_of(
        corpus, tmp_path / "one", epochs=1, threads=1, model="still", batch_size=2, early_stop=0
    )
    train(options)
    assert together(replace(options, out=tmp_path / "two"), 2) == [0, 0]
    same_curve(tmp_path / "one", tmp_path / "two")


def test_batch_norms_count_a_batch_once_that_each_process_computes_whole() -> None:
    model, world = torch.nn.Sequential(torch.nn.BatchNorm2d(2)), World(0, 2, torch.device("cpu"))
    world.sync_norms(model, 2)
    assert type(model[0]) is CpuSyncBatchNorm
    world.sync_norms(model, 1)
    assert type(model[0]) is torch.nn.BatchNorm2d


def test_each_process_draws_dropout_masks_of_its_own() -> None:
    def draw(rank: int, size: int, step: int = 0) -> list[float]:
        torch.manual_seed(0)
        World(rank, size, torch.device("cpu")).seed(1, step)
        return torch.rand(4).tolist()

    assert draw(0, 2) != draw(1, 2) and draw(0, 2) != draw(0, 2, step=1)
    assert draw(1, 2) == draw(1, 2)
    # One process keeps the stream that its weights came from.
    torch.manual_seed(0)
    expected = torch.rand(4).tolist()
    assert draw(0, 1) == expected


def test_a_loss_that_is_no_number_stops_all_processes(tmp_path: Path) -> None:
    examples = make_examples(18)
    spoilt = np.full_like(examples[4].mel.log_power, np.nan)
    examples[4] = examples[4].replace(mel=MelSpectrum(spoilt, 0.0125))
    corpus = Corpus(write_shards(tmp_path / "shards", examples), tmp_path / "split.json", examples)
    names = tuple(example.utterance.id for example in examples)
    corpus.resplit(lambda s: replace(s, train=names[:12], valid=names[12:], test=()), corpus.split)
    options = options_of(corpus, tmp_path / "run", modalities="a", threads=1, batch_size=4)
    assert together(options, 2) == [1, 1]
    assert not (tmp_path / "run" / "best").exists()


@pytest.mark.slow
def test_torchrun_starts_the_command(corpus: Corpus, tmp_path: Path, still: str) -> None:
    # At the model's own rate, Adam turns rounding of gradients near zero into whole steps.
    train(options_of(corpus, tmp_path / "one", epochs=3, lr=1e-4, model="still", **GIVEN))
    result = torchrun(
        *("train", "--shards", corpus.shards, "--split", corpus.split, "--out", tmp_path / "two"),
        *("--model", "still", "--epochs", 3, "--batch-size", 17, "--augment", "flip,spec"),
        *("--early-stop", 0, "--lr", 1e-4, "--json"),
        packages=still,
    )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["processes"] == 2
    assert result.stderr.count("epoch 1:") == 1
    same_curve(tmp_path / "one", tmp_path / "two")


@pytest.mark.slow
def test_a_run_may_continue_with_another_number_of_processes(
    corpus: Corpus, tmp_path: Path, still: str
) -> None:
    given = {"batch_size": 5, "accumulate": 2, "early_stop": 0, "model": "still"}
    train(options_of(corpus, tmp_path / "one", epochs=4, **given))
    train(options_of(corpus, tmp_path / "two", epochs=2, **given))
    result = torchrun("train", "--resume", tmp_path / "two", "--epochs", 4, packages=still)
    assert result.returncode == 0, result.stderr
    one, two = history(tmp_path / "one"), history(tmp_path / "two")
    losses = [[line["train_loss"] for line in lines] for lines in (one, two)]
    assert losses[1] == pytest.approx(losses[0], abs=1e-3)
