"""Where tasks run: in this process, in local worker processes, or on a running Dask cluster.

Owns starting and stopping workers and bringing results home. Leaves what a task is to `build`.
"""

from __future__ import annotations

import logging
import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from fv2es_prep import __version__
from fv2es_prep.errors import ExecutorError, SettingsError, WorkerDiedError
from fv2es_prep.types import ShardReceipt
from pipelines.build import build_shard
from pipelines.cost import longest_first
from pipelines.task import ShardTask

_TOPIC = "fv2es-utterances"
_CONNECT_TIMEOUT_S = 10
_ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
Result = tuple[ShardTask, ShardReceipt | Exception]
_DIED = "the worker that built {} died {} times, as when the system runs out of memory"


def worker_count(executor: str) -> int:
    """How many tasks an executor runs at once, as far as its name tells (1 for a cluster).

    Raises:
        SettingsError: the name is none of ``inline``, ``local``, ``local:N``, ``tcp://HOST:PORT``.
    """
    kind, _, number = executor.partition(":")
    if executor == "inline" or (kind in ("tcp", "tls") and number.startswith("//")):
        return 1
    if executor == "local":
        return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else _cores()
    if kind == "local" and number.isdigit() and int(number) > 0:
        return int(number)
    raise SettingsError(
        f"there is no executor {executor!r}",
        "name inline, local, local:N (N processes) or tcp://HOST:PORT (a Dask scheduler)",
    )


def run_tasks(
    tasks: Sequence[ShardTask], executor: str, report: Callable[[int], None]
) -> Iterator[Result]:
    """Run every task, giving results as they come; a task that fails does not stop the others.

    Args:
        tasks: the shards; the longest are started first.
        executor: see `worker_count`.
        report: called with the number of utterances done since the last call.

    Raises:
        SettingsError: the executor's name is not understood.
        ExecutorError: the cluster cannot be reached or runs another version.
    """
    workers = worker_count(executor)
    # Copying what is kept and tokenizing is sooner done than workers are started.
    idle = not any(task.missing_for("video", "sound") for task in tasks)
    if executor == "inline" or (idle and executor.startswith("local")):
        yield from _run_inline(tasks, report)
    elif executor.startswith("local"):
        yield from _run_local(tasks, workers, report)
    else:
        yield from _run_on_cluster(tasks, executor, report)


def _run_inline(tasks: Sequence[ShardTask], report: Callable[[int], None]) -> Iterator[Result]:
    for task in longest_first(tasks):
        try:
            result: ShardReceipt | Exception = build_shard(task, report)
        except Exception as error:  # noqa: BLE001  # handed on: the run lists it and goes on
            result = error
        yield task, result


def _run_local(
    tasks: Sequence[ShardTask], workers: int, report: Callable[[int], None]
) -> Iterator[Result]:
    from distributed import Client

    cluster = local_cluster(min(workers, max(len(tasks), 1)))
    with cluster, Client(cluster) as client:
        yield from _gather(client, tasks, report)


def local_cluster(workers: int) -> Any:
    """Start a Dask cluster of so many processes, with a thread each, on this machine."""
    import dask
    from distributed import LocalCluster

    dask.config.set(
        {
            # It looks at each worker a hundred times a second: one part in twenty-five.
            "distributed.worker.profile.enabled": False,
            # Dask's own adds that all freed memory goes back to the system at once, and each
            # picture would have to be given new memory, page by page: one part in fifteen.
            "distributed.nanny.pre-spawn-environ": dict.fromkeys(_ONE_THREAD, 1),
        }
    )
    return LocalCluster(
        n_workers=workers,
        threads_per_worker=1,
        processes=True,
        # Any free port: runs beside each other must not quarrel over one.
        dashboard_address="127.0.0.1:0",
        # What workers say comes home with their results.
        silence_logs=logging.CRITICAL,
        # A worker's memory is bounded by the stages; Dask's own limit would only kill it.
        memory_limit=0,
    )


def _run_on_cluster(
    tasks: Sequence[ShardTask], address: str, report: Callable[[int], None]
) -> Iterator[Result]:
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_TIMEOUT_S, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise ExecutorError(
            f"no Dask scheduler answers at {address} within {_CONNECT_TIMEOUT_S} s",
            "start one with `dask scheduler`, and workers with `dask worker ADDRESS --nthreads 1`",
        ) from error
    with client:
        _check_versions(client, address)
        yield from _gather(client, tasks, report)


def _check_versions(client: Any, address: str) -> None:
    versions = client.run(_version, on_error="return")
    if not versions:
        raise ExecutorError(
            f"the Dask scheduler at {address} has no worker",
            f"start some with `dask worker {address} --nthreads 1`",
        )
    for worker, version in sorted(versions.items()):
        if version != __version__:
            raise ExecutorError(
                f"the worker {worker} runs fv2es {version}, this is fv2es {__version__}",
                "install the same fv2es on every worker",
            )


def _gather(
    client: Any, tasks: Sequence[ShardTask], report: Callable[[int], None]
) -> Iterator[Result]:
    from distributed import as_completed

    client.subscribe_topic(_TOPIC, lambda event: report(event[1]))
    waiting = deque(longest_first(tasks))
    running: dict[Any, ShardTask] = {}
    completed = as_completed(loop=client.loop)

    def start() -> None:
        # No more than there are threads: Dask would bind what waits to a worker that is busy.
        free = max(_threads(client), 1) - len(running)
        while free > 0 and waiting:
            task = waiting.popleft()
            # pure=False: a shard is a file on disk, and Dask must not think that it has it already.
            future = client.submit(_build_remotely, task, pure=False, retries=0)
            running[future] = task
            completed.add(future)
            free -= 1

    start()
    for future in completed:
        task = running.pop(future)
        yield task, _result_of(task, future)
        start()
    client.unsubscribe_topic(_TOPIC)


def _threads(client: Any) -> int:
    """How many tasks the cluster can run at once now."""
    return sum(client.nthreads().values())


def _result_of(task: ShardTask, future: Any) -> ShardReceipt | Exception:
    from distributed import KilledWorker

    error = future.exception()
    if isinstance(error, KilledWorker):
        return WorkerDiedError(_DIED.format(task.path.name, error.allowed_failures + 1))
    result: ShardReceipt | Exception = future.result() if error is None else error
    return result


def _build_remotely(task: ShardTask) -> ShardReceipt:
    from distributed import get_worker

    worker = get_worker()
    return build_shard(task, lambda utterances: worker.log_event(_TOPIC, utterances))


def _version() -> str:
    return __version__


def _cores() -> int:
    return os.cpu_count() or 1
