"""A running Dask cluster: Dask starts the worker loop on each of its threads.

Only the plan's path travels through the scheduler. Certificates for ``tls://`` are those of Dask's
own configuration.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from collections.abc import Mapping
from concurrent.futures import CancelledError
from itertools import islice
from pathlib import Path
from typing import Any

from fv2es_prep.errors import ExecutorError
from fv2es_prep.utils.console import say
from pipelines.config import ClusterConfig
from pipelines.executors.base import POLL_S, PlanProgress, Report
from pipelines.executors.plan_directory import PlanDirectory
from pipelines.executors.worker import work

_CONNECT_TIMEOUT_S = 10


class ClusterExecutor:
    """Runs the worker loop on every thread of a Dask cluster that sees the same directories."""

    workers = 1

    def __init__(self, name: str, cluster: ClusterConfig) -> None:
        self._address, self._cluster = name, cluster

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """See `Executor`."""
        from distributed import Client

        try:
            client = Client(self._address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)
        except (OSError, TimeoutError, ValueError) as error:
            raise ExecutorError(
                f"no Dask scheduler answers at {self._address} within {_CONNECT_TIMEOUT_S} s",
                "start one with `dask scheduler`, and workers with "
                "`dask worker ADDRESS --nthreads 1`",
            ) from error
        with client:
            try:
                run_on(client, plan, report, _Absence(self._address, self._cluster.wait))
            except (OSError, TimeoutError, CancelledError) as error:
                raise ExecutorError(
                    f"the Dask scheduler at {self._address} is gone: {type(error).__name__}",
                    "start it and its workers again; the same command continues",
                ) from error


class _Absence:
    """How long a cluster has had no worker; it is said once, as is their return."""

    def __init__(self, address: str, wait: str) -> None:
        from dask.utils import parse_timedelta

        self._address = address
        self._most_s = parse_timedelta(wait)
        self._since: float | None = None

    def check(self, threads: Mapping[str, int]) -> None:
        """Raise ExecutorError if there has been no worker for too long."""
        if threads and self._since is not None:
            say(f"{len(threads)} worker(s) at {self._address}")
            self._since = None
        elif not threads and self._since is None:
            say(f"waiting for workers at {self._address}, {self._most_s:g} s at most")
            self._since = time.monotonic()
        elif self._since is not None and time.monotonic() > self._since + self._most_s:
            raise ExecutorError(
                f"the Dask scheduler at {self._address} has had no worker for {self._most_s:g} s",
                f"start some with `dask worker {self._address} --nthreads 1`, or pass "
                "--set cluster.wait=2h; the same command continues",
            )


def run_on(
    client: Any, plan: PlanDirectory, report: Report, absence: _Absence | None = None
) -> None:
    """Keep the worker loop running on every thread of a cluster until the plan is done.

    Workers find the plan under the same path.
    """
    progress, loops = PlanProgress(plan, report), dict[Any, str]()
    while not progress.update():
        threads = client.nthreads()
        if absence is not None:
            absence.check(threads)
        for loop, worker in list(loops.items()):
            if loop.done():
                # An error of the loop itself ends the run.
                loop.result()
            if loop.done() or worker not in threads:
                loop.cancel()
                del loops[loop]
        # Each worker as often as it has threads without a loop.
        idle = (Counter(threads) - Counter(loops.values())).elements()
        for worker in islice(idle, plan.open_tasks()):
            # pure=False: what a loop does is on disk, Dask must not think that it has it already.
            loop = client.submit(_work, plan.path, workers=[worker], pure=False)
            loops[loop] = worker
        time.sleep(POLL_S)


def _work(path: Path) -> None:
    if not path.is_dir():
        raise ExecutorError(
            f"a worker on {platform.node()} does not see {path}",
            "the dataset directory must be on a file system that all workers share",
        )
    work(PlanDirectory(path))
