"""Being told to stop: SIGTERM, as clusters send it before they take a machine away.

Owns noticing it. Leaves where it is safe to stop, and what is saved, to `train`.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from fv2es_prep.errors import TrainError


@contextmanager
def told_to_stop() -> Iterator[Callable[[], bool]]:
    """Notice SIGTERM instead of dying of it; gives what says whether it has come.

    Python hands signals to its main thread alone, so in another one nothing is noticed.
    """
    told = threading.Event()

    def notice(_number: int, _frame: FrameType | None) -> None:
        told.set()

    if threading.current_thread() is not threading.main_thread():
        yield told.is_set
        return
    before = signal.signal(signal.SIGTERM, notice)
    try:
        yield told.is_set
    finally:
        signal.signal(signal.SIGTERM, before)


def stopped(run: object, epoch: int) -> TrainError:
    """The error that ends a run that was told to stop and saved its state."""
    return TrainError(
        f"training was told to stop (SIGTERM) in epoch {epoch}; where it is was saved",
        f"continue with: fv2es train --resume {run}",
    )
