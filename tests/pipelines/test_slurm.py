"""`--executor slurm` on a real SLURM, and workers with other code."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from fv2es_prep.errors import ExecutorError, SettingsError, ShardError, UsageError
from fv2es_prep.utils.files import sha256_of
from pipelines.code import check_code, code_here
from pipelines.executors.base import executor_of
from pipelines.executors.detached import finish_run, scripts, submit_run
from pipelines.executors.plan_directory import running_plan, write_plan
from pipelines.executors.slurm import script_of
from pipelines.executors.worker import main, work
from pipelines.plan import plan_corpus
from pipelines.run import begin, finish
from tests.command_line import ROOT, Running, fv2es, refused, start
from tests.slurm_cluster import cluster, missing

NO_LOCKS = """
import fcntl

def refuse(*_):
    raise OSError(38, "Function not implemented")

fcntl.flock = fcntl.lockf = refuse
"""
real = [pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=f"SLURM: {missing()}")]


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def slurm(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("pipelines.executors.slurm._QUEUE_S", 1.0)
    return variables


def queue() -> list[str]:
    """The jobs that are neither ended nor ending."""
    command = ["squeue", "--noheader", "--format=%i", "--states=PENDING,RUNNING"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


def workers_of(out: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter(["cmdline"]):
        words = process.info["cmdline"] or []
        if "pipelines.executors.worker" in words and str(out) in words[-1]:
            found.append(process)
    return found


def prep_command(corpus: Path, out: Path, text_model: Path, executor: str = "slurm:3") -> list[Any]:
    words = ["prep", "iemocap", corpus, "--out", out, "--tokenizer", text_model]
    return [*words, "--shard-mb", "0.1", "--executor", executor]


def restarts(job: str) -> int:
    told = subprocess.run(["scontrol", "show", "job", f"{job}_0"], capture_output=True, text=True)
    found = re.search(r"Restarts=(\d+)", told.stdout)
    return int(found[1]) if found else 0


def wait_for(what: Callable[[], object], patience_s: float = 60) -> None:
    until = time.monotonic() + patience_s
    while not what():
        assert time.monotonic() < until, "too late"
        time.sleep(0.1)


def until_empty(patience_s: float = 60) -> None:
    wait_for(lambda: not queue(), patience_s)
    # The last one is ending.
    time.sleep(2)


def hashes(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.h5")}


@pytest.mark.parametrize("name", ["slurm:0", "slurm:x", "slurmy:2"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises((SettingsError, UsageError), match="invalid executor|unknown executor"):
        executor_of(name)


def test_the_script_is_an_array_of_workers() -> None:
    script = script_of(Path("/data/out/.plan/ab c"), 7)
    assert "#SBATCH --array=0-6\n" in script
    module = "fv2es_prep.utils.private_modules pipelines.executors.worker"
    assert re.search(rf"exec \S+ -P -m {module} '/data/out/.plan/ab c'\n", script)


def test_without_slurm_it_is_one_sentence(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch
) -> None:
    options = options_for(corpus, tmp_path / "out", text_model)
    plan = plan_corpus(options)
    monkeypatch.setenv("PATH", str(tmp_path))
    directory = write_plan(plan, tmp_path)
    with pytest.raises(ExecutorError, match="SLURM's sbatch is not on this machine"):
        executor_of("slurm:2").run(directory, lambda _: None)


def test_a_worker_with_other_code_refuses_by_the_name_of_what_differs(
    corpus, text_model, tmp_path, options_for, monkeypatch, capsys
) -> None:
    plan = plan_corpus(options_for(corpus, tmp_path / "out", text_model))
    planned = {**code_here(), "torch": "1.8.0"}
    monkeypatch.setattr("pipelines.executors.plan_directory.code_here", lambda: planned)
    directory = write_plan(plan, tmp_path)
    said = r"has torch \d.*, and the run was planned with torch 1\.8\.0"
    with pytest.raises(ExecutorError, match=said):
        work(directory)
    assert not directory.finished() and directory.open_tasks() == 3
    before = signal.getsignal(signal.SIGTERM)
    try:
        assert main([str(directory.path)]) == 1
    finally:
        signal.signal(signal.SIGTERM, before)
    assert re.search(said, capsys.readouterr().err)


def test_the_code_is_a_digest_of_the_sources_wherever_they_lie() -> None:
    assert re.fullmatch("[0-9a-f]{16}", code_here()["fv2es"])
    check_code(code_here())
    # A plan of an earlier version has none.
    check_code({})


def test_only_slurm_can_be_submitted(corpus, text_model, tmp_path, options_for) -> None:
    options = options_for(corpus, tmp_path / "out", text_model)
    plan = plan_corpus(options)
    for function in (submit_run, scripts):
        with pytest.raises(UsageError, match="need SLURM, but the executor is local"):
            function(plan, options)


def test_a_dry_run_submits_nothing(corpus, text_model, tmp_path) -> None:
    words = prep_command(corpus, tmp_path / "out", text_model)
    for option in ("--detach", "--print"):
        done = fv2es(*words, "--dry-run", option)
        assert done.returncode == 0 and "time  " in done.stdout
    assert not (tmp_path / "out").exists()


def test_scripts_are_printed_of_a_plan_that_any_worker_can_build(
    corpus, text_model, prepared, tmp_path, options_for
) -> None:
    given = {"executor": "slurm:2", "cluster.sbatch": ("partition=short",)}
    options = options_for(corpus, tmp_path / "out", text_model, **given)
    workers, finisher = scripts(plan_corpus(options), options)
    assert "#SBATCH --array=0-1\n" in workers and "#SBATCH --dependency=afterany:" in finisher
    assert all("#SBATCH --partition=short\n" in script for script in (workers, finisher))
    out = options.out.resolve()
    with pytest.raises(ExecutorError, match=r"3 shard\(s\) were not built"):
        finish_run(out)
    work(running_plan(out))
    summary, _ = finish_run(out)
    assert summary.complete and hashes(out) == hashes(prepared)
    with pytest.raises(ShardError, match="has no plan"):
        finish_run(out)


def test_what_a_stopped_worker_has_is_kept_by_the_next_one_and_by_another_run(
    corpus, text_model, prepared, tmp_path, options_for
) -> None:
    out = tmp_path / "out"
    options = options_for(corpus, out, text_model, limit=6)
    directory = begin(plan_corpus(options), out)
    asked = iter(range(99))
    assert work(directory, stop=lambda: next(asked) > 2) == 1
    assert directory.mark() == (0, 1) and not list(out.glob("*.h5"))
    # Another run, as after a stop of the whole.
    directory.remove()
    plan = plan_corpus(options)
    assert len(plan.todo[0].kept) == 2
    directory = begin(plan, out)
    asked = iter(range(99))
    assert work(directory, stop=lambda: next(asked) > 4) == 1
    assert directory.mark() == (0, 2)
    assert work(directory) == 1
    receipt = directory.result(directory.finished().pop())
    assert receipt.counts["faces_kept"] == 4 and receipt.counts["faces_made"] == 2
    finish(directory, "inline", 0.0)
    name = "iemocap-00000.h5"
    assert hashes(out) == {name: hashes(prepared)[name]}
    assert not (out / ".previous").exists()


@pytest.mark.slow
def test_a_worker_whose_spectrum_is_another_one_refuses_and_builds_nothing(
    corpus, text_model, tmp_path, options_for
) -> None:
    directory = write_plan(plan_corpus(options_for(corpus, tmp_path / "out", text_model)), tmp_path)
    for package in ("fv2es_prep", "pipelines"):
        shutil.copytree(ROOT / package, tmp_path / "other" / package)
    mel = tmp_path / "other/fv2es_prep/stages/mel.py"
    text = mel.read_text()
    assert "np.log(" in text
    mel.write_text(text.replace("np.log(", "np.log1p(", 1))
    worker = [sys.executable, "-m", "pipelines.executors.worker", str(directory.path)]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "other")}
    done = subprocess.run(worker, env=environment, cwd="/", capture_output=True, text=True)
    said = r"error: the worker on .* has fv2es \w+, and the run was planned with fv2es \w+\n"
    assert done.returncode == 1 and re.fullmatch(said, done.stderr), done.stderr
    assert not directory.finished() and not list(tmp_path.rglob("*.h5"))


class TestReal:
    pytestmark = real

    def test_an_array_gives_the_same_bytes_as_this_process(
        self, slurm, corpus, text_model, prepared, tmp_path, prepare, options_for
    ) -> None:
        assert "#SBATCH --array=0-3\n" in script_of(tmp_path, 500)
        told: list[int] = []
        out = tmp_path / "out"
        _, summary = prepare(options_for(corpus, out, text_model), "slurm:3", told.append)
        assert (summary.shards_built, sum(told)) == (3, 18)
        assert hashes(out) == hashes(prepared)
        assert not (out / ".plan").exists()
        time.sleep(2)
        assert not queue()

    def test_other_code_on_the_nodes_is_refused_by_name(
        self, slurm, corpus, text_model, tmp_path, prepare, options_for, monkeypatch
    ) -> None:
        planned = {**code_here(), "fv2es": "0" * 16}
        monkeypatch.setattr("pipelines.executors.plan_directory.code_here", lambda: planned)
        said = "ended without building a shard; its last words: error: the worker on .* has fv2es"
        with pytest.raises(ExecutorError, match=said):
            prepare(options_for(corpus, tmp_path / "out", text_model), "slurm:2")
        assert not list((tmp_path / "out").glob("*.h5"))

    def test_a_submitted_run_ends_without_a_waiting_process(
        self, slurm, corpus, text_model, prepared, tmp_path
    ) -> None:
        out = tmp_path / "o ut 50%"
        command = [*prep_command(corpus, out, text_model), "--detach"]
        made = json.loads(fv2es(*command, "--json").stdout)
        refused(fv2es(*command), 2, f"is being built by the SLURM jobs {made['array']} and")
        status = fv2es("shards", "status", out).stdout
        assert f"{made['array']} builds, {made['finisher']} finishes" in status
        until_empty()
        assert hashes(out) == hashes(prepared)
        told = json.loads((out / "run.json").read_text())
        assert told["executor"] == "slurm:3" and told["summary"]["complete"]
        assert "complete" in fv2es("shards", "status", out).stdout
        # Where nothing is left, nothing is submitted.
        assert "prepared 18 utterances in 3 shard(s)" in fv2es(*command).stdout
        assert not queue()

    def test_a_finishing_job_submits_what_is_left_as_long_as_something_was_built(
        self, slurm, corpus, text_model, prepared, tmp_path
    ) -> None:
        out = tmp_path / "out"
        fv2es(*prep_command(corpus, out, text_model), "--detach")
        wait_for(lambda: list(out.glob("*.h5")) or not queue())
        # The workers end, the finishing job stays.
        first = json.loads(next(out.glob(".plan/*/jobs.json")).read_text())["array"]
        subprocess.run(["scancel", first], check=True)
        until_empty()
        assert hashes(out) == hashes(prepared)

    def test_a_worker_stops_before_its_time_is_over_and_goes_on_when_requeued(
        self, slurm, corpus, text_model, prepared, tmp_path
    ) -> None:
        out = tmp_path / "out"
        fv2es(*prep_command(corpus, out, text_model, "slurm:1"), "--detach")
        job = json.loads(next(out.glob(".plan/*/jobs.json")).read_text())["array"]
        wait_for(lambda: list(out.glob("*.h5")) or not queue())
        # As SLURM does 60 s before the limit.
        subprocess.run(["scancel", "--batch", "--signal=USR1", f"{job}_0"], check=True)
        wait_for(lambda: restarts(job) or not queue())
        assert restarts(job) == 1
        until_empty(120)
        assert hashes(out) == hashes(prepared)

    @pytest.mark.parametrize("seed", range(int(os.environ.get("FV2ES_TEST_KILLS", "8")) // 4))
    def test_killed_workers_jobs_nodes_and_runs_end_in_the_same_bytes(
        self, slurm, corpus, text_model, prepared, tmp_path, monkeypatch, seed
    ) -> None:
        rng, out = random.Random(seed), tmp_path / "out"
        command = prep_command(corpus, out, text_model)
        # Some file systems have no locks.
        (tmp_path / "sitecustomize.py").write_text(NO_LOCKS)
        monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{ROOT}")
        built: dict[str, int] = {}
        for _ in range(4):
            detach = rng.random() < 0.5
            run = start(*command, *["--detach"] * detach)
            if detach:
                run.wait()
            until = time.monotonic() + rng.uniform(2, 9)
            while time.monotonic() < until and (run.process.is_alive() or queue()):
                time.sleep(0.1)
            for path in out.glob("*.h5"):
                assert built.setdefault(path.name, path.stat().st_ino) == path.stat().st_ino
            kill(rng.choice(["worker", "job", "run", "stop", "time", "finisher", "node"]), run, out)
            run.process.join(60) if detach else run.wait()
            subprocess.run(["scontrol", "update", *["NodeName=ALL", "State=RESUME"]], check=False)
        subprocess.run(["scancel", *queue()], check=False)
        # What a killed run has left working stops with its plan, or is waited for.
        done = fv2es(*command)
        assert done.returncode == 0, done.stderr
        assert hashes(out) == hashes(prepared)
        assert {name: (out / name).stat().st_ino for name in built} == built
        subprocess.run(["scancel", *queue()], check=False)


def kill(kind: str, run: Running, out: Path) -> None:
    """Kill something of a run; ``run`` is the command that waits, or has submitted it."""
    jobs = queue()
    if kind == "worker":
        for process in workers_of(out)[:1]:
            process.kill()
    elif kind == "job":
        subprocess.run(["scancel", *jobs], check=False)
    elif kind == "time":
        for job in jobs:
            subprocess.run(["scancel", "--batch", "--signal=USR1", job], check=False)
    elif kind == "finisher":
        subprocess.run(["scancel", "--name=fv2es-finish"], check=False)
    elif kind == "node":
        words = ["scontrol", "update", "NodeName=n1", "State=DOWN", "Reason=test"]
        subprocess.run(words, check=False)
    if kind not in ("worker", "time", "node") or not jobs:
        run.send_signal(signal.SIGTERM if kind == "stop" else signal.SIGKILL)
