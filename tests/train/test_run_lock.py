"""One process trains in a run's directory at a time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from fv2es_prep.errors import SplitError, TrainError, UsageError
from fv2es_prep.utils.claims import LOCK_NAME, STALE_S, Claim, locked, records
from fv2es_train.training.folds import train_folds
from fv2es_train.training.loop import train
from fv2es_train.training.progress import Progress, Step
from fv2es_train.training.run_config import resumed
from tests.train.conftest import Corpus, options_of
from tests.train.processes import start

_PATIENCE_S = 60


class Hang(Progress):
    """Stays in the first batch for ever, and leaves a file that says so."""

    def __init__(self, begun: Path) -> None:
        self.begun = begun

    def step(self, step: Step) -> None:  # the interface
        self.begun.touch()
        time.sleep(_PATIENCE_S)


class LoseRun(Progress):
    """Another process takes the run over in the first batch, as after a long suspension."""

    def __init__(self, run: Path) -> None:
        self.run = run

    def step(self, step: Step) -> None:
        if step.batch == 1:
            (record,) = records(self.run, LOCK_NAME)
            past = time.time() - STALE_S - 1
            os.utime(record, (past, past))
            assert Claim.take(self.run, LOCK_NAME) is not None


def test_a_run_has_one_process_and_a_killed_one_frees_it(corpus: Corpus, tmp_path: Path) -> None:
    run, begun = tmp_path / "run", tmp_path / "begun"
    config = options_of(corpus, run, epochs=1)
    first = start(config, Hang(begun))
    try:
        until = time.monotonic() + _PATIENCE_S
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.05)
        said = f"is being written by process {first.pid} on "
        # With --overwrite nothing else would refuse it.
        for second in (options_of(corpus, run, overwrite=True), resumed(run)):
            with pytest.raises(UsageError, match=said):
                train(second)
    finally:
        first.kill()
        first.join()
    summary = train(resumed(run))
    assert summary is not None and summary["epochs"] == 1
    assert not records(run, LOCK_NAME)


def test_a_run_that_was_taken_over_writes_nothing_more(corpus: Corpus, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with pytest.raises(TrainError, match="another process has taken over"):
        train(options_of(corpus, run, epochs=1), LoseRun(run))
    assert not (run / "last").exists()
    assert (run / "history.jsonl").read_text() == ""


def test_a_refused_start_leaves_nothing(corpus: Corpus, tmp_path: Path) -> None:
    run, folds = tmp_path / "run", tmp_path / "folds"
    with pytest.raises(SplitError):
        train(options_of(corpus, run, split=tmp_path / "none.json"))
    assert not run.exists()
    folds.mkdir()
    (folds / "fold-0.json").write_bytes(corpus.split.read_bytes())
    run.mkdir()
    with locked(run), pytest.raises(UsageError, match="is being written by process"):
        train_folds(options_of(corpus, run, split=folds))
    assert not list(run.iterdir())
