"""`fv2es runs`: every run below a directory is listed, finished, unfinished or damaged."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
import typer
from typer.testing import CliRunner

from fv2es_prep.errors import StoppedError, TrainError, UsageError
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.emotions import named
from fv2es_train.commands.runs import runs as runs_command
from fv2es_train.training.run_config import stored_config
from fv2es_train.training.run_dir import held
from fv2es_train.training.runs import format_runs, list_runs, runs_page

APP = typer.Typer()
APP.command()(runs_command)


def copy(run: Path, place: Path) -> Path:
    """The small files of a run."""
    place.mkdir(parents=True)
    for path in (*run.glob("*.json*"), run / "config.toml"):
        shutil.copy(path, place)
    return place


@pytest.fixture
def runs(run: Path, tmp_path: Path) -> Path:
    copy(run, tmp_path / "runs/b/fold-0")
    (copy(run, tmp_path / "runs/a") / "metrics.json").unlink()
    return tmp_path / "runs"


def test_a_finished_run_shows_what_it_measured(run: Path, runs: Path) -> None:
    stopped, done = list_runs(runs)
    assert (stopped["run"], done["run"]) == (str(runs / "a"), str(runs / "b/fold-0"))
    measured: dict[str, Any] = json.loads((run / "metrics.json").read_text())
    history = [json.loads(line) for line in (run / "history.jsonl").read_text().splitlines()]
    assert done["status"] == "done" and done["test"]["n"] == measured["test"]["n"]
    assert done["test"]["average"] == measured["test"]["average"]
    assert done["epochs"] == len(history) and done["seen"] == 0
    assert done["seconds"] == pytest.approx(sum(e["seconds"] for e in history), abs=0.1)
    assert stopped["status"] == "stopped" and stopped["test"] is None
    assert stopped["valid"] == {"average": history[stopped["best_epoch"] - 1]["valid"]}


def test_the_table_has_a_row_for_each_run(runs: Path) -> None:
    _, done = found = list_runs(runs)
    lines = format_runs(found, runs, "accuracy").splitlines()
    test = done["test"]
    low, high = test["interval"]["accuracy"]
    assert lines[2].split()[0] == "a" and " stopped " in lines[2]
    assert f"{test['average']['accuracy']:.3f} [{low:.3f}, {high:.3f}]" in lines[3]
    assert format_runs([], runs) == f"{runs} contains no runs"


def test_the_page_has_curves_and_a_row_for_each_run(runs: Path, tmp_path: Path) -> None:
    (runs / "b/fold-0/history.jsonl").write_text("{")
    told = CliRunner().invoke(APP, [str(runs), "--html", str(tmp_path / "runs.html")])
    assert told.exit_code == 0, told.output
    page = (tmp_path / "runs.html").read_text()
    assert "f1_binary on valid" in page and "Loss in training" in page and "http" not in page
    assert "<td>b/fold-0</td>" in page and "unreadable" in page and "Expecting" in page
    assert page.count("<svg") == 2


def test_the_page_of_one_run_is_its_card(run: Path) -> None:
    page = "".join(runs_page(list_runs(run), run))
    assert f"<h1>Run {run.name}</h1>" in page and "<h2>Scores on test</h2>" in page
    measured = json.loads((run / "metrics.json").read_text())["test"]
    assert page.count("<svg") == 4 + bool((measured["single_label"] or {}).get("confusion"))
    for name, values in measured["per_class"].items():
        assert named(name) in page and f"<td class=n>{values['support']}</td>" in page


@pytest.mark.slow
def test_the_live_page_shows_what_a_run_has_reached(runs: Path) -> None:
    history = runs / "a/history.jsonl"
    lines = history.read_text().splitlines(keepends=True)
    history.write_text(lines[0])
    command = [sys.executable, "-m", "cli", "runs", str(runs), "--live", "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as it:
        assert it.stderr is not None
        said = next(line for line in it.stderr if "listening on" in line)
        address = re.search(r"http://[^ ]+", said)
        assert address is not None
        one = httpx.get(address[0])
        assert "Loss in training" in one.text and "/live.js" in one.text
        history.write_text("".join(lines[:3]))
        more = httpx.get(address[0])
        assert more.text.count("<td class=n>") == one.text.count("<td class=n>")
        assert more.text.count('role="graphics-symbol"') > one.text.count('role="graphics-symbol"')
        assert httpx.get(f"{address[0]}/page.css").headers["content-type"].startswith("text/css")
        strange = {"host": "evil.example"}
        assert httpx.get(address[0], headers=strange).status_code >= 400
        it.send_signal(signal.SIGINT)
        assert it.wait(20) == 0


def test_a_run_that_a_process_holds_is_training(runs: Path) -> None:
    with locked(runs / "a"):
        assert [one["status"] for one in list_runs(runs)] == ["training", "done"]


def test_a_run_that_failed_says_why_and_one_that_was_stopped_does_not(runs: Path) -> None:
    config = replace(stored_config(runs / "a"), out=runs / "a", resume=True)
    with pytest.raises(StoppedError), held(config):
        raise StoppedError("training was stopped by SIGTERM")
    assert list_runs(runs)[0]["status"] == "stopped"
    with pytest.raises(TrainError), held(config):
        raise TrainError("the loss is not finite in epoch 3")
    failed, done = found = list_runs(runs)
    assert (failed["status"], done["status"]) == ("failed", "done")
    assert f"{runs}/a: the loss is not finite in epoch 3" in format_runs(found, runs, wide=True)
    (runs / "a/failed.json").write_text("{")
    assert list_runs(runs)[0]["status"] == "unreadable"


@pytest.mark.parametrize("name", ["config.toml", "history.jsonl", "metrics.json"])
@pytest.mark.parametrize("content", [b"", b"{", b"\xff\x00", b"[1]"])
def test_a_damaged_run_is_named_and_the_others_are_listed(
    runs: Path, name: str, content: bytes
) -> None:
    (runs / "b/fold-0" / name).write_bytes(content)
    stopped, damaged = found = list_runs(runs)
    assert stopped["status"] == "stopped"
    # Without a line of history there is simply no epoch.
    if (name, content) != ("history.jsonl", b""):
        assert damaged["status"] == "unreadable" and damaged["error"]
        assert f"{damaged['run']}: {damaged['error']}" in format_runs(found, runs, wide=True)


def test_utterances_of_test_that_a_run_has_seen_are_told(runs: Path) -> None:
    path = runs / "b/fold-0/metrics.json"
    measured = json.loads(path.read_text())
    measured["test"]["seen"] = {"train": 3, "valid": 1}
    path.write_text(json.dumps(measured))
    assert "fold-0 was trained or validated on 4 utterances of test" in format_runs(
        list_runs(runs), runs, wide=True
    )


def test_a_run_itself_is_listed_and_a_file_refused(runs: Path) -> None:
    found = list_runs(runs / "a")
    assert format_runs(found, runs / "a").splitlines()[2].split()[0] == "a"
    with pytest.raises(UsageError, match="is not a directory"):
        list_runs(runs / "a/config.toml")
