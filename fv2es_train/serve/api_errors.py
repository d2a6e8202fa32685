"""Errors of the API: an HTTP status, a sentence and a hint.

Owns the error, its JSON, and the handlers for everything that can go wrong.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request  # noqa: TC002  # FastAPI reads it
from starlette.responses import JSONResponse, Response

from fv2es_prep.errors import DropReason, Fv2esError, MediaError

if TYPE_CHECKING:
    from fastapi import FastAPI

_LOG = logging.getLogger("fv2es.serve")
_SEE = "see /openapi.json"
_UNKNOWN = {404: "unknown address", 405: "method not allowed at this address"}
_HINTS = {
    DropReason.TOO_LONG: "cut it into shorter videos",
    DropReason.TOO_MANY_PIXELS: "scale it down",
    DropReason.TIME_LIMIT: "convert it to MP4 and try again",
}


class ApiError(Fv2esError):
    """A request that is refused.

    Args:
        status: the HTTP status.
        sentence: what is wrong; it never names a path of the server.
        hint: how to correct it.
        headers: further headers of the response.
    """

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


def media_error(error: MediaError, known: bool) -> ApiError:
    """The refusal of a file that cannot be decoded or exceeds a limit.

    Args:
        error: the decoder's error.
        known: whether its first bytes are those of a supported container.
    """
    known = known or error.reason in _HINTS
    status = HTTPStatus.UNPROCESSABLE_ENTITY if known else HTTPStatus.UNSUPPORTED_MEDIA_TYPE
    hint = _HINTS.get(error.reason, "play the file to check it, or convert it to MP4")
    return ApiError(status, error.sentence, hint)


def handle_errors(app: FastAPI, count: Callable[[int], None]) -> None:
    """Respond to every error with a sentence and a hint, without paths or lines of code.

    Args:
        app: the application.
        count: called with the status of each refused request.
    """
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
        too_large = error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
        sentence = error.detail if too_large else "invalid request"
        sentence = _UNKNOWN.get(error.status_code, sentence)
        return respond(ApiError(error.status_code, sentence, _SEE, dict(error.headers or {})))

    @handler(RequestValidationError)
    async def malformed(_: Request, error: RequestValidationError) -> Response:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])[:80]
        return respond(ApiError(HTTPStatus.UNPROCESSABLE_ENTITY, f"{where}: {first['msg']}", _SEE))

    @handler(Exception)
    async def failed(_: Request, error: Exception) -> Response:
        # Starlette logs it with its traceback.
        status, sentence = 500, "internal error; see the server's log"
        if isinstance(error, OSError):
            status, sentence = 507, "the server cannot store the upload"
        return respond(ApiError(status, sentence, "tell the server's administrator"))
