"""The process from which local workers are forked, with their libraries already imported.

Each worker then starts at once and shares the memory of the libraries. Leaves the list of imports
to `preload`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pipelines.signals import shielded

_PRELOAD = "pipelines.executors.preload"
# Variables of workers: one thread each.
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")
# A fork on macOS breaks its system libraries, and Windows has none.
METHOD = "forkserver" if sys.platform == "linux" else "spawn"


def start() -> None:
    """Start the server, which imports in the background; does nothing if it runs already.

    It ends with this process and its workers. Call it within `signals.shielded`, so that signals of
    the terminal reach neither.
    """
    if METHOD != "forkserver":
        return
    import multiprocessing
    from multiprocessing import forkserver

    multiprocessing.get_context(METHOD).set_forkserver_preload([_PRELOAD])
    # Its modules are found where this process finds them, and never in the current directory.
    path = os.pathsep.join(filter(None, sys.path))
    with _variables({**ONE_THREAD, "PYTHONPATH": path, "PYTHONSAFEPATH": "1"}):
        forkserver.ensure_running()


def start_early(executor: str, out: Path) -> None:
    """Start the server before a run is planned, if the run probably needs local workers.

    A dataset directory with an index probably needs none.
    """
    from fv2es_prep.shards.index import INDEX_NAME

    if executor.partition(":")[0] == "local" and not (out / INDEX_NAME).exists():
        with shielded():
            start()


@contextmanager
def _variables(changed: Mapping[str, str]) -> Iterator[None]:
    """Set environment variables for the block."""
    before = dict(os.environ)
    os.environ.update(changed)
    try:
        yield
    finally:
        for name in changed.keys() - before.keys():
            del os.environ[name]
        os.environ.update(before)
