"""Errors of the API: an HTTP status, a sentence and a hint, and their handlers."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request  # noqa: TC002  # FastAPI reads it
from starlette.responses import JSONResponse, Response

from fv2es_prep.errors import Fv2esError
from fv2es_train.serve.log_limit import LogLimit

if TYPE_CHECKING:
    from fastapi import FastAPI

# A client can cause any number of refusals; the metrics count each of them.
_LOG = logging.getLogger("fv2es.serve.refused")
_LOG.addFilter(LogLimit())
_SEE, _TELL = "see /openapi.json", "tell the administrator of the server"
_UNKNOWN = {404: "unknown address", 405: "method not allowed at this address"}

# Hints for the statuses that `bodies` raises.
_OF_BODIES = {
    408: "use a faster connection, or send a smaller file",
    413: "send less",
    429: "try again later",
}


class ApiError(Fv2esError):
    """A rejected request; the sentence never contains a path of the server."""

    def __init__(
        self, status: int, sentence: str, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(sentence, hint)
        self.status = int(status)
        self.headers = headers or {}

    def response(self) -> JSONResponse:
        """The response to the request."""
        body = {"error": {"sentence": self.sentence, "hint": self.hint}}
        return JSONResponse(body, self.status, headers=self.headers)


def handle_errors(app: FastAPI, count: Callable[[int], None]) -> None:
    """Answer every error with a sentence and a hint; call ``count`` with its status."""
    handler: Callable[[Any], Callable[[Any], Any]] = app.exception_handler

    def respond(error: ApiError) -> Response:
        count(error.status)
        return error.response()

    @handler(ApiError)
    async def refused(request: Request, error: ApiError) -> Response:
        _LOG.info("%s %d: %s", request.method, error.status, error.sentence)
        return respond(error)

    @handler(HTTPException)
    async def unknown(_: Request, error: HTTPException) -> Response:
        sentence = error.detail if error.status_code in _OF_BODIES else "invalid request"
        sentence = _UNKNOWN.get(error.status_code, sentence)
        hint = _OF_BODIES.get(error.status_code, _SEE)
        return respond(ApiError(error.status_code, sentence, hint, dict(error.headers or {})))

    @handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        return respond(ApiError(422, f"{where}: {first['msg']}", _SEE))

    @handler(OSError)
    async def full(_: Request, error: OSError) -> Response:
        _LOG.warning("cannot store an upload: %s", error.strerror or error)
        return respond(ApiError(507, "the server cannot store the upload", _TELL))

    @handler(Exception)
    async def failed(_: Request, __: Exception) -> Response:
        # A bug; Starlette logs it with its traceback.
        return respond(ApiError(500, "internal error; see the log of the server", _TELL))
