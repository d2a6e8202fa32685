"""SIGTERM, as clusters send it before they take a machine away.

Owns noticing it. Leaves where training stops, and what is saved, to `loop`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fv2es_prep.errors import TrainError


@contextmanager
def catch_sigterm() -> Iterator[Callable[[], bool]]:
    """Record SIGTERM instead of dying; yields a function that tells whether it was received.

    Python delivers signals to its main thread only; in another thread nothing is caught.
    """
    received = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield received.is_set
        return
    before = signal.signal(signal.SIGTERM, lambda *_: received.set())
    try:
        yield received.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def stopped(run: object, epoch: int) -> TrainError:
    """The error that ends a run after SIGTERM, once its state is saved."""
    return TrainError(
        f"training was stopped by SIGTERM in epoch {epoch}; its state is saved",
        f"continue with: fv2es train --resume {run}",
    )
