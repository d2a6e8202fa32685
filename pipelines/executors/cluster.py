"""A running Dask cluster: Dask decides which of its workers builds the next shard.

Only the plan's path travels through the scheduler. Certificates for ``tls://`` are those of Dask's
own configuration.
"""

from __future__ import annotations

import functools
import logging
import platform
import time
from pathlib import Path
from typing import Any

from fv2es_prep.errors import ExecutorError, SettingsError
from fv2es_prep.utils.console import say
from fv2es_prep.utils.private_modules import call_private
from pipelines.config import ClusterConfig
from pipelines.executors.base import PlanProgress, Report
from pipelines.executors.path_map import SAME_PATHS, PathMap
from pipelines.executors.plan_directory import PlanDirectory
from pipelines.executors.worker import work

_CONNECT_S = 10.0
# Seconds between two counts of the workers and the open tasks, unless a task ends.
_COUNT_S = 1.0
# Seconds between two messages about a changed number of workers.
_QUIET_S = 10.0
# Most tasks submitted to Dask at once, for a cluster of less than half as many threads.
_MOST_TASKS = 1000


# By name and with plain arguments: a Dask worker of an installed fv2es cannot import `pipelines`.
_ONE_SHARD = functools.partial(call_private, f"{__name__}:build_one")


class _LostError(ExecutorError):
    """The connection to a Dask scheduler is lost, and with it all submitted tasks."""


class ClusterExecutor:
    """Builds shards on a Dask cluster that sees the same directories."""

    workers = 1

    def __init__(self, name: str, cluster: ClusterConfig) -> None:
        from dask.utils import parse_timedelta

        self._address, self._min_workers = name, cluster.min_workers
        self._paths = PathMap.of(cluster.path_map)
        try:
            self._wait_s = float(parse_timedelta(cluster.wait))
        except (KeyError, ValueError) as error:
            raise SettingsError(
                f"invalid wait {cluster.wait!r}", "write a duration, e.g. 10m or 2h"
            ) from error

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """See `Executor`; waits for a lost scheduler to return."""
        from distributed import Client

        address, most_s = self._address, self._wait_s
        progress, until = PlanProgress(plan, report), None
        workers = _Workers(address, self._min_workers, most_s)
        # A lost connection is reported in one sentence, not in tracebacks.
        for name in ("distributed", "distributed.client"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
        while not progress.update():
            timeout_s = _CONNECT_S if until is None else min(_CONNECT_S, most_s)
            try:
                client = Client(address, timeout=timeout_s, set_as_default=False)
            except (OSError, TimeoutError, ValueError) as error:
                if until is not None and time.monotonic() < until:
                    continue
                silent = f"no Dask scheduler answers at {address} within {_CONNECT_S:g} s"
                gone = f"the Dask scheduler at {address} has not answered for {most_s:g} s"
                raise ExecutorError(
                    gone if until else silent,
                    "start one with `dask scheduler`, and workers with "
                    "`dask worker ADDRESS --nthreads 1`; then run the same command again",
                ) from error
            with client:
                try:
                    run_on(client, plan, progress, workers, self._paths)
                except _LostError:
                    say(f"the Dask scheduler at {address} is gone; waiting up to {most_s:g} s")
                    until = time.monotonic() + most_s


class _Workers:
    """The number of workers of a cluster, as last reported, and since when there are too few."""

    def __init__(self, address: str, needed: int, most_s: float) -> None:
        self._address, self._needed, self._most_s = address, needed, most_s
        self._told: int | None = None
        self._told_at = 0.0
        self._few_since: float | None = None

    def suffice(self, workers: int) -> bool:
        """Whether tasks may be submitted, since the needed number of workers has connected.

        Raises:
            ExecutorError: there have been too few for too long.
        """
        now = time.monotonic()
        if workers < self._needed:
            missing = "no worker" if not workers else f"{workers} of {self._needed} workers"
            if self._few_since is None:
                self._few_since, self._told = now, workers
                say(
                    f"waiting for workers at {self._address}: {missing}, {self._most_s:g} s at most"
                )
            elif now > self._few_since + self._most_s:
                raise ExecutorError(
                    f"the Dask scheduler at {self._address} has had {missing} "
                    f"for {self._most_s:g} s",
                    f"start some with `dask worker {self._address} --nthreads 1`, or pass "
                    "--set cluster.wait=2h; then run the same command again",
                )
            # An adaptive cluster starts its first worker for a waiting task.
            return self._needed == 1
        changed = workers != self._told and now > self._told_at + _QUIET_S
        if self._few_since is not None or changed:
            if self._told is not None:
                say(f"{workers} worker(s) at {self._address}")
            self._told, self._told_at = workers, now
        self._needed, self._few_since = 1, None
        return True


def run_on(
    client: Any,
    plan: PlanDirectory,
    progress: PlanProgress,
    workers: _Workers | None = None,
    paths: PathMap = SAME_PATHS,
) -> None:
    """Keep a task in Dask for each remaining shard until the plan is done.

    Waiting tasks tell an adaptive cluster how many workers it needs.

    Raises:
        ExecutorError: there are too few workers, one cannot work on the plan, or the scheduler no
            longer answers.
    """
    tasks, count_at = list[Any](), 0.0
    while not progress.update():
        if client.status != "running":
            raise _LostError("the Dask scheduler is gone")
        if _end(tasks) or time.monotonic() >= count_at:
            _submit(client, plan, progress, tasks, workers, paths)
            count_at = time.monotonic() + _COUNT_S
        time.sleep(progress.pause_s)


def _submit(
    client: Any,
    plan: PlanDirectory,
    progress: PlanProgress,
    tasks: list[Any],
    workers: _Workers | None,
    paths: PathMap,
) -> None:
    """Submit tasks until there is one for each remaining shard, if there are enough workers."""
    try:
        threads = client.nthreads()
    except (OSError, TimeoutError) as error:
        raise _LostError("the Dask scheduler is gone") from error
    # If no task is open, each remaining one belongs to a worker that builds it or has died.
    if plan.open_tasks() and (workers is None or workers.suffice(len(threads))):
        most = min(progress.left, max(_MOST_TASKS, 2 * sum(threads.values())))
        more = [plan.path.absolute()] * (most - len(tasks))
        # pure=False: a task's result is on disk, so Dask must not reuse an earlier one.
        tasks += client.map(_ONE_SHARD, more, pairs=paths.pairs, pure=False) if more else []


def _end(tasks: list[Any]) -> bool:
    """Remove tasks that have ended; return whether there were any.

    Raises:
        ExecutorError: the connection was lost.
        Exception: the exception of a task.
    """
    from distributed import KilledWorker

    ended = [task for task in tasks if task.done()]
    for task in ended:
        tasks.remove(task)
        if task.status == "cancelled":
            raise _LostError("the Dask scheduler is gone")
        # Workers died while they had the task; each shard counts them itself.
        if task.status == "error" and not isinstance(error := task.exception(), KilledWorker):
            raise error
    return bool(ended)


def build_one(path: Path, pairs: tuple[tuple[str, str], ...] = ()) -> None:
    """Build any one of the remaining shards of the plan."""
    paths = PathMap(pairs)
    there = Path(paths.there(str(path)))
    if not there.is_dir():
        raise ExecutorError(
            f"a worker on {platform.node()} does not see {there}",
            "put the dataset directory on a file system that all workers share; if they "
            "see it under another path, pass --set cluster.path_map=/here=/there",
        )
    work(_plan(there, paths), most=1)


@functools.lru_cache(1)
def _plan(path: Path, paths: PathMap) -> PlanDirectory:
    return PlanDirectory(path, paths)
