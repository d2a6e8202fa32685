"""The loop of a worker: claim the longest task left, build its shard, write its receipt.

``python -m pipelines.executors.worker PLAN`` runs it, as the tasks of a SLURM array do.
"""

from __future__ import annotations

import contextlib
import shutil
import signal
import sys
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from fv2es_prep.errors import Fv2esError
from fv2es_prep.types import ShardReceipt
from fv2es_prep.utils.claims import Claim
from fv2es_prep.utils.files import cannot_write
from pipelines.build import build_shard, quarantine_shard
from pipelines.code import check_code
from pipelines.executors.plan_directory import STOPPING, PlanDirectory
from pipelines.task import ShardTask

MOST_DEATHS = 4


def work(plan: PlanDirectory, progress: Callable[[], object] = lambda: None) -> None:
    """Build tasks of a plan until none is left, one stops the run, or the plan is removed.

    ``progress`` is called whenever utterances are done.

    Raises:
        OutputError: the plan's directory cannot be written.
        ExecutorError: this process has other code than the plan was made with.
    """
    with contextlib.suppress(FileNotFoundError):
        check_code(plan.contents.code)
    try:
        while taken := plan.take():
            name, claim = taken
            with claim:
                result = _result(plan, name, claim, progress)
                # Where the plan is gone, or another worker has the task, nobody needs it.
                if result is None:
                    return
                plan.put(name, result)
            progress()
            if isinstance(result, STOPPING):
                return
    except OSError as error:
        raise cannot_write(plan.path, error) from error


def _result(
    plan: PlanDirectory, name: str, claim: Claim, progress: Callable[[], object]
) -> ShardReceipt | Exception | None:
    """Build the shard apart, and put it in its place if the claim still holds."""
    task = plan.task(name)
    # Named by the claim's nonce: an orphan of an earlier run may still build the same task.
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
        apart.mkdir(exist_ok=True)
        receipt = _build(replace(task, path=apart / task.path.name), claim, report)
        if not claim.held:
            return None
        (apart / task.path.name).replace(task.path)
    except Exception as error:  # noqa: BLE001  # handed on: the run lists it and goes on
        return error if claim.held else None
    finally:
        shutil.rmtree(apart, ignore_errors=True)
    return receipt


def _build(task: ShardTask, claim: Claim, report: Callable[[int], None]) -> ShardReceipt:
    if claim.number <= MOST_DEATHS:
        return build_shard(task, report)
    died = f"the worker that built {task.path.name} died {MOST_DEATHS} times"
    return quarantine_shard(task, f"{died}, as when the system runs out of memory")


def main(arguments: Sequence[str]) -> int:
    """Run the loop on the plan at a path; the exit status."""
    # A stopped worker gives its task back at once.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    try:
        work(PlanDirectory(Path(arguments[0])))
    except Fv2esError as error:
        sys.stderr.write(f"error: {error.sentence}\n")
        return error.exit_status
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
