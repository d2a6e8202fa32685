"""`--executor slurm` on a real SLURM, and workers with other code."""

from __future__ import annotations

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from fv2es_prep.errors import ExecutorError, SettingsError, UsageError
from fv2es_prep.utils.files import sha256_of
from pipelines.code import check_code, code_here
from pipelines.executors.base import executor_of
from pipelines.executors.plan_directory import write_plan
from pipelines.executors.slurm import script_of
from pipelines.executors.worker import main, work
from pipelines.plan import plan_corpus
from tests.command_line import start
from tests.slurm_cluster import cluster, missing

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


def hashes(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.h5")}


@pytest.mark.parametrize("name", ["slurm:0", "slurm:x", "slurmy:2"])
def test_a_wrong_name_is_refused(name: str) -> None:
    with pytest.raises((SettingsError, UsageError), match="invalid executor|unknown executor"):
        executor_of(name)


def test_the_script_is_an_array_of_workers() -> None:
    script = script_of(Path("/data/out/.plan/ab c"), 7)
    assert "#SBATCH --array=0-6\n" in script
    assert re.search(r"exec \S+ -m pipelines.executors.worker '/data/out/.plan/ab c'\n", script)


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


class TestReal:
    pytestmark = real

    def test_an_array_gives_the_same_bytes_as_this_process(
        self, slurm, corpus, text_model, prepared, tmp_path, prepare, options_for
    ) -> None:
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

    @pytest.mark.parametrize("seed", range(int(os.environ.get("FV2ES_TEST_KILLS", "8")) // 4))
    def test_killed_workers_jobs_and_runs_end_in_the_same_bytes(
        self, slurm, corpus, text_model, prepared, tmp_path, prepare, options_for, seed
    ) -> None:
        rng, out = random.Random(seed), tmp_path / "out"
        command = ["prep", "iemocap", corpus, "--out", out, "--tokenizer", text_model]
        command += ["--shard-mb", "0.1", "--executor", "slurm:3"]
        for _ in range(4):
            run = start(*command)
            until = time.monotonic() + rng.uniform(2, 9)
            while time.monotonic() < until and run.process.is_alive():
                time.sleep(0.1)
            kind = rng.choice(["worker", "job", "run", "stop"])
            if kind == "worker":
                for process in workers_of(out)[:1]:
                    process.kill()
            elif kind == "job":
                subprocess.run(["scancel", *queue()], check=False)
            else:
                run.send_signal(signal.SIGKILL if kind == "run" else signal.SIGTERM)
            run.wait()
        # What a killed run has left working stops with its plan, or is waited for.
        _, summary = prepare(options_for(corpus, out, text_model), "slurm:3")
        assert summary.complete and hashes(out) == hashes(prepared)
        subprocess.run(["scancel", *queue()], check=False)
