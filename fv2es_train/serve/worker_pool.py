"""The worker processes: start them, give them jobs, kill slow ones, restart them."""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Literal

from fv2es_prep.errors import WorkError
from fv2es_train.serve.jobs import Job, Jobs
from fv2es_train.serve.messages import STOP, LoadedModel, Update, failure
from fv2es_train.serve.model_worker import run_worker
from fv2es_train.serve.settings import ServeConfig

_LOG = logging.getLogger("fv2es.serve")
# A worker that does not stop a job within this time is killed.
_GRACE_S = 5.0
_START: Literal["spawn"] = "spawn"
_POLL_S = 0.1
_FIRST_PAUSE_S, _MAX_PAUSE_S = 1.0, 60.0


@contextmanager
def _without_interrupts() -> Iterator[None]:
    """Start processes that Ctrl-C does not reach; the server decides when its workers end.

    An interrupt waits for the end of the block: otherwise a worker could start without its task.
    """
    # Starting the tracker unblocks signals, so it must run before a worker starts.
    resource_tracker.ensure_running()
    came = list[int]()
    in_main = threading.current_thread() is threading.main_thread()
    # Another thread, e.g. of a numerical library, can take the signal for this one.
    handler = (
        signal.signal(signal.SIGINT, lambda number, _: came.append(number)) if in_main else None
    )
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        if in_main:
            signal.signal(signal.SIGINT, handler)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        if came:
            signal.raise_signal(signal.SIGINT)


class WorkerProcess:
    """One worker process, with its own directory in the workspace."""

    def __init__(self, config: ServeConfig, workspace: Path) -> None:
        context = multiprocessing.get_context(_START)
        self._folder = Path(tempfile.mkdtemp(dir=workspace))
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=run_worker, args=(theirs, config, self._folder), daemon=True
        )
        with _without_interrupts():
            self._process.start()
        # Close the other end here, so that the pipe closes when the process ends.
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it runs; the system may have killed it while it was idle."""
        return self._process.is_alive()

    def wait_until_ready(self) -> LoadedModel:
        """Wait until the model is loaded.

        Raises:
            Fv2esError: the model cannot be loaded.
        """
        try:
            reply = self._connection.recv()
        except (EOFError, OSError):
            raise WorkError(
                "the worker died while loading the model", "check its log and the free memory"
            ) from None
        if isinstance(reply, Update):
            assert reply.error is not None
            raise reply.error
        assert isinstance(reply, LoadedModel), reply
        return reply

    def run(self, job: Job, limit_s: float, on_update: Callable[[Update], None]) -> bool:
        """Run a job for at most ``limit_s`` seconds; return whether the worker stays usable.

        ``on_update`` gets each update; only the last one has an end.
        """
        limit = time.monotonic() + limit_s
        stopping = 0.0
        try:
            self._connection.send(job.task)
            while True:
                if self._connection.poll(_POLL_S):
                    update = self._connection.recv()
                    on_update(update)
                    if update.end is not None:
                        return True
                now = time.monotonic()
                if now > limit:
                    sentence = f"the job exceeded its limit of {limit_s:g} s"
                    hint = "send a shorter video, or ask the administrator for a higher limit"
                    on_update(failure(WorkError(sentence, hint)))
                    return False
                if job.stop.is_set() and not stopping:
                    stopping = now
                    self._connection.send(STOP)
                if stopping and now > stopping + _GRACE_S:
                    on_update(Update(end="stopped"))
                    return False
        except Exception as error:  # noqa: BLE001  # the thread must go on with the next job
            if not isinstance(error, (EOFError, OSError)):
                _LOG.exception("a job failed")
            hint = "try again, or tell the administrator of the server"
            on_update(failure(WorkError("the worker process of the video died", hint)))
            return False

    def kill(self) -> None:
        """Kill the process and wait for its end."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)


class WorkerPool:
    """All worker processes, each with a thread that gives it jobs.

    Attributes:
        model: the model that the workers have loaded; set by `start`.
        restarts: number of restarted workers.
    """

    def __init__(
        self, config: ServeConfig, jobs: Jobs, workspace: Path, on_end: Callable[[Job], None]
    ) -> None:
        self._config, self._jobs, self._workspace, self._on_end = config, jobs, workspace, on_end
        self._closing = threading.Event()
        self._alive: dict[int, WorkerProcess] = {}
        self._threads: list[threading.Thread] = []
        self.model: LoadedModel
        self.restarts = 0

    @property
    def up(self) -> bool:
        """Whether any worker can take a job."""
        return any(process.alive for process in list(self._alive.values()))

    def start(self) -> None:
        """Start all workers, and wait until each has loaded its model.

        Raises:
            Fv2esError: a worker cannot load the model.
        """
        count = self._config.workers
        processes = [WorkerProcess(self._config, self._workspace) for _ in range(count)]
        try:
            for process in processes:
                self.model = process.wait_until_ready()
        except BaseException:
            for process in processes:
                process.kill()
            raise
        for number, process in enumerate(processes):
            self._alive[number] = process
            thread = threading.Thread(target=self._serve, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """Kill all workers."""
        self._closing.set()
        for process in list(self._alive.values()):
            process.kill()
        for thread in self._threads:
            thread.join(timeout=_GRACE_S)

    def _serve(self, number: int) -> None:
        while not self._closing.is_set():
            process = self._alive.get(number)
            if process is not None and not process.alive:
                process.kill()
                process = None
            process = process or self._restart(number)
            self._jobs.sweep()
            job = self._jobs.next(1.0) if process is not None else None
            if job is None or process is None:
                continue
            reusable = process.run(job, self._config.limits.job_s, partial(self._jobs.update, job))
            self._on_end(job)
            if not reusable and not self._closing.is_set():
                del self._alive[number]
                process.kill()

    def _restart(self, number: int) -> WorkerProcess | None:
        """Replace a process that ended; retry until the new one is ready."""
        pause_s = _FIRST_PAUSE_S
        while not self._closing.is_set():
            _LOG.warning("restarting worker %d", number)
            self.restarts += 1
            process = WorkerProcess(self._config, self._workspace)
            try:
                process.wait_until_ready()
            except Exception as error:  # noqa: BLE001  # logged and retried
                _LOG.warning("worker %d failed to start: %s", number, error)
                process.kill()
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, _MAX_PAUSE_S)
            else:
                self._alive[number] = process
                return process
        return None
