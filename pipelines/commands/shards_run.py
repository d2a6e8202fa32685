"""The commands for a run that many processes share: its status, a worker, and its end."""

from __future__ import annotations

from typing import Any

import typer

from fv2es_prep.utils.console import Json
from pipelines.commands.common import Dataset, output
from pipelines.commands.summary import end_with, print_submission


def shards_status(directory: Dataset, as_json: Json = False) -> None:
    """Print how far a run is: shards done, building, left and failed, and the workers' hosts."""
    from pipelines.executors.plan_status import status_of, status_text

    status = status_of(directory)
    output(status, status_text(status), as_json)


def shards_work(directory: Dataset) -> None:
    """Build shards of a planned run until none is left, as any number of processes may."""
    from pipelines.executors.plan_directory import running_plan
    from pipelines.executors.worker import main

    if status := main([str(running_plan(directory.absolute()).path)]):
        raise typer.Exit(status)


def shards_finish(directory: Dataset, as_json: Json = False) -> None:
    """Write the index of a planned run whose shards are built.

    Where a submitted job has built only a part of them, it is submitted again.
    """
    from pipelines.executors.detached import Submission, finish_run
    from pipelines.signals import stoppable

    with stoppable():
        made, max_dropped = finish_run(directory.absolute())
    if isinstance(made, Submission):
        print_submission(made, directory, as_json)
    else:
        end_with(made, max_dropped, as_json)


RUN_COMMANDS: dict[str, Any] = {
    "status": shards_status,
    "work": shards_work,
    "finish": shards_finish,
}
