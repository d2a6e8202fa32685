"""What a cluster's workers see, and how many of them are waited for."""

from __future__ import annotations

import shutil
import signal
from pathlib import Path

import pytest

from fv2es_prep.errors import ExecutorError, SettingsError
from pipelines.config import ClusterConfig
from pipelines.executors.base import POLL_S, PlanProgress, executor_of
from pipelines.executors.cluster import _Workers
from pipelines.executors.path_map import PathMap
from pipelines.executors.plan_directory import PlanDirectory, write_plan
from pipelines.executors.worker import main
from pipelines.plan import plan_corpus
from pipelines.run import finish


def test_the_deepest_directory_of_a_map_counts():
    paths = PathMap.of(["/data=/mnt/a", "/data/raw=/raw", "/scratch/me/=/scratch/you"])
    assert paths.there("/data/raw/x.avi") == "/raw/x.avi"
    assert paths.there("/data") == "/mnt/a"
    assert paths.there("/scratch/me/t=1") == "/scratch/you/t=1"
    for same in ("/database/x", "albert/base", "data/x", ""):
        assert paths.there(same) == same


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"path_map": ("/data",)}, "invalid path_map '/data'"),
        ({"path_map": ("data=/mnt",)}, "invalid path_map 'data=/mnt'"),
        ({"wait": "soon"}, "invalid wait 'soon'"),
    ],
)
def test_a_wrong_option_is_refused_before_the_run(changes, sentence):
    with pytest.raises(SettingsError, match=sentence):
        executor_of("tcp://somewhere:8786", ClusterConfig(**changes))


def test_a_worker_builds_a_plan_whose_directories_it_sees_elsewhere(
    corpus, text_model, tmp_path, options_for, monkeypatch
):
    here, there = tmp_path / "here", tmp_path / "there"
    shutil.copytree(corpus, here / "raw")
    shutil.copytree(text_model, here / "albert")
    monkeypatch.chdir(here)
    raw, out, albert = Path("raw"), Path("out"), Path("albert")
    plan = plan_corpus(options_for(raw, out, albert, limit=1, modalities="ta"))
    directory = write_plan(plan, out).path.absolute()
    # Workers run in another directory, too.
    monkeypatch.chdir(tmp_path)
    here.rename(there)
    handlers = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGUSR1)}
    try:
        seen = there / directory.relative_to(here)
        assert main([str(seen), "--path-map", f"{here}={there}"]) == 0
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    assert not here.exists()
    there.rename(here)
    summary = finish(PlanDirectory(directory), "tcp://somewhere:8786", 0)
    assert (summary.complete, summary.prepared) == (True, 1)


def test_the_end_of_the_last_shard_is_awaited_closely(corpus, text_model, tmp_path, options_for):
    out = tmp_path / "out"
    directory = write_plan(plan_corpus(options_for(corpus, out, text_model, limit=1)), out)
    reports = list[int]()
    progress = PlanProgress(directory, reports.append)
    assert not progress.update() and progress.pause_s == POLL_S
    for name, utterances in directory.contents.tasks.items():
        directory.advance(name, utterances)
    assert not progress.update() and progress.pause_s < POLL_S
    assert reports == [sum(directory.contents.tasks.values())]


def test_it_is_said_when_workers_are_missing_have_gone_and_have_come_back(capsys, monkeypatch):
    now = 100.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    workers = _Workers("tcp://a:1", 2, 60)

    def told() -> str:
        return capsys.readouterr().err.strip()

    assert not workers.suffice(0)
    assert told() == "waiting for workers at tcp://a:1: no worker, 60 s at most"
    assert not workers.suffice(1) and not told()
    assert workers.suffice(2) and told() == "2 worker(s) at tcp://a:1"
    # Once there were enough, any number is.
    assert workers.suffice(1) and not told()
    now += 11
    assert workers.suffice(1) and told() == "1 worker(s) at tcp://a:1"
    # A task that waits makes an adaptive cluster start a worker.
    assert workers.suffice(0)
    assert told() == "waiting for workers at tcp://a:1: no worker, 60 s at most"
    assert workers.suffice(3) and told() == "3 worker(s) at tcp://a:1"
    few = _Workers("tcp://a:1", 2, 60)
    assert not few.suffice(1)
    now += 61
    with pytest.raises(ExecutorError, match="has had 1 of 2 workers for 60 s"):
        few.suffice(1)
