"""Calls in several processes of this machine, with their results in order."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar, TypeVarTuple

from fv2es_prep.errors import WorkError

A = TypeVarTuple("A")
R = TypeVar("R")
_CHUNK = 4


def cores() -> int:
    """How many cores this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def worth_starting(tasks: int, of_one: int) -> int:
    """How many processes to start for some tasks, at most one for each core.

    Args:
        tasks: number of tasks.
        of_one: least number of tasks for a process, since starting one takes time.
    """
    return min(cores(), 1 + tasks // of_one)


def in_order(call: Callable[[*A], R], tasks: Sequence[tuple[*A]], jobs: int) -> Iterator[R]:
    """The results of a function of a module, in the order of its arguments; they are pickled.

    Raises:
        WorkError: a process was killed.
    """
    if jobs <= 1:
        for task in tasks:
            yield call(*task)
        return
    # A fork would copy the locks of other threads.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(min(jobs, len(tasks)), context, _ignore_interrupt)
    try:
        yield from pool.map(call, *zip(*tasks, strict=True), chunksize=_CHUNK)
    except BrokenProcessPool as error:
        raise WorkError(
            "a process was killed before its work was done", "run it again with --jobs 1"
        ) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _ignore_interrupt() -> None:
    # The main process handles Ctrl-C and ends the others.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
