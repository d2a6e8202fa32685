"""A training as a batch job: its script, its lock after a requeue, and jobs on a real SLURM."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner, Result

from fv2es_prep.errors import (
    ExecutorError,
    OutOfTimeError,
    SettingsError,
    UsageError,
)
from fv2es_prep.utils import claims
from fv2es_prep.utils.files import write_json
from fv2es_train.commands.train import train
from fv2es_train.training.slurm_job import LOG, requeueing
from fv2es_train.training.stopping import catch_signals, hold_back, stopped
from tests.slurm_cluster import cluster, missing
from tests.train.conftest import Corpus
from tests.train.test_distributed import ROOT, torchrun

APP = typer.Typer()
APP.command()(train)
JOB = ("--executor", "slurm")


def real(test: Callable[..., None]) -> Callable[..., None]:
    """A test on a real SLURM, which is slow."""
    skip = pytest.mark.skipif(bool(missing()), reason=f"SLURM: {missing()}")
    return pytest.mark.slow(skip(test))


def typed(*arguments: object) -> Result:
    return CliRunner().invoke(APP, [str(argument) for argument in arguments])


def asked(script: str, **environment: str) -> list[str]:
    """The words after `fv2es train` that bash makes of a script."""
    body = script.replace("exec srun --kill-on-bad-exit=1", "said").replace("\ncd ", "\n: ")
    done = subprocess.run(
        ["bash", "-euc", f'said() {{ printf "%s\\0" "$@"; }}\nSLURM_CPUS_PER_TASK=\n{body}'],
        capture_output=True,
        text=True,
        check=True,
        env=environment,
    )
    words = done.stdout.split("\0")[:-1]
    assert words[:5] == [sys.executable, "-P", "-m", "fv2es", "train"]
    return words[5:]


def test_the_script_begins_a_run_and_after_a_requeue_continues_it(
    corpus: Corpus, tmp_path: Path
) -> None:
    out = tmp_path / "it's a run"
    data = ("--shards", corpus.shards, "--split", corpus.split, "--out", out)
    result = typed(
        *(*data, *JOB, "--nodes", 2, "--gpus", 4, "--sbatch", "partition=gpu,time=8:00:00"),
        *("--model", "fv2es-tiny", "--augment", "flip,spec", "--compile", "--print"),
    )
    assert result.exit_code == 0, result.output
    script = result.stdout
    for option in ("nodes=2", "ntasks-per-node=4", "gres=gpu:4", "requeue", "signal=USR1@120"):
        assert f"#SBATCH --{option}\n" in script
    assert script.index("--partition=gpu") > script.index("--signal") < script.index("--time=8:00")
    first = asked(script)
    assert first[:2] == ["--set", "device=cuda"] and f"out={out}" in first
    assert typed(*first, *JOB, "--print").exit_code == 0
    out.mkdir()
    (out / "config.toml").touch()
    # Another job began it.
    assert asked(script) == first
    assert asked(script, SLURM_RESTART_COUNT="1") == ["--resume", str(out)]
    (out / "config.toml").unlink()
    # It ended before it began the run.
    assert asked(script, SLURM_RESTART_COUNT="1") == first


def test_a_run_continues_and_folds_begin_in_a_job(
    run: Path, corpus: Corpus, tmp_path: Path
) -> None:
    script = typed("--resume", run, "--epochs", 9, *JOB, "--print").stdout
    assert asked(script) == ["--resume", str(run), "--set", "device=cpu", "--set", "epochs=9"]
    assert "gres" not in script
    folds = tmp_path / "folds"
    folds.mkdir()
    data = ("--shards", corpus.shards, "--folds", folds, "--out", tmp_path / "runs", *JOB)
    words = asked(typed(*data, "--device", "cuda", "--print").stdout, SLURM_RESTART_COUNT="1")
    assert "device=cuda" in words and f"split={folds}" in words and "--resume" not in words


@pytest.mark.parametrize(
    ("arguments", "kind", "said"),
    [
        (("--nodes", 2), UsageError, "need a batch job"),
        (("--print",), UsageError, "need a batch job"),
        ((*JOB, "--nodes", 0), SettingsError, "nodes is 0"),
        ((*JOB, "--gpus", -1), SettingsError, "gpus is -1"),
        ((*JOB, "--overwrite"), UsageError, "--overwrite cannot be used in a batch job"),
        ((*JOB, "--sbatch", "--time=1"), SettingsError, "invalid option of sbatch"),
        ((*JOB, "--split", "nowhere.json"), UsageError, "nowhere.json"),
        ((*JOB, "--shards", "nowhere"), UsageError, "nowhere"),
    ],
)
def test_what_no_job_can_be_made_of_is_refused(
    arguments: tuple[object, ...],
    kind: type[Exception],
    said: str,
    corpus: Corpus,
    tmp_path: Path,
) -> None:
    data = ("--shards", corpus.shards, "--split", corpus.split, "--out", tmp_path / "run")
    error = typed(*data, *arguments).exception
    assert isinstance(error, kind) and said in str(error)
    assert not (tmp_path / "run").exists()


def test_a_job_needs_sbatch_and_a_new_run(
    corpus: Corpus, run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    data = ("--shards", corpus.shards, "--split", corpus.split, *JOB)
    error = typed(*data, "--out", run).exception
    assert isinstance(error, UsageError) and "already contains a run" in error.sentence
    error = typed(*data, "--out", tmp_path / "run").exception
    assert isinstance(error, ExecutorError) and "SLURM's sbatch is not" in error.sentence
    assert not (tmp_path / "run").exists()
    data = ("--shards", corpus.shards, "--out", tmp_path / "run", *JOB, "--nodes", 2)
    error = typed(*data, "--folds", tmp_path).exception
    assert (
        isinstance(error, UsageError)
        and "contains folds, which need a job with one process" in error.sentence
    )


def test_a_signal_before_the_training_can_be_stopped_waits() -> None:
    with hold_back():
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGUSR1)
        with catch_signals() as received:
            assert received() == signal.SIGUSR1
            signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGTERM)
            assert received() == signal.SIGTERM
    assert signal.SIGUSR1 not in signal.pthread_sigmask(signal.SIG_BLOCK, ())


@pytest.mark.parametrize(
    ("environment", "raised", "said"),
    [
        ({}, True, []),
        ({"SLURM_JOB_ID": "71", "RANK": "1"}, False, []),
        (
            {"SLURM_JOB_ID": "71"},
            True,
            [
                "requeueing the SLURM job 71; the training continues in it",
                "failed to requeue the job: SLURM's scontrol is not on this machine",
            ],
        ),
    ],
)
def test_who_runs_out_of_time_requeues_its_job_if_it_can(
    environment: dict[str, str],
    raised: bool,
    said: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    told: list[str] = []
    caught = False
    try:
        with requeueing(told.append):
            raise stopped(tmp_path, 3, signal.SIGUSR1)
    except OutOfTimeError as error:
        caught = "SIGUSR1 stopped the training in epoch 3" in error.sentence
    assert (caught, told) == (raised, said)


def test_a_job_that_was_requeued_waits_for_its_own_lock_on_a_dead_node(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "STALE_S", 0.6)
    claim = claims.Claim.take(tmp_path, claims.LOCK_NAME)
    assert claim is not None
    write_json(claim.record, {"process": 1, "host": "dead", "namespace": ""})
    refused = pytest.raises(UsageError, match="is being written by process 1 on dead")
    with refused, claims.locked(tmp_path):
        pass
    with claims.locked(tmp_path, outlive=True) as taken:
        assert taken.held and not claim.held


SLOW = """
import os, time
from dataclasses import replace
from torch.nn.modules.module import register_module_forward_pre_hook
from fv2es_train.models.emotion_model import EmotionModel
from fv2es_train.models.families import Preset
from fv2es_train.models.fv2es_config import FAMILY as FV2ES

