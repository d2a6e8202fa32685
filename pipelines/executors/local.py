"""Executors on this machine: this process, or processes that Dask keeps alive."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from typing import Any

from fv2es_prep.errors import SettingsError
from fv2es_prep.utils.processes import cores
from pipelines.config import NO_CLUSTER, ClusterConfig
from pipelines.executors import fork_server
from pipelines.executors.base import PlanProgress, Report, worker_count
from pipelines.executors.cluster import run_on
from pipelines.executors.plan_directory import PlanDirectory
from pipelines.executors.worker import work
from pipelines.signals import shielded


class InlineExecutor:
    """Runs the worker loop in this process."""

    workers = 1

    def __init__(self, name: str, _: ClusterConfig = NO_CLUSTER) -> None:
        if name != "inline":
            raise SettingsError(f"invalid executor {name!r}", "write inline")

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """See `Executor`."""
        progress = PlanProgress(plan, report)
        while not progress.update():
            work(plan, progress.update)
            # The remaining tasks are claimed by a worker of a killed run; wait until it finishes or
            # dies.
            if not plan.open_tasks():
                time.sleep(progress.pause_s)


class LocalExecutor:
    """Runs the worker loop in processes of one thread each: one per core, or N for ``local:N``."""

    def __init__(self, name: str, _: ClusterConfig = NO_CLUSTER) -> None:
        self.workers = worker_count(name, "N processes") or cores()

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """See `Executor`."""
        from distributed import Client

        if not plan.contents.decodes:
            # Not worth starting workers: copying and tokenizing take less time.
            InlineExecutor("inline").run(plan, report)
            return
        with contextlib.ExitStack() as stack:
            with shielded():
                workers = min(self.workers, len(plan.contents.tasks))
                cluster = stack.enter_context(local_cluster(workers))
                client = stack.enter_context(Client(cluster, set_as_default=False))
            run_on(client, plan, PlanProgress(plan, report))


def local_cluster(workers: int) -> Any:
    """Start a Dask cluster of processes with one thread each on this machine."""
    import dask
    import distributed

    dask.config.set(
        {
            # The profiler samples each worker a hundred times a second, which takes 4 % of the
            # time.
            "distributed.worker.profile.enabled": False,
            # The scheduler and each worker measure their own delays 50 times a second, which takes
            # 3 % of the time of two cores.
            "distributed.admin.tick.interval": "1s",
            "distributed.admin.system-monitor.interval": "5s",
            # Dask's default returns all freed memory to the system at once, so each picture would
            # need new pages, which takes 7 % of the time.
            "distributed.nanny.pre-spawn-environ": fork_server.ONE_THREAD,
            "distributed.worker.multiprocessing-method": fork_server.METHOD,
        }
    )
    fork_server.start()
    # Otherwise Dask imports packages such as pandas here, for a fork server of its own.
    distributed.utils._forkserver_preload_set = True
    return distributed.LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        # Any free port: several runs may share the machine.
        dashboard_address="127.0.0.1:0",
        # Errors are returned with the results.
        silence_logs=logging.CRITICAL,
        # The server may have been started before a variable was set.
        env={**os.environ, **fork_server.ONE_THREAD},
        # A worker's memory is bounded by the stages; Dask's own limit would only kill it.
        memory_limit=0,
    )
