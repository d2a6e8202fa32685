"""The processes that score: started, given jobs, ended where a job takes too long, started again.

Owns their lives. Leaves what they do to `worker`, and the queue to `jobs`.
"""

from __future__ import annotations

import logging
import multiprocessing
import shutil
import threading
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from pathlib import Path

from fv2es_prep.errors import WorkError
from fv2es_train.serve.jobs import Job, Jobs
from fv2es_train.serve.messages import STOP, Done, Failed, Message, Ready, Stopped
from fv2es_train.serve.model_worker import run_worker
from fv2es_train.serve.settings import ServeOptions
from fv2es_train.serve.workspace import new_folder

_LOG = logging.getLogger("fv2es.serve")
# A worker that is told to stop is ended where it does not within this.
_GRACE_S = 5.0
_LOOK_S = 0.1
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 60.0
_ENDS = (Done, Failed, Stopped)


class Process:
    """One worker process.

    Args:
        options: the server's.
        place: the private folder; what it leaves there goes with it.
    """

    def __init__(self, options: ServeOptions, place: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._folder = new_folder(place)
        self._connection: Connection
        self._connection, theirs = context.Pipe()
        self._process: BaseProcess = context.Process(
            target=run_worker, args=(theirs, options, self._folder), daemon=True
        )
        self._process.start()
        # Ours alone is left: the pipe ends when the process does.
        theirs.close()

    @property
    def alive(self) -> bool:
        """Whether it is there; the system may have killed it while it waited."""
        return self._process.is_alive()

    def wait_until_ready(self) -> Ready:
        """Wait until the model is loaded.

        Raises:
            Fv2esError: it cannot be.
        """
        try:
            message = self._connection.recv()
        except (EOFError, OSError):
            raise WorkError(
                "the worker died while it loaded the model",
                "see what it said before; is memory free?",
            ) from None
        if isinstance(message, Failed):
            raise message.error
        assert isinstance(message, Ready), message
        return message

    def work(self, job: Job, limit_s: float, hear: Callable[[Message], None]) -> bool:
        """Do a job.

        Args:
            job: what is to be done; `Job.stop` is heeded.
            limit_s: seconds that it may take.
            hear: called with each message, and with exactly one that is an end.

        Returns:
            Whether the process can do another one.
        """
        limit = time.monotonic() + limit_s
        asked = 0.0
        try:
            self._connection.send(job.task)
            while True:
                if self._connection.poll(_LOOK_S):
                    message = self._connection.recv()
                    hear(message)
                    if isinstance(message, _ENDS):
                        return True
                now = time.monotonic()
                if now > limit:
                    hear(Failed(_took_too_long(limit_s)))
                    return False
                if job.stop.is_set() and not asked:
                    asked = now
                    self._connection.send(STOP)
                if asked and now > asked + _GRACE_S:
                    hear(Stopped())
                    return False
        except Exception as error:  # noqa: BLE001  # its thread must go on to the next job
            if not isinstance(error, (EOFError, OSError)):
                _LOG.exception("a job met a mistake")
            hear(Failed(_died(), mistake=True))
            return False

    def end(self) -> None:
        """Kill it, and wait until it is gone."""
        self._process.kill()
        self._process.join()
        self._connection.close()
        shutil.rmtree(self._folder, ignore_errors=True)


def _took_too_long(limit_s: float) -> WorkError:
    return WorkError(
        f"the job was ended after {limit_s:g} s", "send a shorter video, or ask for a higher limit"
    )


def _died() -> WorkError:
    return WorkError("the process that worked on the video died", "try again, or tell who runs it")


class Pool:
    """All worker processes, and a thread for each that gives it jobs.

    Args:
        options: the server's.
        jobs: where jobs come from.
        place: the private folder.
        ended: called with each job that ended, and its last message.

    Attributes:
        ready: what the workers have loaded; set by `start`.
        restarts: how often a worker had to be started again.
    """

    def __init__(
        self,
        options: ServeOptions,
        jobs: Jobs,
        place: Path,
        ended: Callable[[Job], None] = lambda _: None,
    ) -> None:
        self._options, self._jobs, self._place, self._ended = options, jobs, place, ended
        self._closing = threading.Event()
        self._alive: dict[int, Process] = {}
        self._threads: list[threading.Thread] = []
        self.ready: Ready
        self.restarts = 0

    @property
    def up(self) -> bool:
        """Whether a worker is there that can take a job."""
        return any(process.alive for process in list(self._alive.values()))

    def start(self) -> None:
        """Start all workers, and wait until each has loaded its model.

        Raises:
            Fv2esError: one cannot load it.
        """
        processes = [Process(self._options, self._place) for _ in range(self._options.workers)]
        try:
            for process in processes:
                self.ready = process.wait_until_ready()
        except BaseException:
            for process in processes:
                process.end()
            raise
        for number, process in enumerate(processes):
            self._alive[number] = process
            thread = threading.Thread(target=self._serve, args=(number,), daemon=True)
            thread.start()
            self._threads.append(thread)

    def close(self) -> None:
        """End all workers, whatever they do."""
        self._closing.set()
        for process in list(self._alive.values()):
            process.end()
        for thread in self._threads:
            thread.join(timeout=_GRACE_S)

    def _serve(self, number: int) -> None:
        while not self._closing.is_set():
            process = self._alive.get(number)
            if process is not None and not process.alive:
                process.end()
                process = None
            process = process or self._again(number)
            self._jobs.sweep()
            job = self._jobs.next(1.0) if process is not None else None
            if job is None or process is None:
                continue
            whole = process.work(job, self._options.limits.job_s, self._listener(job))
            self._ended(job)
            if not whole and not self._closing.is_set():
                del self._alive[number]
                process.end()

    def _listener(self, job: Job) -> Callable[[Message], None]:
        return lambda message: self._jobs.hear(job, message)

    def _again(self, number: int) -> Process | None:
        """A new process in the place of one that is gone; tried until it comes up."""
        pause_s = _FIRST_PAUSE_S
        while not self._closing.is_set():
            _LOG.warning("worker %d is started again", number)
            self.restarts += 1
            process = Process(self._options, self._place)
            try:
                process.wait_until_ready()
            except Exception as error:  # noqa: BLE001  # it is told, and tried again
                _LOG.warning("worker %d did not come up: %s", number, error)
                process.end()
                self._closing.wait(pause_s)
                pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
            else:
                self._alive[number] = process
                return process
        return None
