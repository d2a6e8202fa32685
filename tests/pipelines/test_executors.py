"""Executors over a plan on disk: the same bytes, whoever starts the workers."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from fv2es_prep.errors import ExecutorError, SettingsError, UsageError
from fv2es_prep.types import PictureFiles, Recording, ShardReceipt, Utterance
from fv2es_prep.utils.claims import Claim
from fv2es_prep.utils.files import sha256_of
from pipelines.build import build_shard
from pipelines.executors.base import EXECUTORS, executor_of
from pipelines.executors.plan_directory import PlanDirectory, write_plan
from pipelines.executors.plan_status import status_of, status_text
from pipelines.executors.worker import work
from pipelines.plan import plan_corpus
from pipelines.run import finish
from pipelines.task import longest_first
from tests.command_line import fv2es

FV2ES = str(Path(sys.executable).parent / "fv2es")


def digests(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.h5")}


def test_an_executor_is_named_right_or_refused():
    assert executor_of("inline").workers == 1
    assert executor_of("local:3").workers == 3
    assert executor_of("local").workers >= 1
    assert executor_of("tcp://somewhere:8786").workers == 1
    for name in ("local:0", "local:x", "inline:2"):
        with pytest.raises(SettingsError, match=f"invalid executor '{name}'"):
            executor_of(name)
    for name in ("remote", ""):
        with pytest.raises(UsageError, match="unknown executor"):
            executor_of(name)


def test_a_task_comes_back_from_its_file_as_it_was(corpus, text_model, tmp_path, options_for):
    plan = plan_corpus(options_for(corpus, tmp_path, text_model))
    odd = Utterance("o", "r", 0.1, 1 / 3, "\u00e9", ("ang",), ratings=(float("inf"), 1e-300))
    named = Recording(
        "r", tmp_path / "a\udcff.avi", tmp_path / "b.wav", PictureFiles("image_", 29.97)
    )
    first = replace(plan.tasks[0], utterances=(odd,), recordings=(named,))
    plan = replace(plan, tasks=(first, *plan.tasks[1:]))
    directory = write_plan(plan, tmp_path)
    for task in plan.tasks:
        assert directory.task(task.path.stem) == task
        assert (directory.path / "tasks" / f"{task.path.stem}.json").stat().st_size < 20_000


def test_a_plan_is_named_by_its_digest_and_an_equal_one_keeps_its_receipts(
    corpus, text_model, prepared, tmp_path, options_for
):
    out = tmp_path / "out"
    plan = plan_corpus(options_for(corpus, out, text_model))
    directory = write_plan(plan, out)
    assert list(directory.contents.tasks) == [t.path.stem for t in longest_first(plan.tasks)]
    with pytest.raises(ExecutorError, match=r"3 shard\(s\) were not built: iemocap-0000"):
        finish(directory, "inline", 0)
    name, claim = directory.take()
    with claim:
        assert name == next(iter(directory.contents.tasks))
        assert directory.open_tasks() == 2
        directory.put(name, ValueError("out of order"))
    assert isinstance(directory.result(name), Exception)
    # A failed task has another try; another plan would have another name.
    assert write_plan(plan, out).path == directory.path
    assert directory.open_tasks() == 3
    work(directory)
    assert write_plan(plan, out).finished() == set(directory.contents.tasks)
    assert finish(PlanDirectory(directory.path), "inline", 0).complete
    assert digests(out) == digests(prepared)
    other = write_plan(plan_corpus(options_for(corpus, out, text_model, max_tokens=9)), out)
    assert list((out / ".plan").iterdir()) == [other.path] != [directory.path]


def test_a_worker_that_lost_its_claim_or_its_plan_writes_nothing(
    corpus, text_model, tmp_path, options_for, monkeypatch
):
    out = tmp_path / "out"
    directory = write_plan(plan_corpus(options_for(corpus, out, text_model)), out)

    def gone(task, report, *more):
        directory.remove()
        return build_shard(task, report, *more)

    monkeypatch.setattr("pipelines.executors.worker.build_shard", gone)
    work(directory)
    assert not list(out.glob("*.h5"))
    assert directory.take() is None


def test_an_orphan_leaves_the_equal_plan_of_the_next_run_alone(
    corpus, text_model, tmp_path, options_for, monkeypatch
):
    out = tmp_path / "out"
    plan = plan_corpus(options_for(corpus, out, text_model, limit=1, modalities="t"))
    begun, goes_on = threading.Event(), threading.Event()
    built, directories = [], []

    def build(task, report, *more):
        if threading.current_thread() is orphan:
            begun.set()
            goes_on.wait(60)
            return build_shard(task, lambda done: built.append(done) or report(done), *more)
        # The orphan goes on while its successor has made its directory, and nothing in it.
        goes_on.set()
        orphan.join(60)
        directories.extend(task.path.parent.parent.iterdir())
        return build_shard(task, report, *more)

    monkeypatch.setattr("pipelines.executors.worker.build_shard", build)
    orphan = threading.Thread(target=work, args=(write_plan(plan, out),))
    orphan.start()
    assert begun.wait(60)
    PlanDirectory(next((out / ".plan").iterdir())).remove()
    again = write_plan(plan, out)
    work(again)
    assert not built and len(directories) == 1
    assert finish(again, "inline", 0).shards_built == 1


def test_a_task_that_a_dying_worker_still_holds_is_waited_for(
    corpus, text_model, prepared, tmp_path, prepare, options_for
):
    out = tmp_path / "out"
    options = options_for(corpus, out, text_model)
    plan = write_plan(plan_corpus(options), out)
    orphan = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    claim = Claim.take(plan.path / "claims", next(iter(plan.contents.tasks)))
    holder = json.loads(claim.record.read_text())
    claim.record.write_text(json.dumps({**holder, "process": orphan.pid}))

    done = 0

    def end_orphan(utterances: int) -> None:
        nonlocal done
        done += utterances
        if done == 12:
            threading.Timer(0.5, lambda: (orphan.kill(), orphan.wait())).start()

    prepare(options, "inline", end_orphan)
    assert orphan.returncode == -signal.SIGKILL
    assert digests(out) == digests(prepared)


PLUGIN = """
from pipelines.build import build_shard
from fv2es_prep.utils.claims import Claim
from pipelines.executors.worker import work

