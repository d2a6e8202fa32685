"""A running Dask cluster: Dask starts the worker loop on each of its threads.

Only the plan's path travels through the scheduler.
"""

from __future__ import annotations

import platform
import time
from collections import Counter
from itertools import islice
from pathlib import Path
from typing import Any

from fv2es_prep.errors import ExecutorError
from pipelines.executors.base import POLL_S, PlanProgress, Report
from pipelines.executors.plan_directory import PlanDirectory
from pipelines.executors.worker import work

_CONNECT_TIMEOUT_S = 10


class ClusterExecutor:
    """Runs the worker loop on every thread of a Dask cluster that sees the same directories."""

    workers = 1

    def __init__(self, name: str) -> None:
        self._address = name

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
            _check_workers(client, self._address)
            run_on(client, plan, report)


def run_on(client: Any, plan: PlanDirectory, report: Report) -> None:
    """Keep the worker loop running on every thread of a cluster until the plan is done.

    Workers find the plan under the same path.
    """
    progress, loops = PlanProgress(plan, report), dict[Any, str]()
    while not progress.update():
        threads = client.nthreads()
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


def _check_workers(client: Any, address: str) -> None:
    if not client.nthreads():
        raise ExecutorError(
            f"the Dask scheduler at {address} has no worker",
            f"start some with `dask worker {address} --nthreads 1`",
        )
