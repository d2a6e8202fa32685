"""What each address of the HTTP API does.

Owns the answers. Leaves their addresses and description to `app`, who may ask to `guard`, uploads
to `upload` and `asking`, forms of answers to `schema`.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import Path as InPath
from fastapi import Query
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request  # noqa: TC002  # FastAPI reads it

from fv2es_prep import __version__
from fv2es_train.predict import render
from fv2es_train.predict.outputs import NO_TEXT, video_json
from fv2es_train.serve.api_errors import NOT_DONE, NOT_FOUND, NOT_READY, UNUSABLE, RefusedError
from fv2es_train.serve.api_schema import Words, job_json
from fv2es_train.serve.form import job_of
from fv2es_train.serve.jobs import PREVIEW, Job, Jobs
from fv2es_train.serve.messages import Reword
from fv2es_train.serve.prometheus import Measures
from fv2es_train.serve.settings import ServeOptions
from fv2es_train.serve.upload import receive_form
from fv2es_train.serve.worker_pool import Pool

_LOG = logging.getLogger("fv2es.serve")
Id = Annotated[str, InPath(description="As `POST /v1/predict` gave it.", max_length=64)]
After = Annotated[int, Query(ge=0, description="Leave out the utterances before this one.")]
Form = Literal["json", "csv", "srt"]
_KINDS = {"json": "application/json", "csv": "text/csv", "srt": "application/x-subrip"}


class Api:
    """The answers of one server.

    Args:
        options: the server's.
        jobs: its jobs.
        pool: what works on them.
        measures: what is counted.
        place: the private folder for uploads.
    """

    def __init__(
        self, options: ServeOptions, jobs: Jobs, pool: Pool, measures: Measures, place: Path
    ) -> None:
        self._options, self._jobs, self._pool = options, jobs, pool
        self._measures, self._place = measures, place
        self._run = options.run.resolve().name

    def health(self) -> JSONResponse:
        """Whether a job would be worked on; asked without a token."""
        up = self._pool.up
        return JSONResponse({"status": "ok" if up else "loading"}, 200 if up else NOT_READY)

    def metrics(self) -> Response:
        """Figures in Prometheus' text format."""
        return Response(self._measures.text(self._pool), media_type="text/plain; version=0.0.4")

    def about(self) -> dict[str, Any]:
        """The server, its model and its limits."""
        ready, limits = self._pool.ready, vars(self._options.limits)
        return {
            **vars(ready),
            "version": __version__,
            "run": self._run,
            "ready": self._pool.up,
            "limits": limits,
        }

    async def predict(self, request: Request) -> JSONResponse:
        """Take a video, and put it into the queue."""
        limits = self._options.limits
        if not self._pool.up:
            raise RefusedError(
                NOT_READY, "the model is being loaded", "try again", {"Retry-After": "10"}
            )
        with self._jobs.place():
            form = await receive_form(request, limits)
            try:
                job = await run_in_threadpool(
                    job_of, form, self._place, limits, self._pool.ready.pictures_hz
                )
            finally:
                await form.close()
            self._jobs.add(job)
        _LOG.info("job %s waits", job.id[:6])
        return self._accepted(job)

    def job(self, id_: Id, after: After = 0) -> dict[str, Any]:
        """A job as far as it is done."""
        return job_json(self._jobs.find(id_), self._jobs, self._pool.ready.thresholds, after)

    def forget(self, id_: Id) -> Response:
        """Stop a job, and forget everything of it."""
        self._jobs.forget(self._jobs.find(id_))
        return Response(status_code=204)

    def words(self, id_: Id, words: Words) -> JSONResponse:
        """Score a job's utterances again with other words; nothing is decoded again."""
        job = self._done(id_)
        known = {told.prediction.id for told in job.told}
        unknown = next((name for name in words.words if name not in known), None)
        if unknown is not None:
            raise RefusedError(
                UNUSABLE, f"the job has no utterance {unknown[:40]!r}", "send ids of its utterances"
            )
        task = job.task
        again = Reword(task.name, tuple(job.told), words.words, task.length_s, task.size)
        with self._jobs.place():
            # What the video lacks it lacks still; that its words were not known may be over.
            notes = [note for note in job.notes if not note.startswith(NO_TEXT)]
            added = self._jobs.add(Job(again, notes=notes))
        return self._accepted(added)

    def result(self, id_: Id, form: Form) -> Response:
        """What `fv2es predict` prints with --json, --csv or --srt."""
        job = self._done(id_)
        ready = self._pool.ready
        if form == "json":
            video = video_json(job.summary(ready.thresholds), job.found)
            answer = {"run": self._run, "classes": list(ready.classes), "videos": [video]}
            return Response(json.dumps(answer, ensure_ascii=False), media_type=_KINDS[form])
        lines = _csv(job, ready.classes) if form == "csv" else render.srt_blocks(job.found)
        return Response("".join(lines), media_type=f"{_KINDS[form]}; charset=utf-8")

    def preview(self, id_: Id) -> FileResponse:
        """A small film of the video that every browser plays, where it was asked for."""
        job = self._jobs.find(id_)
        if not job.previewed or job.folder is None:
            raise RefusedError(
                NOT_FOUND, "the job has no preview", "send preview=true with the video"
            )
        return FileResponse(job.folder / PREVIEW, media_type="video/webm")

    def _done(self, id_: str) -> Job:
        job = self._jobs.find(id_)
        if job.state != "done":
            raise RefusedError(
                NOT_DONE, f"the job is {job.state}", "ask again when its state is done"
            )
        return job

    def _accepted(self, job: Job) -> JSONResponse:
        answer = job_json(job, self._jobs, self._pool.ready.thresholds)
        return JSONResponse(answer, 202, headers={"Location": f"/v1/jobs/{job.id}"})


def _csv(job: Job, classes: Sequence[str]) -> Iterator[str]:
    yield f"{render.csv_head(classes)}\n"
    for one in job.found:
        yield f"{render.csv_row(job.task.name, one, classes)}\n"
