"""SLURM: an array job whose tasks run the worker loop, while this process waits.

Workers need a shared file system, nothing else.
"""

from __future__ import annotations

import contextlib
import shlex
import sys
import time
from collections.abc import Iterable
from pathlib import Path

from fv2es_prep.errors import ExecutorError
from fv2es_prep.utils.slurm import batch_script, is_queued, largest_array, slurm, submit
from pipelines.config import ClusterConfig
from pipelines.executors.base import PlanProgress, Report, worker_count
from pipelines.executors.plan_directory import PlanDirectory

_DEFAULT = 16
# Seconds between two checks of the plan, and of the queue.
_POLL_S, _QUEUE_S = 1.0, 10.0
LOG = "slurm.log"
# A worker stops this many seconds before the end of its time, keeps its work, and is requeued.
_SIGNAL = "signal=B:USR1@60"


class SlurmExecutor:
    """Runs the worker loop in up to N tasks of an array job, for ``slurm:N``."""

    def __init__(self, name: str, cluster: ClusterConfig) -> None:
        self._options = cluster.sbatch
        self.workers = worker_count(name, "at most N workers") or _DEFAULT

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """See `Executor`; the job is cancelled when this process stops."""
        progress = PlanProgress(plan, report)
        while not progress.update():
            before, open_tasks = plan.mark(), plan.open_tasks()
            if not open_tasks:
                # The remaining tasks are claimed by a worker of an earlier run; wait until it
                # finishes or dies.
                time.sleep(_POLL_S)
                continue
            job = submit(script_of(plan.path, min(self.workers, open_tasks), self._options))
            try:
                _wait(job, progress)
            finally:
                with contextlib.suppress(ExecutorError):
                    slurm("scancel", job)
            if plan.mark() == before:
                raise ExecutorError(
                    f"the SLURM job {job} ended without building a shard{last_words(plan.path)}",
                    "look at it with `sacct -j`, then run the same command again to continue",
                )


def script_of(plan: Path, tasks: int, own: Iterable[str] = ()) -> str:
    """The batch script of an array of workers; ``own`` are the user's options of sbatch.

    The number of workers is limited to the largest array: each worker builds many shards.
    """
    last = min(tasks, largest_array()) - 1
    # -P: a folder `pipelines` in the working directory is not ours.
    start = [sys.executable, "-P", "-m", "fv2es_prep.utils.private_modules"]
    worker = [*start, "pipelines.executors.worker", str(plan)]
    options = (f"array=0-{last}", "ntasks=1", "cpus-per-task=1", "requeue", _SIGNAL)
    commands = (
        "export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1",
        f"cd {shlex.quote(str(Path.cwd()))}",
        f"exec {shlex.join(worker)}",
    )
    return batch_script("fv2es", plan / LOG, options, commands, own)


def _wait(job: str, progress: PlanProgress) -> None:
    """Wait until the plan is done, or the job has no tasks left."""
    looked = time.monotonic()
    while not progress.update():
        if time.monotonic() > looked + _QUEUE_S:
            looked = time.monotonic()
            if not is_queued(job):
                return
        time.sleep(_POLL_S)


def last_words(plan: Path) -> str:
    """The last line that workers of a plan printed, as the end of a sentence."""
    try:
        lines = (plan / LOG).read_text("utf-8", "replace").split("\n")
    except OSError:
        return ""
    said = [line for line in lines if line.strip()]
    return f"; its last words: {said[-1].strip()}" if said else ""
