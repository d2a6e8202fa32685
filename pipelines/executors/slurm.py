"""SLURM: an array job whose tasks run the worker loop, while this process waits.

``sbatch`` reads partition, time limit and account from its own variables, ``SBATCH_PARTITION``,
``SBATCH_TIMELIMIT``, ``SBATCH_ACCOUNT``. Workers need the same file system, nothing else.
"""

from __future__ import annotations

import contextlib
import shlex
import subprocess
import sys
import time
from pathlib import Path

from fv2es_prep.errors import ExecutorError
from pipelines.executors.base import PlanProgress, Report, worker_count
from pipelines.executors.plan_directory import PlanDirectory

_DEFAULT = 16
# Seconds between two looks at the plan, and at the queue.
_POLL_S, _QUEUE_S = 1.0, 10.0
_LOG = "slurm.log"
_HINT = "run fv2es where sbatch and squeue can be used, e.g. on a login node"


class SlurmExecutor:
    """Runs the worker loop in up to N tasks of an array job, of ``slurm:N``."""

    def __init__(self, name: str) -> None:
        self.workers = worker_count(name, "at most N workers") or _DEFAULT

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """See `Executor`; the job is cancelled when this process stops."""
        progress = PlanProgress(plan, report)
        while not progress.update():
            before, open_tasks = len(plan.finished()), plan.open_tasks()
            if not open_tasks:
                # What is left is claimed by a worker of an earlier run: it finishes, or dies.
                time.sleep(_POLL_S)
                continue
            job = _submit(plan.path, min(self.workers, open_tasks))
            try:
                _wait(job, progress)
            finally:
                with contextlib.suppress(ExecutorError):
                    _slurm("scancel", job)
            if len(plan.finished()) == before:
                raise ExecutorError(
                    f"the SLURM job {job} ended without building a shard{_last_line(plan.path)}",
                    "see `sacct -j` for it; the same command continues",
                )


def script_of(plan: Path, tasks: int) -> str:
    """The batch script of an array of workers."""
    worker = [sys.executable, "-m", "pipelines.executors.worker", str(plan)]
    return f"""#!/bin/bash
#SBATCH --job-name=fv2es
#SBATCH --array=0-{tasks - 1}
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=1
#SBATCH --requeue
#SBATCH --open-mode=append
#SBATCH --output={plan / _LOG}
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
cd {shlex.quote(str(Path.cwd()))}
exec {shlex.join(worker)}
"""


def _submit(plan: Path, tasks: int) -> str:
    """Submit the array; its job id."""
    return _slurm("sbatch", "--parsable", given=script_of(plan, tasks)).partition(";")[0].strip()


def _wait(job: str, progress: PlanProgress) -> None:
    """Wait until the plan is done, or no task of the job is left."""
    looked = time.monotonic()
    while not progress.update():
        if time.monotonic() > looked + _QUEUE_S:
            looked = time.monotonic()
            if not _slurm("squeue", "--noheader", "--jobs", job, "--format=%t", gone="").strip():
                return
        time.sleep(_POLL_S)


def _slurm(*command: str, given: str | None = None, gone: str | None = None) -> str:
    """Run a command of SLURM; ``gone`` is returned if it fails, as for a job that was purged."""
    try:
        done = subprocess.run(
            command, check=False, input=given, capture_output=True, text=True, timeout=120
        )
    except FileNotFoundError as error:
        raise ExecutorError(f"SLURM's {command[0]} is not on this machine", _HINT) from error
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(f"{command[0]} did not answer within 120 s", _HINT) from error
    if done.returncode and gone is not None:
        return gone
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise ExecutorError(
            f"{command[0]} failed: {said}",
            "set SBATCH_PARTITION, SBATCH_TIMELIMIT or SBATCH_ACCOUNT as your cluster needs them",
        )
    return done.stdout


def _last_line(plan: Path) -> str:
    try:
        lines = (plan / _LOG).read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    said = [line for line in lines if line.strip()]
    return f"; its last words: {said[-1].strip()}" if said else ""
