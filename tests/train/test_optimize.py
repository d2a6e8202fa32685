"""How the learning rate goes, and the options that make training faster or smaller."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fv2es_prep.errors import UsageError
from fv2es_train.config import TrainConfig
from fv2es_train.training.loop import train
from fv2es_train.training.optimization import deterministic, lr_factor
from tests.train.conftest import Corpus, options_of


def test_the_learning_rate_rises_and_falls_as_asked() -> None:
    def rates(schedule: str, warmup: int) -> list[float]:
        return [lr_factor(schedule, warmup, step, 8) for step in range(1, 9)]

    assert rates("constant", 0) == [1] * 8
    assert rates("constant", 3) == [0.25, 0.5, 0.75, 1, 1, 1, 1, 1]
    assert rates("linear", 4) == [0.2, 0.4, 0.6, 0.8, 1, 0.75, 0.5, 0.25]
    cosine = rates("cosine", 0)
    assert cosine == sorted(cosine, reverse=True)
    assert cosine[0] == 1 and cosine[4] == pytest.approx(0.5) and 0 < cosine[7] < 0.05


def test_history_holds_the_learning_rate_of_its_epoch(corpus: Corpus, tmp_path: Path) -> None:
    options = options_of(corpus, tmp_path / "run", modalities="t", lr=0.01, schedule="linear")
    train(replace(options, epochs=2, batch_size=9))
    lines = [json.loads(line) for line in (tmp_path / "run/history.jsonl").read_text().splitlines()]
    assert [line["lr"]["main"] for line in lines] == pytest.approx([0.0075, 0.0025])
    assert [line["steps"] for line in lines] == [2, 4]


def final(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run / "last" / "model.safetensors")


@pytest.mark.usefixtures("still")
def test_accumulated_batches_are_one_large_batch(corpus: Corpus, tmp_path: Path) -> None:
    # Text alone: the batch norms of faces and sound look at one batch at a time.
    given = {"model": "still", "modalities": "t", "batch_size": 12}
    options = options_of(corpus, tmp_path / "whole", **given)
    train(options)
    train(replace(options, out=tmp_path / "parts", batch_size=4, accumulate=3))
    whole, parts = final(tmp_path / "whole"), final(tmp_path / "parts")
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=2e-4)


def test_bfloat16_learns_nearly_the_same(corpus: Corpus, tmp_path: Path, run: Path) -> None:
    train(options_of(corpus, tmp_path / "run", amp="bf16"))
    full, half = (
        [json.loads(line)["train_loss"] for line in (r / "history.jsonl").read_text().splitlines()]
        for r in (run, tmp_path / "run")
    )
    assert half == pytest.approx(full, rel=0.05)
    assert half != full
    assert all(value.dtype != torch.bfloat16 for value in final(tmp_path / "run").values())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="torch compiles with a C++ compiler")
def test_a_compiled_network_learns_the_same(corpus: Corpus, tmp_path: Path) -> None:
    # One encoder: each takes a minute or more to compile.
    for name, compiled in (("plain", False), ("compiled", True)):
        train(options_of(corpus, tmp_path / name, modalities="t", compile=compiled))
    plain, made = (
        [json.loads(line)["train_loss"] for line in (r / "history.jsonl").read_text().splitlines()]
        for r in (tmp_path / "plain", tmp_path / "compiled")
    )
    assert made == pytest.approx(plain, abs=1e-3)
    assert final(tmp_path / "compiled").keys() == final(tmp_path / "plain").keys()


def test_torch_is_left_as_it_was() -> None:
    before = torch.are_deterministic_algorithms_enabled()
    with deterministic(torch.device("cpu")):
        assert torch.are_deterministic_algorithms_enabled()
    assert torch.are_deterministic_algorithms_enabled() == before


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schedule": "up"}, r"schedule is 'up', expected constant \| linear \| cosine"),
        ({"amp": "fp8"}, "amp is 'fp8'"),
        ({"freeze_text": "half"}, r"'half', expected none \| embeddings \| all \| int >= 0"),
        ({"class_weights": "odd"}, "class_weights is 'odd'"),
        ({"label_smoothing": 1.0}, "label_smoothing is 1.0"),
        ({"accumulate": 0}, "accumulate is 0"),
        ({"bucket": -1}, "bucket is -1"),
    ],
)
def test_options_out_of_range_are_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        TrainConfig(**change)


def test_a_number_of_layers_is_understood() -> None:
    assert TrainConfig(freeze_text=6).freeze_text == 6
