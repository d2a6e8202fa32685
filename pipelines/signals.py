"""SIGINT and SIGTERM in a preparation: the first stops it cleanly, the next one at once.

Leaves messages to `cli`.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
from collections.abc import Iterator
from multiprocessing import resource_tracker

_SIGNALS = (signal.SIGINT, signal.SIGTERM)
# Signals received inside `shielded`; None outside of it.
_noted: list[int] | None = None
_LAST_WORDS = b"stopped; finished shards are kept; run the same command again to continue\n"


class Stopped(KeyboardInterrupt):
    """A signal was received; ``status`` is its exit status by shell convention, 130 or 143."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.status = 128 + number


@contextlib.contextmanager
def stoppable() -> Iterator[None]:
    """Let the first signal raise `Stopped`, and a second one end the process with a message.

    After a signal the handlers stay until `ignore_further`, which follows the clean-up.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def end(number: int, _: object) -> None:
        os.write(2, _LAST_WORDS)
        os._exit(128 + number)

    def stop(number: int, _: object) -> None:
        for each in _SIGNALS:
            signal.signal(each, end)
        if _noted is None:
            raise Stopped(number)
        _noted.append(number)

    before = [signal.signal(number, stop) for number in _SIGNALS]
    try:
        yield
    finally:
        if signal.getsignal(signal.SIGINT) is stop:
            for number, handler in zip(_SIGNALS, before, strict=True):
                signal.signal(number, handler)


@contextlib.contextmanager
def shielded() -> Iterator[None]:
    """Start processes that signals of the terminal do not reach; they end with this process.

    A signal received in the block stops the run at its end, whatever error occurred.
    """
    global _noted  # a handler has no other place
    _start_tracker()
    # Threads and processes inherit blocked signals.
    before, _noted = signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS), []
    try:
        yield
    finally:
        came, _noted = _noted, None
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            raise Stopped(came[0])


def _start_tracker() -> None:
    """Start Python's tracker of semaphores, which would unblock the signals later.

    It removes semaphores, and must not warn about them when a second signal ends the process.
    """
    given = os.environ.get("PYTHONWARNINGS")
    os.environ["PYTHONWARNINGS"] = "ignore"
    try:
        resource_tracker.ensure_running()
    finally:
        del os.environ["PYTHONWARNINGS"]
        if given is not None:
            os.environ["PYTHONWARNINGS"] = given


def ignore_further() -> None:
    """Ignore signals from now on: the process prints its last message and ends."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
