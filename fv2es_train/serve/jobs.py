"""The jobs of a server: a bounded queue, running jobs, and results that expire.

Every method is thread-safe.
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
from statistics import fmean
from typing import Literal, get_args

from fv2es_prep.errors import Fv2esError
from fv2es_train.models.decision import Decision
from fv2es_train.predict.outputs import VideoPrediction, summarise
from fv2es_train.serve.api_errors import ApiError
from fv2es_train.serve.messages import EndState, Part, RewordTask, Task, Update, UtteranceResult
from fv2es_train.serve.settings import Limits

State = Literal["waiting", "running", "done", "failed", "stopped"]
PREVIEW = "preview.webm"
ENDED: tuple[str, ...] = get_args(EndState)
# Durations of the last jobs, from which the time to retry is estimated.
_LAST_JOBS, _FIRST_ESTIMATE_S, _MAX_RETRY_S = 8, 5.0, 60


@dataclass
class Job:
    """A task and its progress.

    Attributes:
        folder: directory of its upload; None without an upload.
        id: random and unguessable; who knows it may see the job.
        began: start in seconds of `time.monotonic`; ``ended`` is the end.
    """

    task: Task
    folder: Path | None = None
    id: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    state: State = "waiting"
    part: Part = ""
    utterances: list[UtteranceResult] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    previewed: bool = False
    error: Fv2esError | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    began: float = 0.0
    ended: float = 0.0

    def summary(self, decision: Decision) -> VideoPrediction:
        """The prediction for the part of the video that is already scored."""
        return summarise(self.task.video.name, self.utterances, decision, self.notes)

    @property
    def progress(self) -> float:
        """The finished share of the job, 0 to 1."""
        if self.state == "done":
            return 1.0
        if isinstance(self.task, RewordTask):
            return len(self.utterances) / max(len(self.task.utterances), 1)
        if not self.utterances or not self.task.video.length_s:
            return 0.0
        return min(self.utterances[-1].end_s / self.task.video.length_s, 1.0)


class Jobs:
    """All jobs; ``running`` is the number of running ones."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._changed = threading.Condition(threading.RLock())
        self._waiting: deque[Job] = deque()
        self._all: dict[str, Job] = {}
        self._reserved = self.running = 0
        self._took_s: deque[float] = deque(maxlen=_LAST_JOBS)

    @property
    def waiting(self) -> int:
        """Number of waiting jobs, including uploads that are being checked."""
        return len(self._waiting) + self._reserved

    def check_room(self) -> None:
        """Check that the queue has a free place.

        Raises:
            ApiError: the queue is full.
        """
        with self._changed:
            if self.waiting < self._limits.queue:
                return
            raise ApiError(
                429,
                f"the queue is full: {self.waiting} of {self._limits.queue} places are taken",
                "try again later",
                {"Retry-After": str(self._retry_s())},
            )

    @contextlib.contextmanager
    def reserve(self) -> Iterator[None]:
        """Reserve a place in the queue while an upload is checked; `add` the job in the block.

        Raises:
            ApiError: the queue is full.
        """
        with self._changed:
            self.check_room()
            self._reserved += 1
        try:
            yield
        finally:
            with self._changed:
                self._reserved -= 1

    def add(self, job: Job) -> Job:
        """Add a job to the queue; corrected text goes before videos, because it is quick."""
        with self._changed:
            self._all[job.id] = job
            if isinstance(job.task, RewordTask):
                self._waiting.appendleft(job)
            else:
                self._waiting.append(job)
            self._changed.notify()
        return job

    def next(self, timeout_s: float) -> Job | None:
        """Start the next job; None if none arrives within ``timeout_s``."""
        with self._changed:
            self._changed.wait_for(lambda: bool(self._waiting), timeout_s)
            if not self._waiting:
                return None
            job = self._waiting.popleft()
            job.state, job.began = "running", time.monotonic()
            self.running += 1
            return job

    def find(self, id_: str) -> Job:
        """Find a job by id.

        Raises:
            ApiError: the job does not exist or was removed.
        """
        self.sweep()
        with self._changed:
            job = self._all.get(id_)
        if job is None:
            kept = (
                f"send the video again; results are kept for {self._limits.keep_s / 60:g} minutes"
            )
            raise ApiError(404, "the job does not exist", kept)
        return job

    def position(self, job: Job) -> int:
        """Number of jobs before a waiting job; 0 for any other job."""
        with self._changed:
            return self._waiting.index(job) + self.running if job in self._waiting else 0

    def update(self, job: Job, update: Update) -> None:
        """Apply an update to a running job."""
        job.part = update.part or job.part
        job.previewed |= update.previewed
        job.error = update.error or job.error
        if update.note:
            job.notes.append(update.note)
        if update.utterance is not None:
            job.utterances.append(update.utterance)
        if update.end is not None:
            self._end(job, update.end)

    def remove(self, job: Job) -> None:
        """Stop a job and remove it with its files."""
        with self._changed:
            self._all.pop(job.id, None)
            job.stop.set()
            if job in self._waiting:
                self._waiting.remove(job)
                job.state = "stopped"
            if job.state in ENDED:
                _remove(job.folder)

    def sweep(self) -> None:
        """Remove expired results, and the oldest ones if there are too many."""
        limit = time.monotonic() - self._limits.keep_s
        with self._changed:
            ended = [job for job in self._all.values() if job.state in ENDED]
            ended.sort(key=lambda job: job.ended)
            too_many = len(ended) - self._limits.kept
            for place, job in enumerate(ended):
                if place < too_many or job.ended < limit:
                    self.remove(job)

    def expires_s(self, job: Job) -> float:
        """Seconds until the result is removed."""
        since = time.monotonic() - job.ended if job.state in ENDED else 0.0
        return max(self._limits.keep_s - since, 0.0)

    def _end(self, job: Job, state: EndState) -> None:
        with self._changed:
            if job.state in ENDED:
                return
            job.state, job.part, job.ended = state, "", time.monotonic()
            self.running -= 1
            self._took_s.append(job.ended - job.began)
            if job.id not in self._all:
                _remove(job.folder)
            elif job.folder is not None:
                # Of an upload, only the preview is still needed.
                for path in job.folder.iterdir():
                    if not (job.previewed and path.name == PREVIEW):
                        path.unlink(missing_ok=True)

    def _retry_s(self) -> int:
        return max(1, min(round(fmean(self._took_s or [_FIRST_ESTIMATE_S])), _MAX_RETRY_S))


def _remove(folder: Path | None) -> None:
    if folder is not None:
        shutil.rmtree(folder, ignore_errors=True)
