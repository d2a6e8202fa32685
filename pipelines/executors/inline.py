"""Everything in this process."""

from __future__ import annotations

import time

from fv2es_prep.errors import SettingsError
from pipelines.executors.base import POLL_S, PlanProgress, Report
from pipelines.executors.plan_directory import PlanDirectory
from pipelines.executors.worker import work


class InlineExecutor:
    """Runs the worker loop in this process.

    Args:
        name: ``inline``.
    """

    workers = 1

    def __init__(self, name: str) -> None:
        if name != "inline":
            raise SettingsError(f"invalid executor {name!r}", "write inline")

    def run(self, plan: PlanDirectory, report: Report) -> None:
        """See `Executor`."""
        progress = PlanProgress(plan, report)
        while not progress.update():
            work(plan, progress.update)
            # What is left is claimed by a worker of a run that was killed: it finishes, or dies.
            if not plan.open_tasks():
                time.sleep(POLL_S)
