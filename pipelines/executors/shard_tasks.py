"""Runs the tasks of `fv2es shards add` in this process, or in processes of Dask."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import replace

from fv2es_prep.errors import SettingsError
from fv2es_prep.shards.index import ShardEntry
from fv2es_prep.shards.tools.restage import Spread, in_turn
from fv2es_prep.shards.tools.restage_shard import RestageTask
from pipelines.executors.base import executor_of
from pipelines.executors.local import InlineExecutor, LocalExecutor, local_cluster
from pipelines.signals import shielded


def spread_over(executor: str) -> Spread:
    """Return the function that runs the tasks of a dataset on ``inline`` or ``local:N``.

    Raises:
        UsageError: the executor is unknown.
        SettingsError: the executor is another one.
    """
    chosen = executor_of(executor)
    if isinstance(chosen, InlineExecutor):
        return in_turn
    if not isinstance(chosen, LocalExecutor):
        raise SettingsError(
            f"the executor {executor} cannot change shards",
            "pass --executor inline, or local:N for N processes",
        )
    most = chosen.workers

    def spread(tasks: Sequence[RestageTask]) -> Iterator[ShardEntry]:
        from distributed import Client

        # Each process has one thread.
        single = [replace(t, additions=replace(t.additions, threads=1)) for t in tasks]
        with contextlib.ExitStack() as stack:
            with shielded():
                cluster = stack.enter_context(local_cluster(min(most, len(tasks))))
                client = stack.enter_context(Client(cluster, set_as_default=False))
            for future in client.map(RestageTask.run, single, pure=False):
                yield future.result()

    return spread
