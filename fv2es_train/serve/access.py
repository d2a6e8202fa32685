"""Who may ask, and what every answer carries: an ASGI layer around the application.

Owns the token, the names under which the server may be asked, the size of a body, and the headers
that keep a page from loading or sending anything elsewhere. Leaves the pace of uploads to `upload`.
"""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from typing import TYPE_CHECKING, Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

from fv2es_train.serve.api_errors import (
    BAD_REQUEST,
    FORBIDDEN,
    TOO_LARGE,
    UNAUTHORIZED,
    RefusedError,
    error_json,
)
from fv2es_train.serve.settings import MIB

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from fv2es_train.serve.settings import ServeOptions

_PAGE_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'; "
    "frame-ancestors 'none'"
)
_HEADERS = {
    "Content-Security-Policy": _PAGE_POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(self), microphone=(self), geolocation=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}
_OWN = ("localhost", "127.0.0.1", "::1")
# They tell nothing of anybody's videos.
_FREE = ("/", "/healthz", "/favicon.ico")
_FREE_UNDER = "/page/"
# The one address that takes more than words.
UPLOAD = "/v1/predict"
_DRAIN_S, _DRAIN_BYTES = 10.0, 64 * MIB


class Guard:
    """Refuses who may not ask, and adds the headers.

    Args:
        app: the application.
        options: the server's.
    """

    def __init__(self, app: ASGIApp, options: ServeOptions) -> None:
        self._app, self._token, self._limits = app, options.token, options.limits
        # A server that others can reach has names that we cannot know.
        known = not options.open_to_others or bool(options.names)
        self._names = {*_OWN, options.host, *options.names} if known else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        most = self._limits.upload_bytes if scope["path"] == UPLOAD else self._limits.text_bytes
        body = _Body(receive, most)

        async def with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope["path"])
                if message["status"] >= BAD_REQUEST:
                    await body.drain()
            await send(message)

        try:
            self._check(scope, most)
        except RefusedError as refusal:
            await refused_response(refusal)(scope, body.receive, with_headers)
            return
        await self._app(scope, body.receive, with_headers)

    def _check(self, scope: Scope, most: int) -> None:
        headers = Headers(scope=scope)
        name = _without_port(headers.get("host", ""))
        if self._names is not None and name not in self._names:
            raise RefusedError(
                FORBIDDEN,
                f"this server is not asked under the name {name[:80]!r}",
                "whoever runs it can admit the name with --name",
            )
        path = scope["path"]
        if path in _FREE or path.startswith(_FREE_UNDER):
            return
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise RefusedError(FORBIDDEN, "another site asked", "open the server's own page")
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > most:
            raise RefusedError(TOO_LARGE, too_large(most), "send less")
        if self._token is None:
            return
        kind, _, value = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(value.strip().encode(), self._token.encode())
        if kind.lower() != "bearer" or not right:
            raise RefusedError(
                UNAUTHORIZED,
                "this server wants a token",
                "send the header `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": "Bearer"},
            )


class _Body:
    """The body of a request, of which it is known whether it was read to its end.

    Args:
        receive: what gives it.
        most: bytes that are read of it.
    """

    def __init__(self, receive: Receive, most: int) -> None:
        self._receive, self._most, self._left = receive, most, most
        self._ended = False

    async def receive(self) -> Message:
        """See the ASGI specification.

        Raises:
            HTTPException: it is too long; the framework lets no other error through.
        """
        message = await self._receive()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(TOO_LARGE, too_large(self._most))
        self._ended = _is_last(message)
        return message

    async def drain(self) -> None:
        """Read what is left of a refused request, within bounds.

        A client that is still sending when the answer comes would meet a broken connection, and
        would not see why.
        """
        left = _DRAIN_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while left > 0 and not self._ended:
                    message = await self._receive()
                    left -= len(message.get("body", b""))
                    self._ended = _is_last(message)


def too_large(most: int) -> str:
    """The sentence for a body of more than so many bytes."""
    return f"the body is larger than {most / MIB:g} MiB"


def _is_last(message: Message) -> bool:
    return message["type"] != "http.request" or not message.get("more_body")


def refused_response(refusal: RefusedError) -> JSONResponse:
    """The answer to a refused request."""
    return JSONResponse(
        error_json(refusal.sentence, refusal.hint), refusal.status, headers=refusal.headers
    )


def _add_headers(headers: Any, path: str) -> None:
    for name, value in _HEADERS.items():
        headers[name] = value
    # The page's files may change with the next version; everything else is somebody's.
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/page/") else "no-store")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
