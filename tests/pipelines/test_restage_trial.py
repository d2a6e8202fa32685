"""`shards add --dry-run`: the time and memory of all, from a few examples."""

from __future__ import annotations

import json
import time
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.tools import restage_trial
from fv2es_prep.stages.base import Column, Stage
from fv2es_prep.stages.registry import STAGES

EACH_S, WIDE = 0.01, 100_000


class Slow(Stage):
    """A row of zeros for each transcript, after 10 ms."""

    name, needs, noun, can_drop = "slow", ("transcript",), "zeros", False

    def columns(self, settings):
        return (Column("values", "row", "<f4", (WIDE,), "", "zeros"),)

    def load(self, context):
        def make(_: str):
            time.sleep(EACH_S)
            return np.zeros(WIDE, np.float32)

        return make


SLOW = Slow()


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    point = EntryPoint("slow", f"{__name__}:SLOW", "fv2es.stages")
    monkeypatch.setitem(STAGES._points, "slow", point)


@pytest.mark.usefixtures("slow")
@pytest.mark.parametrize("group", [64, 4])
def test_a_dry_run_tells_the_time_and_memory_of_all(
    group: int, shards: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restage_trial, "GROUP", group)
    before = {path.name: path.stat().st_mtime_ns for path in shards.iterdir()}
    told = {}
    for executor in ("inline", "local:3"):
        words = ("shards", "add", shards, "slow", "--dry-run", "--json", "--executor", executor)
        result = CliRunner().invoke(app, [*map(str, words)])
        assert result.exit_code == 0, result.output
        told[executor] = json.loads(result.stdout)
    count = read_index(shards).examples
    assert count == 18
    alone, spread = told.values()
    # The seconds of the examples that were not made are told, too.
    assert count * EACH_S <= alone["estimated_s"] < 5
    assert (alone["workers"], spread["workers"]) == (1, 3)
    assert count * EACH_S / 3 <= spread["estimated_s"] < 5
    # A group of rows, once as made and once as stored.
    assert alone["worker_bytes"] > 50e6 + 2 * (group - min(group, count)) * 4 * WIDE
    assert {path.name: path.stat().st_mtime_ns for path in shards.iterdir()} == before


def test_nothing_to_add_takes_no_time(shards: Path) -> None:
    words = ("shards", "add", str(shards), "mel", "--dry-run", "--json")
    told = json.loads(CliRunner().invoke(app, [*words]).stdout)
    assert (told["stages"], told["estimated_s"], told["worker_bytes"]) == ([], 0, 0)
