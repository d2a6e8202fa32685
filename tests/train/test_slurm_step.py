"""The tasks of one `srun` get the variables of one `torchrun`."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from fv2es_prep.errors import UsageError
from fv2es_train.training.loop import train
from fv2es_train.training.slurm_step import first_host, join_step
from tests.slurm_cluster import cluster, missing
from tests.train.conftest import Corpus, options_of
from tests.train.test_distributed import GIVEN, ROOT, same_curve

STEP = {
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_JOB_ID": "71",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NODELIST": "gpu[03-04]",
}


def test_the_tasks_of_a_step_become_the_processes_of_a_training() -> None:
    environment = dict(STEP)
    join_step(environment)
    added = {name: value for name, value in environment.items() if name not in STEP}
    assert added == {
        "WORLD_SIZE": "4",
        "RANK": "3",
        "LOCAL_RANK": "1",
        "MASTER_ADDR": "gpu03",
        "MASTER_PORT": str(12_000 + 71 * 16 + 2),
    }


@pytest.mark.parametrize(
    "given",
    [
        # A batch script is no step; a step of one task is a process alone; torchrun has joined.
        {"SLURM_JOB_ID": "71", "SLURM_NTASKS": "4", "SLURM_PROCID": "0"},
        {**STEP, "SLURM_STEP_NUM_TASKS": "1"},
        {**STEP, "WORLD_SIZE": "2", "RANK": "0"},
    ],
)
def test_a_process_alone_and_torchrun_stay_as_they_are(given: dict[str, str]) -> None:
    environment = dict(given)
    join_step(environment)
    assert environment == given


def test_the_meeting_point_can_be_given() -> None:
    environment = {**STEP, "MASTER_ADDR": "10.0.0.7", "MASTER_PORT": "29500"}
    join_step(environment)
    assert (environment["MASTER_ADDR"], environment["MASTER_PORT"]) == ("10.0.0.7", "29500")


def test_a_task_that_sees_its_own_gpu_alone_takes_the_first() -> None:
    bound = {**STEP, "SLURM_GPUS_PER_TASK": "1", "CUDA_VISIBLE_DEVICES": "1"}
    join_step(bound)
    shared = {**STEP, "SLURM_GPUS_PER_TASK": "1", "CUDA_VISIBLE_DEVICES": "0,1"}
    join_step(shared)
    assert (bound["LOCAL_RANK"], shared["LOCAL_RANK"]) == ("0", "1")


@pytest.mark.parametrize(
    ("nodes", "first"),
    [
        ("gpu03", "gpu03"),
        ("gpu[03-05,9],cpu1", "gpu03"),
        ("a1,b2", "a1"),
        ("rack[2,7]-gpu", "rack2-gpu"),
        ("n-1.site[10-12]", "n-1.site10"),
    ],
)
def test_the_first_host_of_a_compressed_list(nodes: str, first: str) -> None:
    assert first_host(nodes) == first


def test_a_step_that_cannot_be_read_is_refused_with_the_variable() -> None:
    environment = {name: value for name, value in STEP.items() if name != "SLURM_LOCALID"}
    with pytest.raises(UsageError, match="SLURM step of 4 tasks: 'SLURM_LOCALID'"):
        join_step(environment)


@pytest.mark.slow
@pytest.mark.skipif(bool(missing()), reason=f"SLURM: {missing()}")
def test_srun_trains_one_run_as_one_process_does(
    corpus: Corpus, tmp_path: Path, still: str
) -> None:
    # At the model's own rate, Adam turns rounding of gradients near zero into whole steps.
    train(options_of(corpus, tmp_path / "one", epochs=3, lr=1e-4, model="still", **GIVEN))
    words = ["train", "--shards", corpus.shards, "--split", corpus.split, "--model", "still"]
    words += ["--out", tmp_path / "two", "--epochs", 3, "--batch-size", 17, "--lr", 1e-4]
    words += ["--augment", "flip,spec", "--early-stop", 0, "--json"]
    (tmp_path / "slurm").mkdir()
    with cluster(tmp_path / "slurm") as variables:
        paths = os.pathsep.join([str(ROOT), still])
        # The names of these nodes are no names of hosts.
        here = {"MASTER_ADDR": "127.0.0.1", "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
        result = subprocess.run(
            ["srun", "--ntasks=2", sys.executable, "-m", "cli", *map(str, words)],
            capture_output=True,
            text=True,
            cwd=ROOT,
            env={**os.environ, **variables, **here},
            timeout=180,
        )
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["processes"] == 2
    same_curve(tmp_path / "one", tmp_path / "two")
