"""Signals that stop a training at its next optimizer step: SIGTERM, and SIGUSR1 of a batch job.

Leaves saving to `state` and requeueing to `slurm_job`. Imports no torch.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from fv2es_prep.errors import OutOfTimeError, StoppedError

# If both arrive, the first one counts.
SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextmanager
def catch_signals() -> Iterator[Callable[[], int]]:
    """Record `SIGNALS` instead of dying; yields a function that returns the one received, or 0.

    Clusters send them before they reclaim a machine. Python delivers signals to its main thread
    only; in another thread this catches nothing.
    """
    received: set[int] = set()
    if threading.current_thread() is not threading.main_thread():
        yield lambda: 0
        return
    before = [signal.signal(number, lambda n, _: received.add(n)) for number in SIGNALS]
    # This delivers the signal that `hold_back` blocked.
    mask = signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    try:
        yield lambda: next((number for number in SIGNALS if number in received), 0)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        for number, handler in zip(SIGNALS, before, strict=True):
            signal.signal(number, handler)


@contextmanager
def hold_back() -> Iterator[None]:
    """Block SIGUSR1 until `catch_signals`: it would kill the process while libraries load."""
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def stopped(run: object, epoch: int, number: int) -> StoppedError:
    """Make the error that ends a run after a signal, once its state is saved."""
    kind = OutOfTimeError if number == signal.SIGUSR1 else StoppedError
    return kind(
        f"{signal.Signals(number).name} stopped the training in epoch {epoch}; its state is saved",
        f"continue with: fv2es train --resume {run}",
    )
