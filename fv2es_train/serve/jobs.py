"""The jobs of a server: a bounded queue, those at work, and results that are kept for a while.

Owns their states; every method may be called from any thread. Leaves doing them to `pool`.
"""

from __future__ import annotations

import contextlib
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from fv2es_prep.errors import Fv2esError
from fv2es_train.predict.outputs import UtterancePrediction, VideoPrediction, summarise
from fv2es_train.serve.api_errors import NEVER_FOUND, NOT_FOUND, QUEUE_FULL, RefusedError
from fv2es_train.serve.messages import (
    Done,
    Failed,
    Message,
    Note,
    Part,
    Previewed,
    Reword,
    Stopped,
    Task,
    Told,
)
from fv2es_train.serve.settings import Limits

State = Literal["waiting", "running", "done", "failed", "stopped"]
PREVIEW = "preview.webm"
ENDED = ("done", "failed", "stopped")
_LAST_TIMES = 8
_LONGEST_RETRY_S = 60


@dataclass
class Job:
    """One task and how it goes.

    Attributes:
        task: what is to be done.
        folder: where its upload lies; None where it has none.
        id: nobody can guess it; who knows it may see the job.
        state: how far it is.
        part: see `task.Part`.
        told: the utterances so far.
        notes: what was missing.
        previewed: whether there is a film for browsers.
        error: why it failed.
        stop: set where it is to be given up.
        ended: when it ended, on the clock of `time.monotonic`.
        began: when it began, likewise.
    """

    task: Task
    folder: Path | None = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: State = "waiting"
    part: str = ""
    told: list[Told] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    previewed: bool = False
    error: Fv2esError | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0
    ended: float = 0.0

    @property
    def found(self) -> list[UtterancePrediction]:
        """What the model says of each utterance so far."""
        return [one.prediction for one in self.told]

    def summary(self, thresholds: dict[str, float]) -> VideoPrediction:
        """The whole video, as far as it was scored."""
        return summarise(self.task.name, self.found, thresholds, self.notes)

    @property
    def progress(self) -> float:
        """How much of it is done, 0 to 1."""
        if self.state == "done":
            return 1.0
        if isinstance(self.task, Reword):
            return len(self.told) / max(len(self.task.utterances), 1)
        if not self.told or not self.task.length_s:
            return 0.0
        return min(self.told[-1].prediction.end_s / self.task.length_s, 1.0)


class Jobs:
    """All jobs.

    Args:
        limits: how many may wait and be kept, and for how long.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[Job] = deque()
        self._all: dict[str, Job] = {}
        self._reserved = self._running = 0
        self._took_s: deque[float] = deque(maxlen=_LAST_TIMES)

    @property
    def waiting(self) -> int:
        """How many wait, uploads that are under way included."""
        return len(self._waiting) + self._reserved

    @property
    def running(self) -> int:
        """How many are at work."""
        return self._running

    @contextlib.contextmanager
    def place(self) -> Iterator[None]:
        """Hold a place in the queue while an upload comes in and is examined; `add` it within.

        Raises:
            RefusedError: the queue is full.
        """
        with self._changed:
            if self.waiting >= self._limits.queue:
                raise RefusedError(
                    QUEUE_FULL,
                    f"the queue is full: {self.waiting} of {self._limits.queue} places are taken",
                    "try again later",
                    {"Retry-After": str(self._retry_s())},
                )
            self._reserved += 1
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= 1

    def add(self, job: Job) -> Job:
        """Put a job into the queue; new words, which take a moment, come before videos."""
        with self._changed:
            self._all[job.id] = job
            if isinstance(job.task, Reword):
                self._waiting.appendleft(job)
            else:
                self._waiting.append(job)
            self._changed.notify()
        return job

    def next(self, timeout_s: float) -> Job | None:
        """The next job, which is running from now on; None where none comes in time."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout_s)
            if not self._waiting:
                return None
            job = self._waiting.popleft()
            job.state, job.began = "running", time.monotonic()
            self._running += 1
            return job

    def find(self, id_: str) -> Job:
        """The job that goes by an id.

        Raises:
            RefusedError: there is none, or it was forgotten.
        """
        self.sweep()
        with self._changed:
            job = self._all.get(id_)
        if job is None:
            raise RefusedError(
                NOT_FOUND, NEVER_FOUND, f"results are kept for {self._limits.keep_s / 60:g} minutes"
            )
        return job

    def position(self, job: Job) -> int:
        """How many jobs begin before one that waits; 0 where it does not wait."""
        with self._changed:
            return self._waiting.index(job) + self._running if job in self._waiting else 0

    def hear(self, job: Job, message: Message) -> None:
        """Take note of what a worker tells of a running job."""
        match message:
            case Told():
                job.told.append(message)
            case Note(sentence):
                job.notes.append(sentence)
            case Part(name):
                job.part = name
            case Previewed():
                job.previewed = True
            case Done():
                self._end(job, "done")
            case Stopped():
                self._end(job, "stopped")
            case Failed(error):
                job.error = error
                self._end(job, "failed")

    def forget(self, job: Job) -> None:
        """Stop a job and remove all that is left of it."""
        with self._changed:
            self._all.pop(job.id, None)
            job.stop.set()
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = "stopped"
            if job.state in ENDED:
                _remove(job.folder)

    def sweep(self) -> None:
        """Forget results that were kept for long enough, and the oldest where there are many."""
        limit = time.monotonic() - self._limits.keep_s
        with self._changed:
            ended = sorted(
                (job for job in self._all.values() if job.state in ENDED), key=lambda job: job.ended
            )
            many = len(ended) - self._limits.kept
            for place, job in enumerate(ended):
                if place < many or job.ended < limit:
                    self.forget(job)

    def expires_s(self, job: Job) -> float:
        """For how many seconds the result is kept yet."""
        since = time.monotonic() - job.ended if job.state in ENDED else 0.0
        return max(self._limits.keep_s - since, 0.0)

    def _end(self, job: Job, state: State) -> None:
        with self._changed:
            if job.state in ENDED:
                return
            job.state, job.part, job.ended = state, "", time.monotonic()
            self._running -= 1
            self._took_s.append(job.ended - job.began)
            if job.id not in self._all:
                _remove(job.folder)
            elif job.folder is not None:
                # Of the upload nothing is needed any more.
                for path in job.folder.iterdir():
                    if not (job.previewed and path.name == PREVIEW):
                        path.unlink(missing_ok=True)

    def _retry_s(self) -> int:
        usual = sum(self._took_s) / len(self._took_s) if self._took_s else 5.0
        return max(1, min(round(usual), _LONGEST_RETRY_S))


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
