"""The application: addresses, the page's files, and one form for whatever goes wrong.

Owns the routes and their description. Leaves what they do to `api`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request  # noqa: TC002  # FastAPI reads it
from starlette.responses import FileResponse, JSONResponse, Response
from starlette.staticfiles import StaticFiles

from fv2es_prep import __version__
from fv2es_train.serve import api_schema
from fv2es_train.serve.access import Guard
from fv2es_train.serve.api import Api
from fv2es_train.serve.api_errors import TOO_LARGE, RefusedError, error_json
from fv2es_train.serve.form import FIELDS
from fv2es_train.serve.prometheus import Measures
from fv2es_train.serve.settings import ServeOptions

_LOG = logging.getLogger("fv2es.serve")
_PAGE = Path(__file__).parent / "page"
_UNKNOWN = {
    404: "there is nothing at this address",
    405: "this address is not asked that way",
}
_REFUSED: dict[int | str, dict[str, Any]] = {
    "4XX": {"model": api_schema.Error, "description": "Why it is not served, and what to do."}
}


def make_app(api: Api, options: ServeOptions, measures: Measures) -> Guard:
    """The application, with the guard around it.

    Args:
        api: what the addresses do.
        options: the server's.
        measures: refusals are counted in.
    """
    # No documentation pages: they load scripts from elsewhere.
    app = FastAPI(
        title="fv2es",
        version=__version__,
        description="The emotions of videos, utterance by utterance.",
        docs_url=None,
        redoc_url=None,
    )
    app.include_router(_routes(api))
    app.mount("/page", StaticFiles(directory=_PAGE))
    _tell_errors(app, measures)
    return Guard(app, options)


def _routes(api: Api) -> APIRouter:
    routes = APIRouter()
    routes.get("/", include_in_schema=False)(_page)
    routes.get("/healthz", response_model=api_schema.Health)(api.health)
    routes.get("/metrics", response_class=Response)(api.metrics)
    v1 = APIRouter(prefix="/v1", responses=_REFUSED)
    v1.get("/about", response_model=api_schema.About)(api.about)
    accepted: dict[str, Any] = {"response_model": api_schema.JobAnswer, "status_code": 202}
    v1.post("/predict", openapi_extra=_form(), **accepted)(api.predict)
    v1.get("/jobs/{id_}", response_model=api_schema.JobAnswer)(api.job)
    v1.delete("/jobs/{id_}", status_code=204)(api.forget)
    v1.post("/jobs/{id_}/words", **accepted)(api.words)
    v1.get("/jobs/{id_}/result.{form}", response_class=Response)(api.result)
    v1.get("/jobs/{id_}/preview.webm", response_class=FileResponse)(api.preview)
    routes.include_router(v1)
    return routes


def _page() -> FileResponse:
    return FileResponse(_PAGE / "index.html", media_type="text/html; charset=utf-8")


def _form() -> dict[str, Any]:
    """The description of the form, which is read by hand so that it can be limited."""
    fields: dict[str, Any] = {
        name: {"type": "string", "description": text} for name, text in FIELDS.items()
    }
    fields["video"]["format"] = "binary"
    content = {"schema": {"type": "object", "required": ["video"], "properties": fields}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": content}}}


def _tell_errors(app: FastAPI, measures: Measures) -> None:
    """Every error is one sentence and a hint; none tells a path or a line of the code."""
    handle: Callable[[Any], Callable[[Any], Any]] = app.exception_handler

    def tell(status: int, sentence: str, hint: str, headers: Any = None) -> JSONResponse:
        measures.refused(status)
        return JSONResponse(error_json(sentence, hint), status, headers=headers)

    @handle(RefusedError)
    async def refused(request: Request, error: RefusedError) -> Response:
        _LOG.info("%s %d: %s", request.method, error.status, error.sentence)
        return tell(error.status, error.sentence, error.hint, error.headers)

    @handle(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        own = error.detail if error.status_code == TOO_LARGE else "the request cannot be served"
        sentence = _UNKNOWN.get(error.status_code, own)
        return tell(error.status_code, sentence, "see /openapi.json", error.headers)

    @handle(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        return tell(422, f"{where}: {first['msg']}", "see /openapi.json")

    @handle(Exception)
    async def mistaken(_: Request, error: Exception) -> Response:
        # Starlette logs it with its traceback.
        if isinstance(error, OSError):
            return tell(507, "the server cannot store the upload", "tell who runs it")
        return tell(500, "the server made a mistake; its log tells which", "tell who runs it")