nap_s = float(os.environ.get("NAP_S", "0"))

def nap(module, _):
    if module.training and isinstance(module, EmotionModel):
        time.sleep(nap_s)

register_module_forward_pre_hook(nap)
tiny = FV2ES.presets["fv2es-tiny"]
FAMILY = replace(FV2ES, presets={"slow": Preset(replace(tiny.model, name="slow"), tiny.train)})
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model with dropout that sleeps NAP_S seconds in each batch of train."""
    place = tmp_path_factory.mktemp("site")
    info = place / "slow-1.0.dist-info"
    info.mkdir()
    (place / "slow.py").write_text(SLOW)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slow\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[fv2es.models]\nslow = slow:FAMILY\n")
    return place


@pytest.fixture(scope="module")
def variables(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    with cluster(tmp_path_factory.mktemp("slurm")) as found:
        yield found


@pytest.fixture
def submit(corpus: Corpus, site: Path, variables: dict[str, str]):
    paths = os.pathsep.join([str(ROOT), str(site)])
    # The names of these nodes are no names of hosts.
    here = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    environment = {**os.environ, **variables, **here}

    def submit(*words: object, **more: str) -> str:
        command = [sys.executable, "-m", "cli", "train", *JOB, *map(str, words), "--json"]
        result = subprocess.run(
            *(command,), capture_output=True, text=True, cwd=ROOT, env=environment | more
        )
        assert result.returncode == 0, result.stderr
        return str(json.loads(result.stdout)["job"])

    yield submit
    subprocess.run(["scancel", "--user=root"], env=environment)


def wait(
    job: str, file: Path, variables: dict[str, str], patience_s: float, said: str = ""
) -> None:
    """Wait until a file is there and says something, while a job is in the queue."""
    until, log = time.monotonic() + patience_s, file.parent / LOG
    while not (file.exists() and said in file.read_text("utf-8", "replace")):
        state = subprocess.run(
            ["squeue", "--noheader", f"--jobs={job}", "--format=%T %r"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        ).stdout.strip()
        there = file.exists() and said in file.read_text("utf-8", "replace")
        words = log.read_text() if log.exists() else ""
        assert there or (state and time.monotonic() < until), f"{state}\n{words}"
        time.sleep(0.5)


@real
def test_two_nodes_and_a_walltime_of_a_minute_give_the_bytes_of_an_unbroken_training(
    submit, corpus: Corpus, site: Path, variables: dict[str, str], tmp_path: Path
) -> None:
    data = ["--shards", corpus.shards, "--split", corpus.split, "--model", "slow"]
    data += ["--batch-size", 6, "--epochs", 10, "--early-stop", 0, "--workers", 1]
    run, whole = tmp_path / "run", tmp_path / "whole"
    job = submit(
        *(*data, "--out", run, "--nodes", 2, "--sbatch", "time=1,signal=USR1@5"), NAP_S="4"
    )
    result = torchrun(*("train", *data, "--out", whole), packages=str(site))
    assert result.returncode == 0, result.stderr
    wait(job, run / "metrics.json", variables, 300)
    log = (run / LOG).read_text()
    assert log.count(f"requeueing the SLURM job {job}") >= 2, log
    assert [log.count(f"epoch {number}:") for number in range(1, 11)] == [1] * 10
    for name in ("last", "best"):
        files = [place / name / "model.safetensors" for place in (run, whole)]
        assert files[0].read_bytes() == files[1].read_bytes()


@real
def test_a_second_job_is_refused_and_a_cancelled_one_saves_and_is_not_requeued(
    submit, corpus: Corpus, variables: dict[str, str], tmp_path: Path
) -> None:
    run, whole = tmp_path / "run", tmp_path / "whole"
    data = ["--shards", corpus.shards, "--split", corpus.split, "--model", "slow"]
    data += ["--batch-size", 6, "--epochs", 12, "--early-stop", 0, "--workers", 1]
    job = submit(*data, "--out", run, NAP_S="2")
    wait(job, run / "state.pt", variables, 120)
    # The state is first written before the first step; the second job comes while they go on.
    submit("--resume", run)
    wait(job, run / LOG, variables, 120, said=f"{run} is being written by process")
    subprocess.run(["scancel", job], env={**os.environ, **variables}, check=True)
    wait(job, run / LOG, variables, 30, said="SIGTERM stopped the training in epoch")
    rest = submit("--resume", run)
    wait(rest, run / "metrics.json", variables, 120)
    unbroken = submit(*data, "--out", whole)
    wait(unbroken, whole / "metrics.json", variables, 120)
    log = (run / LOG).read_text()
    assert "requeue" not in log and log.count("epoch 12:") == 1
    files = [place / "last/model.safetensors" for place in (run, whole)]
    assert files[0].read_bytes() == files[1].read_bytes()