class Backwards:
    def __init__(self, name, cluster):
        assert cluster.sbatch == ("time=1:00",)
        self.workers = len(name.partition(":")[2]) or 1
    def run(self, plan, report):
        work(plan)
        report(sum(plan.contents.tasks.values()))
"""


def test_an_executor_of_an_installed_package_is_found_by_name(
    corpus, text_model, prepared, tmp_path
):
    site = tmp_path / "site"
    info = site / "fv2es_backwards-1.0.dist-info"
    info.mkdir(parents=True)
    (site / "fv2es_backwards.py").write_text(PLUGIN)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: fv2es-backwards\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[fv2es.executors]\nbackwards = fv2es_backwards:Backwards\n"
    )
    command = ["prep", "iemocap", corpus, "--out", tmp_path / "out", "--tokenizer", text_model]
    given = ("--shard-mb", "0.1", "--executor", "backwards:x", "--sbatch", "time=1:00")
    done = fv2es(*command, *given, "--json", site=site)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["shards_built"] == 3
    assert digests(tmp_path / "out") == digests(prepared)
    assert "backwards" not in EXECUTORS.names()


def test_nothing_calls_flock(
    corpus, text_model, prepared, tmp_path, prepare, options_for, monkeypatch
):
    def refuse(*_: object) -> None:
        raise OSError(38, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", refuse)
    monkeypatch.setattr("fcntl.lockf", refuse)
    prepare(options_for(corpus, tmp_path / "out", text_model))
    assert digests(tmp_path / "out") == digests(prepared)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        path.name for path in prepared.iterdir()
    }
    assert not list((tmp_path / "out").glob(".[lp]*"))


def unwrapped(text: str) -> str:
    """A text in one line: where it wraps depends on the length of a process id."""
    return " ".join(text.split())


def test_the_status_names_what_is_done_and_who_works(
    corpus, text_model, prepared, tmp_path, options_for
):
    plan = plan_corpus(options_for(corpus, tmp_path, text_model))
    directory = write_plan(plan, tmp_path)
    first, second, third = directory.contents.tasks
    receipt = ShardReceipt(f"{first}.h5", "", 0, 6, "")
    directory.put(first, receipt)
    directory.put(second, OSError("no tokenizer"))
    with Claim.take(directory.path / "claims", third) as claim:
        directory.advance(third, 2)
        status = status_of(tmp_path)
        text = unwrapped(status_text(status))
        dead = directory.path / "claims" / f"{third}.1" / claim.record.name
        os.utime(dead, (0, 0))
        stale = status_of(tmp_path)
    assert [status[name] for name in ("done", "building", "left")] == [1, 1, 0]
    assert (status["shards"], status["running"], status["complete"]) == (3, False, False)
    assert status["failed"] == {second: "no tokenizer"}
    assert status["utterances_done"] == status["utterances_to_do"] - 4 == 14
    (worker,) = status["workers"]
    assert (worker["process"], worker["host"], worker["live"]) == (
        os.getpid(),
        platform.node(),
        True,
    )
    assert f"worker {third}: process {os.getpid()} on {platform.node()}, heartbeat 0 s" in text
    assert "no run is active" in text
    assert (stale["building"], stale["left"], stale["workers"][0]["live"]) == (0, 1, False)
    assert "its shard is free" in unwrapped(status_text(stale))
    assert status_text(status_of(prepared)) == "complete       3 shard(s)"


TWICE = [signal.SIGINT] * 2
STARTING, BUILDING = ".plan/*", ".plan/*/claims/*"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("executor", "moment", "signals"),
    [
        *(("inline", BUILDING, signals) for signals in ([signal.SIGTERM], TWICE)),
        *(("local:2", STARTING, signals) for signals in ([signal.SIGTERM], TWICE)),
        *(
            ("local:2", BUILDING, signals)
            for signals in ([signal.SIGINT], [signal.SIGTERM], TWICE, [signal.SIGTERM] * 3)
        ),
    ],
)
def test_a_signal_ends_a_run_in_a_sentence(
    corpus, text_model, prepared, tmp_path, prepare, options_for, executor, moment, signals
):
    out = tmp_path / "out"
    command = ["prep", "iemocap", corpus, "--out", out, "--tokenizer", text_model]
    process = subprocess.Popen(
        [FV2ES, *map(str, command), "--shard-mb", "0.1", "--executor", executor],
        stderr=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not list(out.glob(moment)) and time.monotonic() < deadline:
        time.sleep(0.02)
    started = psutil.Process(process.pid).children(recursive=True)
    for number in signals:
        # To the whole group, as a terminal sends it.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, number)
        time.sleep(0.2)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signals[0], said
    sentence, *hint = [line for line in said.splitlines() if not line.startswith("prepare: ")]
    assert "finished shards" in sentence
    assert all(line.startswith("hint: the same command continues") for line in hint), said
    assert psutil.wait_procs(started, timeout=20)[1] == []
    prepare(options_for(corpus, out, text_model))
    assert digests(out) == digests(prepared)
