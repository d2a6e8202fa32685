"""Everything in this process."""

from __future__ import annotations

from fv2es_prep.errors import SettingsError
from pipelines.executors.base import PlanProgress, Report
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
        progress.update()
        work(plan, progress.update)
