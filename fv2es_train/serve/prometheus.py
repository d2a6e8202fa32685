"""What a server counts, in the form that Prometheus reads.

Owns the names of the figures. They tell of numbers and times, never of a video.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client import generate_latest as latest

from fv2es_train.serve.messages import Score

if TYPE_CHECKING:
    from fv2es_train.serve.jobs import Job, Jobs
    from fv2es_train.serve.worker_pool import Pool

_SECONDS = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class Measures:
    """The figures of one server.

    Args:
        jobs: how many wait and work is asked of them.
    """

    def __init__(self, jobs: Jobs) -> None:
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        own = self._registry
        self._ended = Counter("fv2es_jobs", "Jobs that ended.", ["state"], registry=own)
        self._refused = Counter("fv2es_refusals", "Requests refused.", ["status"], registry=own)
        self._seconds = Histogram(
            "fv2es_job_seconds", "Work on a video.", buckets=_SECONDS, registry=own
        )
        self._video = Counter("fv2es_video_seconds", "Length of what was scored.", registry=own)
        self._utterances = Counter("fv2es_utterances", "Utterances scored.", registry=own)
        self._restarts = Gauge("fv2es_worker_restarts", "Workers started again.", registry=own)
        waiting = Gauge("fv2es_jobs_waiting", "Jobs that wait.", registry=own)
        waiting.set_function(lambda: jobs.waiting)
        running = Gauge("fv2es_jobs_running", "Jobs at work.", registry=own)
        running.set_function(lambda: jobs.running)

    def ended(self, job: Job) -> None:
        """Count a job that ended."""
        self._ended.labels(job.state).inc()
        if not isinstance(job.task, Score):
            return
        self._seconds.observe(job.ended - job.began)
        self._utterances.inc(len(job.told))
        spans = (one.prediction for one in job.told)
        self._video.inc(sum(one.end_s - one.start_s for one in spans))

    def refused(self, status: int) -> None:
        """Count a refused request."""
        self._refused.labels(str(status)).inc()

    def text(self, pool: Pool) -> bytes:
        """All figures, in Prometheus' text format."""
        self._restarts.set(pool.restarts)
        return latest(self._registry)
