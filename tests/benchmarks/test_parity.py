"""The parity table: a reference in the published manner holds, and what departs is found."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.__main__ import main
from benchmarks.parity import Row, compare, compare_inputs, table
from fv2es_train.data.batches import Batch, collate
from tests.benchmarks import reference
from tests.train.conftest import make_examples, write_shards


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small tensors are fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def batch() -> Batch:
    return collate(make_examples(6), pad_id=0)


def failed(make: Callable[[], Any], lr: float) -> list[str]:
    return [row.check for row in compare(make, batch(), 3, lr) if not row.holds]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["audio", "Small"])
def test_the_table_is_printed_and_every_line_holds(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shards = write_shards(tmp_path / "shards", make_examples(6))
    words = ["parity", "--reference", f"tests.benchmarks.reference:{name}", "--shards", str(shards)]
    assert main([*words, "--utterances", "3", "--steps", "2"]) == 0, capsys.readouterr().out
    shown = capsys.readouterr().out
    assert shown.count("holds") == 6 and "loss over 2 optimizer steps" in shown


def test_what_goes_into_the_network_is_compared(demo: Path) -> None:
    video = demo / "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    rows = list(compare_inputs(reference.Small(), video, "left"))
    assert [row.check for row in rows] == ["mel power, relative", "faces, mean of grey levels"]
    assert all(row.holds for row in rows)
    assert rows[1].where.startswith("20 faces")
    assert not any(row.holds for row in compare_inputs(reference.LogPower(), video, "left"))
    assert list(compare_inputs(object(), video)) == []


def test_another_start_is_found() -> None:
    row = next(compare(reference.OtherStart, batch(), 3, 4.5e-6))
    assert not row.holds and row.where.startswith("mel.nest.patch_embed.proj")


@pytest.mark.slow
def test_other_groups_are_found() -> None:
    assert failed(reference.EqualGroups, 1e-2) == ["loss over 3 optimizer steps"]


def test_a_line_without_a_number_fails() -> None:
    assert "FAILS" in table([Row("logits", float("nan"), 1e-4)])
