"""SLURM without a waiting process: an array of workers, then a job that finishes the dataset.

The finishing job runs `fv2es shards finish`. It writes the index, or submits both jobs again if the
array has built some but not all shards.
"""

from __future__ import annotations

import shlex
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from fv2es_prep.errors import ExecutorError, UsageError
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.files import make_directory, read_regular, write_json
from fv2es_prep.utils.slurm import batch_script, is_queued, slurm, submit
from pipelines.config import PrepConfig
from pipelines.executors.base import executor_of
from pipelines.executors.plan_directory import PlanDirectory, running_plan
from pipelines.executors.slurm import LOG, SlurmExecutor, last_words, script_of
from pipelines.plan import Plan
from pipelines.run import Summary, begin, finish

_NAME = "jobs.json"


@dataclass(frozen=True)
class Submission:
    """The jobs that build a plan.

    Attributes:
        executor: name of the executor.
        sbatch: options of ``sbatch``.
        max_dropped: see `PrepConfig`.
        began: seconds since the epoch at which the first array was submitted.
        mark: state of the plan when the array was submitted, see `PlanDirectory.mark`.
        array: number of the array job.
        finisher: number of the job that waits for the array.
    """

    executor: str
    sbatch: tuple[str, ...]
    max_dropped: float
    began: float
    mark: tuple[int, int] = (0, 0)
    array: str = ""
    finisher: str = ""


def submit_run(plan: Plan, config: PrepConfig) -> Submission | Summary:
    """Write a plan and submit its jobs; finish at once if there is nothing to build.

    Raises:
        UsageError: the executor is not SLURM, jobs of the same plan wait or run, the directory
            holds another corpus, or another run uses it.
        OutputError: the directory cannot be written.
        ExecutorError: SLURM cannot be reached or refuses a job.
    """
    new = _submission(config)
    make_directory(config.out)
    with locked(config.out):
        directory = begin(plan, config.out)
        if not plan.todo:
            return _finished(directory, new)
        before = read_submission(directory)
        if before and is_queued(before.finisher):
            raise UsageError(
                f"{config.out} is being built by the SLURM jobs {before.array} and "
                f"{before.finisher}",
                f"check them with `fv2es shards status {config.out}`, or cancel both with scancel",
            )
        return _submit(directory, new)


def scripts(plan: Plan, config: PrepConfig) -> list[str]:
    """Write a plan; return the scripts that `submit_run` would submit.

    Raises:
        UsageError: as for `submit_run`.
        OutputError: the directory cannot be written.
    """
    new = _submission(config)
    make_directory(config.out)
    with locked(config.out):
        directory = begin(plan, config.out)
        return [_workers_script(directory, new), _finisher_script(directory, new, "ARRAY")]


def finish_run(out: Path) -> tuple[Summary | Submission, float]:
    """Finish the plan of a dataset directory, or submit its jobs again if shards are missing.

    Returns:
        The summary, or the new jobs; and the largest allowed share of dropped utterances.

    Raises:
        ShardError: there is no plan.
        UsageError: another run uses the directory.
        ExecutorError: shards are missing, and the last array built nothing.
        MediaError: a task stopped the run.
        OutputError: a task could not write, or this function cannot.
    """
    with locked(out):
        directory = running_plan(out)
        made = read_submission(directory) or Submission("", (), 1.0, time.time())
        left = directory.contents.tasks.keys() - directory.finished()
        if left and made.array and directory.mark() > made.mark:
            return _submit(directory, made), made.max_dropped
        try:
            return _finished(directory, made), made.max_dropped
        except ExecutorError as error:
            said = f"{error.sentence}{last_words(directory.path)}"
            raise ExecutorError(said, error.hint) from error


def read_submission(directory: PlanDirectory) -> Submission | None:
    """Read the jobs of a plan; None if it was not submitted."""
    try:
        return msgspec.json.decode(read_regular(directory.path / _NAME), type=Submission)
    except (OSError, msgspec.DecodeError):
        return None


def _submission(config: PrepConfig) -> Submission:
    if not isinstance(executor_of(config.executor, config.cluster), SlurmExecutor):
        raise UsageError(
            f"--detach and --print need SLURM, but the executor is {config.executor}",
            "pass --executor slurm:N",
        )
    return Submission(config.executor, config.cluster.sbatch, config.max_dropped, time.time())


def _submit(directory: PlanDirectory, new: Submission) -> Submission:
    directory.forget_failures()
    mark = directory.mark()
    array = submit(_workers_script(directory, new))
    try:
        job = submit(_finisher_script(directory, new, array))
    except ExecutorError:
        slurm("scancel", array)
        raise
    made = replace(new, mark=mark, array=array, finisher=job)
    write_json(directory.path / _NAME, asdict(made))
    return made


def _workers_script(directory: PlanDirectory, new: Submission) -> str:
    tasks = min(executor_of(new.executor).workers, directory.open_tasks())
    return script_of(directory.path, max(tasks, 1), new.sbatch)


def _finisher_script(directory: PlanDirectory, new: Submission, array: str) -> str:
    """The script of the job that runs after the end of the array."""
    program = [sys.executable, "-P", "-m", "fv2es", "shards", "finish", str(directory.out)]
    options = ("ntasks=1", "requeue", f"dependency=afterany:{array}")
    commands = (f"cd {shlex.quote(str(Path.cwd()))}", f"exec {shlex.join(program)}")
    return batch_script("fv2es-finish", directory.path / LOG, options, commands, new.sbatch)


def _finished(directory: PlanDirectory, made: Submission) -> Summary:
    summary = finish(directory, made.executor, time.monotonic() - (time.time() - made.began))
    # Otherwise the plan tells what failed.
    if not summary.failed_shards:
        directory.remove()
    return summary
