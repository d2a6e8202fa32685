"""The loop of a worker: claim the longest remaining task, build its shard, write its receipt.

``python -m pipelines.executors.worker PLAN`` runs it, as the tasks of a SLURM array do. SIGTERM and
SIGUSR1 stop it at the next utterance; finished work is kept.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from fv2es_prep.errors import Fv2esError
from fv2es_prep.types import ShardReceipt
from fv2es_prep.utils.claims import Claim
from fv2es_prep.utils.files import cannot_write
from fv2es_prep.utils.slurm import slurm
from pipelines.build import Interrupted, Stop, build_shard, built_meanwhile, quarantine_shard
from pipelines.cache import partial_path, read_partial
from pipelines.code import check_code
from pipelines.executors.path_map import PathMap
from pipelines.executors.plan_directory import STOPPING, PlanDirectory
from pipelines.task import ShardTask

MOST_DEATHS = 4


def work(
    plan: PlanDirectory,
    progress: Callable[[], object] = lambda: None,
    stop: Stop = lambda: False,
    most: int = sys.maxsize,
) -> int:
    """Build tasks of a plan until none is left, one stops the run, or the plan is removed.

    ``progress`` is called when utterances are done, and ``stop`` before each utterance. Builds at
    most ``most`` tasks.

    Returns:
        The number of shards that were finished, or partly built and kept.

    Raises:
        OutputError: the plan's directory cannot be written.
        ExecutorError: this process has other code than the planning process.
    """
    with contextlib.suppress(FileNotFoundError):
        check_code(plan.contents.code)
    built = 0
    try:
        while built < most and not stop() and (taken := plan.take()):
            name, claim = taken
            with claim:
                try:
                    result = _result(plan, name, claim, progress, stop)
                except Interrupted as stopped:
                    return built + stopped.kept
                # If the plan is removed or another worker has the task, the result is not needed.
                if result is None:
                    return built
                plan.put(name, result)
            built += 1
            progress()
            if isinstance(result, STOPPING):
                return built
    except OSError as error:
        raise cannot_write(plan.path, error) from error
    return built


def _result(
    plan: PlanDirectory, name: str, claim: Claim, progress: Callable[[], object], stop: Stop
) -> ShardReceipt | Exception | None:
    """Build the shard in `building/`, and move it into place if the claim still holds.

    Raises:
        Interrupted: ``stop`` returned True.
    """
    task = plan.task(name)
    # Named by the claim's nonce, since an orphan of an earlier run may build the same task.
    apart = plan.path / "building" / claim.record.name
    done = 0

    def report(utterances: int) -> None:
        nonlocal done
        if not claim.held:
            raise FileNotFoundError(claim.record)
        done += utterances
        plan.advance(name, done)
        progress()

    try:
        if found := built_meanwhile(task):
            return found
        apart.mkdir(exist_ok=True)
        receipt = _build(task, apart / task.path.name, claim, report, stop)
        if not claim.held:
            return None
        (apart / task.path.name).replace(task.path)
    except Interrupted as stopped:
        if not claim.held:
            return None
        left = partial_path(task.path, claim.record.name)
        with contextlib.suppress(FileNotFoundError):
            left.parent.mkdir(exist_ok=True)
            (apart / task.path.name).replace(left)
            stopped.kept = True
        raise
    except Exception as error:  # noqa: BLE001  # a result: the run lists it and goes on
        return error if claim.held else None
    finally:
        shutil.rmtree(apart, ignore_errors=True)
    return receipt


def _build(
    task: ShardTask, path: Path, claim: Claim, report: Callable[[int], None], stop: Stop
) -> ShardReceipt:
    apart = replace(task, path=path)
    if claim.number <= MOST_DEATHS:
        return build_shard(apart, report, stop, read_partial(task.path))
    died = f"the worker that built {path.name} died {MOST_DEATHS} times"
    return quarantine_shard(apart, f"{died}, as when the system runs out of memory")


def main(arguments: Sequence[str]) -> int:
    """Run the loop on the plan at a path, with optional path maps; return the exit status.

    After SIGUSR1, which SLURM sends before the end of its time, the array task is requeued.
    """
    parser = argparse.ArgumentParser(prog="python -m pipelines.executors.worker")
    parser.add_argument("plan", type=Path)
    parser.add_argument("--path-map", action="append", default=[], metavar="/here=/there")
    given = parser.parse_args(arguments)
    came: list[int] = []

    def stop(number: int, _: object) -> None:
        if came:
            # A second signal ends the process at once.
            sys.exit(128 + number)
        came.append(number)

    for number in (signal.SIGTERM, signal.SIGUSR1):
        signal.signal(number, stop)
    try:
        plan = PlanDirectory(given.plan, PathMap.of(given.path_map))
        built = work(plan, stop=lambda: bool(came))
        # Requeue only after some work: a task that builds nothing would be requeued for ever.
        if built and came == [signal.SIGUSR1]:
            _requeue(os.environ)
    except Fv2esError as error:
        sys.stderr.write(f"error: {error.sentence}\n")
        return error.exit_status
    return 128 + came[0] if came else 0


def _requeue(environment: Mapping[str, str]) -> None:
    """Requeue this array task."""
    job, task = (environment.get(f"SLURM_ARRAY_{name}_ID") for name in ("JOB", "TASK"))
    if job and task:
        slurm("scontrol", "requeue", f"{job}_{task}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
