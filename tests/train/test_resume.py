"""A run that was broken off continues to the very same end, wherever that was."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from fv2es_prep.errors import SplitError, TrainError, UsageError
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.training.loop import train
from fv2es_train.training.progress import Progress, Step
from fv2es_train.training.run_config import resumed
from fv2es_train.training.state import load_state
from fv2es_train.training.stopping import catch_signals, stopped
from tests.train.conftest import Corpus, make_examples, options_of, write_shards
from tests.train.processes import start

TIMES = ("seconds", "utterances_per_s")
# All that has a state or draws at random, at once. 18 utterances: 5 batches, 3 steps an epoch.
EVERYTHING: dict[str, Any] = {
    "epochs": 3,
    "batch_size": 4,
    "accumulate": 2,
    "early_stop": 0,
    "bucket": 2,
    "shuffle_shards": 1,
    "schedule": "cosine",
    "warmup": 2,
    "augment": ("flip", "spec"),
    "label_smoothing": 0.1,
}


class BrokenOffError(Exception):
    """What a test breaks a run with."""


class BreakAt(Progress):
    """Breaks off at a batch of the run, or has the process told to stop there."""

    def __init__(self, batch: int, number: int = 0) -> None:
        self.left, self.number = batch, number

    def step(self, step: Step) -> None:
        self.left -= 1
        if self.left == 0:
            if not self.number:
                raise BrokenOffError
            os.kill(os.getpid(), self.number)


def outcome(run: Path) -> dict[str, Any]:
    """All that a run leaves and that does not tell the time."""
    lines = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    return {
        "history": [{k: v for k, v in line.items() if k not in TIMES} for line in lines],
        "metrics": json.loads((run / "metrics.json").read_text().replace(str(run), "RUN")),
        "best": (run / "best/model.safetensors").read_bytes(),
        "last": (run / "last/model.safetensors").read_bytes(),
        "config": (run / "best/config.json").read_bytes(),
    }


@pytest.fixture(scope="module")
def unbroken(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    out = tmp_path_factory.mktemp("unbroken") / "run"
    train(options_of(corpus, out, **EVERYTHING))
    return outcome(out)


@pytest.mark.parametrize(
    ("batch", "save_every"),
    [
        (4, 1),
        (7, 0),
        (11, 2),
        *(
            pytest.param(batch, save_every, marks=pytest.mark.slow)
            for save_every in (0, 1, 3)
            for batch in (1, 2, 5, 6, 9, 14, 15)
        ),
    ],
)
def test_a_broken_run_continues_to_the_same_end(
    batch: int, save_every: int, corpus: Corpus, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    with pytest.raises(BrokenOffError):
        train(options_of(corpus, run, save_every=save_every, **EVERYTHING), BreakAt(batch))
    torch.rand(5)
    saved = load_state(run).state
    assert (saved.epoch, saved.batches) == where(batch - 1, save_every)
    summary = train(resumed(run))
    assert summary is not None and summary["epochs"] == 3
    continued = outcome(run)
    continued["config"] = continued["config"].replace(
        b'"save_every": %d' % save_every, b'"save_every": 0'
    )
    assert continued == unbroken


def where(batches: int, save_every: int) -> tuple[int, int]:
    """Epoch and batch of the last saved state, after so many batches of the run."""
    epoch, inside = divmod(batches, 5)
    steps = inside // 2
    total = 3 * epoch + steps
    kept = save_every and max(
        (s for s in range(3 * epoch + 1, total + 1) if s % save_every == 0), default=0
    )
    return epoch + 1, 2 * (kept - 3 * epoch) if kept else 0


def test_a_run_that_is_told_to_stop_saves_where_it_is(
    corpus: Corpus, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    # In a process of its own: libraries of other tests may have spoilt the stack for signals here.
    process = start(options_of(corpus, run, **EVERYTHING), BreakAt(7, signal.SIGTERM))
    process.join()
    assert process.exitcode == 1
    saved = load_state(run).state
    # Told during the second batch, it finished the step that the next two batches make.
    assert (saved.epoch, saved.batches, saved.steps) == (2, 4, 5)
    train(resumed(run))
    assert outcome(run) == unbroken


def test_who_is_told_to_stop_says_how_to_go_on(tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGTERM)
    with catch_signals() as received:
        assert not received()
    assert signal.getsignal(signal.SIGTERM) is before
    error = stopped(tmp_path, 2, signal.SIGTERM)
    assert "SIGTERM stopped the training in epoch 2" in error.sentence
    assert f"--resume {tmp_path}" in error.hint


def killed_again_and_again(
    corpus: Corpus, run: Path, kills: int, longest_s: float, changes: dict[str, Any]
) -> int:
    """Train in processes that are killed at random moments; at last in one that is not."""
    chance = random.Random(str(run))
    reached = 0
    for number in range(kills + 1):
        begun = (run / "config.toml").exists()
        options = resumed(run) if begun else options_of(corpus, run, **changes)
        options = replace(options, threads=1, overwrite=not begun)
        process = start(options)
        if number < kills:
            process.join(chance.uniform(0, longest_s))
            process.kill()
        process.join()
        reached += process.exitcode == -signal.SIGKILL
    assert process.exitcode == 0
    return reached


def test_a_run_killed_at_random_ends_the_same(
    corpus: Corpus, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / "run"
    changes = {**EVERYTHING, "save_every": 1}
    assert killed_again_and_again(corpus, run, 6, 1.5, changes) > 0
    continued = outcome(run)
    continued["config"] = continued["config"].replace(b'"save_every": 1', b'"save_every": 0')
    assert continued == unbroken


@pytest.mark.slow
@pytest.mark.parametrize("turn", range(5))
def test_runs_killed_many_times_end_the_same(
    turn: int, corpus: Corpus, unbroken: dict[str, Any], tmp_path: Path
) -> None:
    run = tmp_path / f"run{turn}"
    assert killed_again_and_again(corpus, run, 20, 2.0, EVERYTHING) > 0
    assert outcome(run) == unbroken


def test_a_finished_run_can_be_given_more_epochs(corpus: Corpus, tmp_path: Path) -> None:
    train(options_of(corpus, tmp_path / "long", modalities="t", epochs=3))
    train(options_of(corpus, tmp_path / "short", modalities="t", epochs=2))
    more = train(resumed(tmp_path / "short", epochs=3))
    assert more is not None and more["epochs"] == 3
    long, short = (outcome(tmp_path / name) for name in ("long", "short"))
    assert short["history"] == long["history"] and short["last"] == long["last"]
    again = train(resumed(tmp_path / "short"))
    assert again is not None and again["test"] == more["test"]


def test_a_checkpoint_is_found_in_the_moment_between_its_two_names(
    run: Path, tmp_path: Path
) -> None:
    copy = shutil.copytree(run, tmp_path / "run")
    # As a kill leaves it that comes after the old one was moved away.
    shutil.copytree(copy / "best", copy / ".best.new")
    (copy / "best").rename(copy / ".best.old")
    assert load_checkpoint(copy).epoch == load_checkpoint(run).epoch
    train(resumed(copy))
    assert (copy / "best").is_dir()
    assert not list(copy.glob(".best.*"))
    # As a kill leaves it that comes while the new one is written.
    (copy / ".best.new").mkdir()
    assert load_checkpoint(copy).epoch == load_checkpoint(run).epoch


def test_what_the_run_began_with_has_to_be_there(corpus: Corpus, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(BrokenOffError):
        train(options_of(corpus, run, modalities="t"), BreakAt(2))
    other = corpus.resplit(lambda s: s, tmp_path / "other.json")
    with pytest.raises(SplitError, match="the run began with another split"):
        train(resumed(run, split=other))
    shards = write_shards(tmp_path / "shards", make_examples(36, seed=1))
    with pytest.raises(UsageError, match="the run began with other shards"):
        train(resumed(run, shards=shards))
    moved = shutil.copytree(corpus.shards, tmp_path / "moved")
    assert train(resumed(run, shards=moved)) is not None
    assert resumed(run).shards == moved


def test_places_that_hold_no_run_are_refused(corpus: Corpus, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="contains no run to continue"):
        resumed(tmp_path)
    run = tmp_path / "run"
    with pytest.raises(BrokenOffError):
        train(options_of(corpus, run, modalities="t"), BreakAt(2))
    state = (run / "state.pt").read_bytes()
    (run / "state.pt").write_bytes(state[: len(state) // 2])
    with pytest.raises(TrainError, match=r"state\.pt cannot be read"):
        train(resumed(run))
    (run / "config.toml").write_text("{}")
    with pytest.raises(TrainError, match=r"config\.toml cannot be read"):
        resumed(run)


def test_a_run_killed_before_it_first_saved_begins_anew(corpus: Corpus, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(BrokenOffError):
        train(options_of(corpus, run, modalities="t"), BreakAt(2))
    (run / "state.pt").unlink()
    train(resumed(run))
    train(options_of(corpus, tmp_path / "whole", modalities="t"))
    assert outcome(run) == outcome(tmp_path / "whole")


def test_a_state_is_read_without_running_anything(run: Path) -> None:
    assert torch.load(run / "state.pt", weights_only=True)["version"] == 1
    assert load_state(run).state.epoch == 3
