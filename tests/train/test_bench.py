"""`fv2es bench`: one table of many models."""

from __future__ import annotations

import contextlib
import csv
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

import fv2es_train.bench.trainings as trainings
from fv2es_prep.errors import SplitError, UsageError
from fv2es_prep.splits import read_split, write_split
from fv2es_prep.utils.claims import Claim, records
from fv2es_train.bench.bench_config import BenchConfig, rows_of
from fv2es_train.bench.trainings import bench
from fv2es_train.commands.bench import bench as command
from fv2es_train.evaluation.comparison import compare
from fv2es_train.evaluation.predictions import file_of, join, read_predictions
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import train_config
from tests.command_line import Running, start
from tests.train.conftest import Corpus

FEATURES = ("mel", "tokens")
ACCURACY = "single_label.accuracy"


@pytest.fixture(scope="module")
def folds(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds: test and train change places in part."""
    place, split = tmp_path_factory.mktemp("folds"), read_split(corpus.split)
    write_split(split, place / "fold-0.json")
    other = replace(split, train=(*split.train[6:], *split.test), test=split.train[:6])
    write_split(other, place / "fold-1.json")
    return place


def protocol(corpus: Corpus, split: Path, out: Path, **changes: Any) -> BenchConfig:
    given = {"models": ("linear",), "modalities": ("a", "ta"), "features": FEATURES}
    return BenchConfig(shards=corpus.shards, split=split, out=out, **{**given, **changes})


def json_of(out: Path) -> dict[str, Any]:
    return dict(json.loads((out / "table.json").read_text()))


@pytest.fixture(scope="module")
def table(
    corpus: Corpus, folds: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dict[str, Any]]:
    out = tmp_path_factory.mktemp("bench")
    return out, bench(protocol(corpus, folds, out, resamples=200))


def test_a_row_is_what_single_runs_say(
    table: tuple[Path, dict[str, Any]], corpus: Corpus, folds: Path, tmp_path: Path
) -> None:
    out, result = table
    assert [(r["model"], r["modalities"], r["runs"]) for r in result["rows"]] == [
        ("linear", "a", 2),
        ("linear", "ta", 2),
    ]
    places = [out / f"runs/linear-ta/seed-0/fold-{n}" for n in (0, 1)]
    given = {"shards": corpus.shards, "split": folds / "fold-1.json", "out": tmp_path / "one"}
    train(train_config("linear", model={"features": FEATURES, "modalities": "ta"}, **given))
    single, ours = (file_of(run, "test").read_bytes() for run in (tmp_path / "one", places[1]))
    assert single == ours
    pooled = join([read_predictions(file_of(run, "test")) for run in places])
    right = pooled.logits.argmax(1) == pooled.truth.argmax(1)
    found = result["rows"][1]["metrics"][ACCURACY]
    assert len(pooled) == 18 and found["mean"] == pytest.approx(right.mean())
    each = [json.loads((run / "metrics.json").read_text())["test"] for run in places]
    values = [one["single_label"]["accuracy"] for one in each]
    assert found["spread"] == pytest.approx(np.std(values, ddof=1))
    apart = found["mean"] - result["rows"][0]["metrics"][ACCURACY]["mean"]
    assert found["difference"] == pytest.approx(apart)
    assert result["rows"][0]["metrics"][ACCURACY]["difference"] is None
    assert result["split"]["listed"]["test"] == 18


def test_differences_are_those_of_compare(corpus: Corpus, tmp_path: Path) -> None:
    result = bench(protocol(corpus, corpus.split, tmp_path / "bench"))
    runs = [tmp_path / f"bench/runs/linear-{letters}/seed-0" for letters in ("a", "ta")]
    expected = compare(runs)["differences"][0]["single_label"]["accuracy"]
    found = result["rows"][1]["metrics"][ACCURACY]
    assert found["difference_interval"] == expected["interval"] and found["p"] == expected["p"]


def test_the_same_call_trains_nothing_again(
    table: tuple[Path, dict[str, Any]],
    corpus: Corpus,
    folds: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    out, result = table
    monkeypatch.setattr(trainings, "train_or_continue", lambda _: pytest.fail("trained again"))
    again = bench(protocol(corpus, folds, out, resamples=200))
    assert again["rows"] == result["rows"]
    with pytest.raises(UsageError, match=r"contains a run with model\.l2"):
        bench(protocol(corpus, folds, out, train={"model.l2": 0.5}))


def test_the_table_is_written_in_four_forms(table: tuple[Path, dict[str, Any]]) -> None:
    out, result = table
    stored = json_of(out)
    assert {**stored, "seconds": 0} == {**result, "seconds": 0}
    with (out / "table.csv").open() as file:
        lines = [line for line in csv.DictReader(file) if line["metric"] == ACCURACY]
    wanted = [row["metrics"][ACCURACY]["mean"] for row in result["rows"]]
    assert [float(line["mean"]) for line in lines] == wanted and lines[0]["difference"] == ""
    markdown, latex = ((out / f"table.{end}").read_text() for end in ("md", "tex"))
    for text in (markdown, latex):
        assert f"{wanted[1]:.3f}" in text and "12 test" not in text and "18 test" in text
    assert "| linear | ta | 2 |" in markdown
    assert "single\\_label.accuracy" in latex and latex.count(r"\\") == 3


def test_a_file_is_a_protocol_and_a_failure_does_not_end_the_others(
    corpus: Corpus, tmp_path: Path
) -> None:
    file, out = tmp_path / "protocol.toml", tmp_path / "out"
    file.write_text(
        f'shards = "{corpus.shards}"\nsplit = "{corpus.split}"\nmodels = ["linear", "mult"]\n'
        'modalities = ["v", "a"]\nfeatures = ["mel"]\nmetrics = ["f1_weighted"]\n'
        "[train]\nepochs = 1\n[train.mult.model]\nhidden = 8\nlayers = 1\n"
    )
    words, app = ["--config", str(file), "--out", str(out)], typer.Typer()
    app.command()(command)
    refused = CliRunner().invoke(app, words)
    assert (
        refused.exit_code == 1
        and "runs/mult-v/seed-0 failed: mult reads the features mel" in refused.stderr
    )
    done = CliRunner().invoke(app, [*words, "--modalities", "a", "--json"])
    assert done.exit_code == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    assert [row["model"] for row in rows] == ["linear", "mult"]
    stored = (out / "runs/mult-a/seed-0/config.toml").read_text()
    assert "hidden = 8" in stored and "epochs = 1" in stored


def test_what_a_protocol_cannot_mean_is_refused(
    corpus: Corpus, folds: Path, tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="seeds of a bench are 1, 1"):
        protocol(corpus, folds, tmp_path, seeds=(1, 1))
    with pytest.raises(UsageError, match="unknown"):
        rows_of(protocol(corpus, folds, tmp_path, train={"epoch": 2}), (corpus.split,))
    split = read_split(corpus.split)
    write_split(split, tmp_path / "fold-0.json")
    write_split(split, tmp_path / "fold-1.json")
    with pytest.raises(SplitError, match="24 test utterances, 12|36 test utterances, 18"):
        bench(protocol(corpus, tmp_path, tmp_path / "out"))


def test_runs_of_another_process_are_awaited_and_those_of_a_dead_one_taken_over(
    table: tuple[Path, dict[str, Any]],
    corpus: Corpus,
    folds: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    config = protocol(corpus, folds, tmp_path, modalities=("a",), resamples=200)
    claims, said, waited = tmp_path / trainings.CLAIMS, list[str](), list[float]()
    claims.mkdir()
    held = Claim.take(claims, "runs-linear-a-seed-0-fold-0")
    assert held and Claim.take(claims, "runs-linear-a-seed-0-fold-1")
    # The record of a process on another host whose heart stopped long ago.
    (record,) = records(claims, "runs-linear-a-seed-0-fold-1")
    record.write_text('{"process": 1, "host": "elsewhere"}')
    os.utime(record, (0, 0))
    (row,) = rows_of(config, tuple(sorted(folds.iterdir())))
    theirs, taken_over = row.seeds[0]

    def another(seconds: float) -> None:
        waited.append(seconds)
        assert not theirs.out.exists() and (taken_over.out / "metrics.json").exists()
        train(theirs)
        held.release()

    monkeypatch.setattr(trainings.time, "sleep", another)
    (found,) = bench(config, said.append)["rows"]
    assert found["metrics"] == table[1]["rows"][0]["metrics"]
    assert len(waited) == 1 and "waiting for 1 runs in other processes" in said
    assert said[-1].endswith("fold-0") and records(claims) == []


def wait_for(out: Path, enough: int, *running: Running) -> None:
    """Wait until a bench has so many ended trainings, or one of its processes ends."""
    # Of a fixed depth: a recursive search meets directories that a run removes.
    ended = "runs/*/seed-*/fold-*/metrics.json"
    while len(list(out.glob(ended))) < enough and all(one.process.is_alive() for one in running):
        time.sleep(0.05)


@pytest.mark.slow
def test_a_bench_that_is_killed_twice_ends_as_one_that_is_not(
    corpus: Corpus, folds: Path, tmp_path: Path
) -> None:
    sizes = {"epochs": 3, "lf-rnn.model.hidden": 8, "mult.model.hidden": 8, "mult.model.layers": 1}
    changes: dict[str, Any] = {"models": ("linear", "lf-rnn", "mult"), "seeds": (0,)}
    whole = bench(protocol(corpus, folds, tmp_path / "whole", train=sizes, **changes))
    out = tmp_path / "killed"
    words: list[object] = ["bench", "--shards", corpus.shards, "--split", folds, "--out", out]
    words += ["--models", "linear,lf-rnn,mult", "--modalities", "a,ta", "--features", "mel,tokens"]
    words += ["--jobs", 2]
    words += [part for k, v in sizes.items() for part in ("--set", f"train.{k}={v}")]
    (out / trainings.CLAIMS).mkdir(parents=True)
    with contextlib.ExitStack() as held:
        # No bench can end while these two are claimed, however slowly this test notices a training.
        for fold in (0, 1):
            claim = Claim.take(out / trainings.CLAIMS, f"runs-mult-ta-seed-0-fold-{fold}")
            assert claim
            held.enter_context(claim)
        for number, enough in ((signal.SIGKILL, 2), (signal.SIGTERM, 4)):
            running = start(*words)
            wait_for(out, enough, running)
            running.send_signal(number)
            assert running.wait().returncode == -number
        # The rest is shared by two processes, one of which dies.
        two = [start(*words, "--jobs", 1) for _ in range(2)]
        wait_for(out, 9, *two)
        two[0].send_signal(signal.SIGKILL)
        assert two[0].wait().returncode == -signal.SIGKILL
    done = two[1].wait()
    assert done.returncode == 0, done.stderr
    found = json_of(out)
    for ours, theirs in zip(found["rows"], whole["rows"], strict=True):
        assert ours["metrics"] == theirs["metrics"]
