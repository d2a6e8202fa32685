"""The HTTP API and the page: all endpoints."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from fastapi import APIRouter, FastAPI, Query
from fastapi import Path as InPath
from fastapi.responses import FileResponse, JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request  # noqa: TC002  # FastAPI reads it
from starlette.staticfiles import StaticFiles

from fv2es_prep import __version__
from fv2es_prep.utils.emotions import emotion_name
from fv2es_train.models.run_files import unpacked
from fv2es_train.predict import render
from fv2es_train.predict.outputs import NO_TEXT, run_json, video_json
from fv2es_train.serve.api_errors import ApiError, handle_errors
from fv2es_train.serve.api_schema import About, Error, Health, JobAnswer, Words, job_answer
from fv2es_train.serve.form import FIELDS, job_of, receive_form
from fv2es_train.serve.jobs import PREVIEW, Job, Jobs
from fv2es_train.serve.messages import RewordTask
from fv2es_train.serve.prometheus import ServerMetrics
from fv2es_train.serve.run_card import read_card
from fv2es_train.serve.sample import Sample
from fv2es_train.serve.settings import ServeConfig
from fv2es_train.serve.worker_pool import WorkerPool

_LOG = logging.getLogger("fv2es.serve")
_PAGE = Path(__file__).parent / "page"
Id = Annotated[str, InPath(description="Id from `POST /v1/predict`.", max_length=64)]
After = Annotated[int, Query(ge=0, description="Number of utterances to skip.")]
Form = Literal["json", "csv", "srt"]
_TEXT_TYPES = {"csv": "text/csv; charset=utf-8", "srt": "application/x-subrip; charset=utf-8"}


class Api:
    """The endpoints of one server; ``workspace`` is the private directory of uploads."""

    def __init__(
        self,
        config: ServeConfig,
        jobs: Jobs,
        pool: WorkerPool,
        metrics: ServerMetrics,
        workspace: Path,
    ) -> None:
        self._config, self._jobs, self._pool = config, jobs, pool
        self._metrics, self._workspace = metrics, workspace
        self._run = config.run.resolve().name
        self._card, self._sample = read_card(unpacked(config.run)), Sample(workspace)

    def app(self) -> FastAPI:
        """The application: routes, error handlers and the files of the page."""
        # No documentation pages, because they load scripts from other sites.
        app = FastAPI(
            title="fv2es",
            version=__version__,
            description="The emotions of videos, utterance by utterance.",
            docs_url=None,
            redoc_url=None,
        )
        app.get("/", include_in_schema=False)(_page)
        app.get("/healthz", response_model=Health)(self.health)
        app.get("/metrics", response_class=Response)(self.metrics)
        refused: dict[int | str, dict[str, Any]] = {
            "4XX": {"model": Error, "description": "Why it is refused, and how to correct it."}
        }
        v1 = APIRouter(prefix="/v1", responses=refused)
        v1.get("/about")(self.about)
        v1.post("/predict", status_code=202, openapi_extra=_form_description())(self.predict)
        v1.post("/sample", status_code=202)(self.sample)
        v1.get("/jobs/{id_}")(self.job)
        v1.delete("/jobs/{id_}", status_code=204)(self.remove)
        v1.post("/jobs/{id_}/words", status_code=202)(self.reword)
        v1.get("/jobs/{id_}/result.{form}", response_class=Response)(self.result)
        v1.get("/jobs/{id_}/preview.webm", response_class=FileResponse)(self.preview)
        app.include_router(v1)
        app.mount("/page", StaticFiles(directory=_PAGE))
        handle_errors(app, self._metrics.count_refusal)
        return app

    def health(self) -> JSONResponse:
        """Whether jobs are being run; needs no token."""
        up = self._pool.up
        return JSONResponse({"status": "ok" if up else "loading"}, 200 if up else 503)

    def metrics(self) -> Response:
        """Metrics in Prometheus' text format."""
        text = self._metrics.text(self._pool.restarts)
        return Response(text, media_type="text/plain; version=0.0.4")

    def about(self) -> About:
        """The server, its model and its limits."""
        model = self._pool.model
        own = {
            "version": __version__,
            "run": self._run,
            "rule": model.decision.rule,
            "thresholds": model.decision.thresholds,
            "names": {name: emotion_name(name) for name in model.classes},
            "trained_on": self._card.trained_on,
            "not_for": self._card.not_for,
            "card": asdict(self._card),
            "ready": self._pool.up,
            "limits": vars(self._config.limits),
        }
        return About.model_validate({**vars(model), **own})

    async def predict(self, request: Request, response: Response) -> JobAnswer:
        """Upload a video and add a job to the queue."""
        self._check_ready()
        limits, pictures_hz = self._config.limits, self._pool.model.pictures_hz
        form = await receive_form(request, limits)
        try:
            # Only a complete upload takes a place in the queue.
            with self._jobs.reserve():
                job = await run_in_threadpool(job_of, form, self._workspace, limits, pictures_hz)
                self._jobs.add(job)
        finally:
            await form.close()
        _LOG.info("job %s waits", job.id[:6])
        return self._accepted(job, response)

    def sample(self, response: Response) -> JobAnswer:
        """Add a job for a short film that the server generates, to try it without a video."""
        self._check_ready()
        with self._jobs.reserve():
            job = self._sample.job(self._config.limits, self._pool.model.pictures_hz)
            self._jobs.add(job)
        _LOG.info("job %s waits", job.id[:6])
        return self._accepted(job, response)

    def job(self, id_: Id, after: After = 0) -> JobAnswer:
        """A job and its results so far."""
        return self._answer(self._jobs.find(id_), after)

    def remove(self, id_: Id) -> Response:
        """Stop a job, and remove its results and files."""
        self._jobs.remove(self._jobs.find(id_))
        return Response(status_code=204)

    def reword(self, id_: Id, words: Words, response: Response) -> JobAnswer:
        """Score the utterances of a job again with other text, without decoding."""
        job = self._done(id_)
        known = {one.id for one in job.utterances}
        unknown = next((name for name in words.words if name not in known), None)
        if unknown is not None:
            raise ApiError(
                422, f"the job has no utterance {unknown[:40]!r}", "send ids of its utterances"
            )
        task = RewordTask(job.task.video, tuple(job.utterances), words.words)
        with self._jobs.reserve():
            # Missing video and audio stay missing; the text may be known now.
            notes = [note for note in job.notes if not note.startswith(NO_TEXT)]
            added = self._jobs.add(Job(task, notes=notes))
        return self._accepted(added, response)

    def result(self, id_: Id, form: Form) -> Response:
        """The output of `fv2es predict` with --json, --csv or --srt."""
        job = self._done(id_)
        model = self._pool.model
        if form == "json":
            video = video_json(job.summary(model.decision), job.utterances)
            answer = run_json(self._run, model.classes, model.ratings, [video])
            return Response(json.dumps(answer, ensure_ascii=False), media_type="application/json")
        named = model.classes, model.ratings
        lines = render.lines(form, job.task.video.name, job.utterances, *named)
        head = f"{render.csv_head(*named)}\n" if form == "csv" else ""
        return Response(head + "".join(f"{line}\n" for line in lines), media_type=_TEXT_TYPES[form])

    def preview(self, id_: Id) -> FileResponse:
        """A small video that every browser plays, if it was requested."""
        job = self._jobs.find(id_)
        if not job.previewed or job.folder is None:
            raise ApiError(404, "the job has no preview", "send preview=true with the video")
        return FileResponse(job.folder / PREVIEW, media_type="video/webm")

    def _check_ready(self) -> None:
        if not self._pool.up:
            raise ApiError(503, "the model is loading", "try again", {"Retry-After": "10"})
        self._jobs.check_room()

    def _done(self, id_: str) -> Job:
        job = self._jobs.find(id_)
        if job.state != "done":
            raise ApiError(409, f"the job is {job.state}", "try again when its state is `done`")
        return job

    def _answer(self, job: Job, after: int = 0) -> JobAnswer:
        return job_answer(job, self._jobs, self._pool.model.decision, after)

    def _accepted(self, job: Job, response: Response) -> JobAnswer:
        response.headers["Location"] = f"/v1/jobs/{job.id}"
        return self._answer(job)


def _page() -> FileResponse:
    return FileResponse(_PAGE / "index.html", media_type="text/html; charset=utf-8")


def _form_description() -> dict[str, Any]:
    """The description of the form, which `form` reads with limits that FastAPI lacks."""
    fields: dict[str, Any] = {
        name: {"type": "string", "description": text} for name, text in FIELDS.items()
    }
    fields["video"]["format"] = "binary"
    content = {"schema": {"type": "object", "required": ["video"], "properties": fields}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}
