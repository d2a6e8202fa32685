"""One fork server for all workers of pytest-xdist: loading its libraries takes seconds."""

from __future__ import annotations

import multiprocessing
import os
import signal
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext
from multiprocessing.forkserver import _forkserver as server


def context() -> ForkServerContext:
    """Processes forked from one that has loaded the libraries, and none of our own code."""
    forking = multiprocessing.get_context("forkserver")
    forking.set_forkserver_preload(["tests.libraries"])
    return forking


def start() -> str:
    """Start the server, which ends with this process; its address."""
    context()
    server.ensure_running()
    return server._forkserver_address


def use(address: str) -> None:
    """Fork from the server of another process from now on."""
    server._forkserver_address = address
    # A process passes it on to those that it forks; the server waits for the one that started it.
    server._forkserver_alive_fd = os.open(os.devnull, os.O_RDONLY)
    share()
    # Also what a preparation here forks: a server of its own would be that of later tests, and
    # would block the signals that they send; see `signals.shielded`.
    forkserver.ensure_running = server.ensure_running


def use_own() -> None:
    """Fork from a server of this process that blocks no signal, whoever starts it."""
    ensure_running = server.ensure_running

    def ensure_running_unshielded() -> None:
        before = signal.pthread_sigmask(signal.SIG_UNBLOCK, (signal.SIGINT, signal.SIGTERM))
        try:
            ensure_running()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

    forkserver.ensure_running = server.ensure_running = ensure_running_unshielded


def share() -> None:
    """Let what this process forks come from the server that it uses, not from one of its own."""
    server.ensure_running = lambda: None
