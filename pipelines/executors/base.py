"""The interface of executors, and their lookup by name.

An executor starts workers and waits for them. All workers run the same loop,
`executors.worker.work`, over a plan on disk, and give the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from fv2es_prep.errors import SettingsError
from fv2es_prep.utils.registry import Registry
from pipelines.config import NO_CLUSTER, ClusterConfig
from pipelines.executors.plan_directory import STOPPING, PlanDirectory

Report = Callable[[int], None]
# Seconds between two checks of a plan that other processes work on; the second when only the end of
# a shard is missing.
POLL_S, _LAST_POLL_S = 0.1, 0.02


class Executor(Protocol):
    """A place where workers run."""

    @property
    def workers(self) -> int:
        """Number of tasks that run at once, as far as known before the start; at least 1."""

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """Build the tasks of a plan; return when each has a result or one stops the run.

        ``report`` is called with the number of utterances done since the last call.

        Raises:
            ExecutorError: workers cannot be started or reached.
        """


EXECUTORS: Registry[Callable[[str, ClusterConfig], Executor]] = Registry(
    "fv2es.executors",
    "executor",
    {
        "inline": "pipelines.executors.local:InlineExecutor",
        "local": "pipelines.executors.local:LocalExecutor",
        "slurm": "pipelines.executors.slurm:SlurmExecutor",
        "tcp": "pipelines.executors.cluster:ClusterExecutor",
        "tls": "pipelines.executors.cluster:ClusterExecutor",
    },
)


def executor_of(name: str, cluster: ClusterConfig = NO_CLUSTER) -> Executor:
    """The executor of a name, e.g. ``inline``, ``local:N``, ``slurm:N``, ``tcp://HOST:PORT``.

    Installed packages can add executors. The executor itself reads the text after the colon.

    Raises:
        UsageError: the name is unknown.
        SettingsError: the text after the colon is invalid.
    """
    return EXECUTORS.load(name.partition(":")[0])(name, cluster)


def worker_count(name: str, meaning: str) -> int | None:
    """Number of workers N in ``KIND:N``; None for ``KIND`` alone.

    Raises:
        SettingsError: the text after the colon is not a positive number; ``meaning`` describes it.
    """
    kind, colon, number = name.partition(":")
    if not colon:
        return None
    if not (number.isdecimal() and int(number) > 0):
        raise SettingsError(
            f"invalid executor {name!r}", f"write {kind}, or {kind}:N for {meaning}"
        )
    return int(number)


class PlanProgress:
    """Progress of a plan, whichever process works on it."""

    def __init__(self, plan: PlanDirectory, report: Report) -> None:
        self._plan, self._report = plan, report
        self._done, self._seen, self._stopped = 0, set[str](), False
        self._all = sum(plan.contents.tasks.values())

    @property
    def left(self) -> int:
        """Number of tasks without a result at the last update."""
        return len(self._plan.contents.tasks) - len(self._seen)

    @property
    def pause_s(self) -> float:
        """Seconds to wait before the next update."""
        return _LAST_POLL_S if self._done == self._all else POLL_S

    def update(self) -> bool:
        """Report progress; return whether all tasks have a result, or one stops the run."""
        new = self._plan.finished() - self._seen
        self._seen |= new
        self._stopped |= any(isinstance(self._plan.result(name), STOPPING) for name in new)
        done = self._plan.done(self._seen)
        if done > self._done:
            self._report(done - self._done)
            self._done = done
        return self._stopped or len(self._seen) == len(self._plan.contents.tasks)
