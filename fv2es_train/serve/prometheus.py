"""Metrics of the server in Prometheus format: counts and durations, nothing about videos."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client import generate_latest as latest

from fv2es_train.serve.messages import ScoreTask

if TYPE_CHECKING:
    from fv2es_train.serve.jobs import Job, Jobs

_BUCKETS_S = (0.1, 0.3, 1, 3, 10, 30, 100, 300, 1000, 3000)


class ServerMetrics:
    """The metrics of one server."""

    def __init__(self, jobs: Jobs) -> None:
        own = self._registry = CollectorRegistry()
        ProcessCollector(registry=own)
        self._ended = Counter("fv2es_jobs", "Ended jobs.", ["state"], registry=own)
        self._refused = Counter("fv2es_refusals", "Refused requests.", ["status"], registry=own)
        self._seconds = Histogram(
            "fv2es_job_seconds", "Run time of a video's job.", buckets=_BUCKETS_S, registry=own
        )
        self._video = Counter("fv2es_video_seconds", "Scored seconds of video.", registry=own)
        self._utterances = Counter("fv2es_utterances", "Scored utterances.", registry=own)
        self._restarts = Gauge("fv2es_worker_restarts", "Restarted workers.", registry=own)
        waiting = Gauge("fv2es_jobs_waiting", "Waiting jobs.", registry=own)
        waiting.set_function(lambda: jobs.waiting)
        running = Gauge("fv2es_jobs_running", "Running jobs.", registry=own)
        running.set_function(lambda: jobs.running)

    def count_job(self, job: Job) -> None:
        """Count a job that ended."""
        self._ended.labels(job.state).inc()
        if isinstance(job.task, ScoreTask):
            self._seconds.observe(job.ended - job.began)
            self._utterances.inc(len(job.utterances))
            self._video.inc(sum(one.duration_s for one in job.utterances))

    def count_refusal(self, status: int) -> None:
        """Count a refused request."""
        self._refused.labels(str(status)).inc()

    def text(self, restarts: int) -> bytes:
        """All metrics in Prometheus' text format."""
        self._restarts.set(restarts)
        return latest(self._registry)
