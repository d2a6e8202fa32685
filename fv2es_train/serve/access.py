"""Access to the server: the token, host names, the size of bodies, and security headers."""

from __future__ import annotations

import asyncio
import contextlib
import hmac
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException

from fv2es_train.serve.api_errors import ApiError
from fv2es_train.serve.settings import MIB, ServeConfig

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

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
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
# Served without a token: they contain nothing of any video.
_FREE, _FREE_UNDER = ("/", "/healthz", "/favicon.ico"), "/page/"
# The only address with bodies larger than text.
UPLOAD = "/v1/predict"
_DRAIN_S, _DRAIN_BYTES = 10.0, 64 * MIB


class AccessControl:
    """An ASGI layer that refuses unauthorised requests and adds the headers."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app, self._token, self._limits = app, config.token, config.limits
        # The names of a public server are unknown unless they are given.
        known = not config.is_public or bool(config.names)
        self._names = {*_LOOPBACK, config.host, *config.names} if known else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limits.upload_bytes if scope["path"] == UPLOAD else self._limits.text_bytes
        body = _Body(receive, limit)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope["path"])
                if message["status"] >= 400:
                    await body.drain()
            await send(message)

        app = self._app
        try:
            self._check(scope, limit)
        except ApiError as error:
            app = error.response()
        await app(scope, body.receive, send_with_headers)

    def _check(self, scope: Scope, limit: int) -> None:
        headers, path = Headers(scope=scope), scope["path"]
        name = _without_port(headers.get("host", ""))
        if self._names is not None and name not in self._names:
            raise ApiError(
                403,
                f"unknown host name {name[:80]!r}",
                "the server's administrator can add the name with --name",
            )
        if path in _FREE or path.startswith(_FREE_UNDER):
            return
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise ApiError(403, "request from another site", "open the server's own page")
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > limit:
            sentence = _too_large(limit)
            raise ApiError(413, sentence, "send less")
        if self._token is None:
            return
        kind, _, value = headers.get("authorization", "").partition(" ")
        same = hmac.compare_digest(value.strip().encode(), self._token.encode())
        if kind.lower() != "bearer" or not same:
            raise ApiError(
                401,
                "this server requires a token",
                "send the header `Authorization: Bearer TOKEN`",
                {"WWW-Authenticate": "Bearer"},
            )


class _Body:
    """The body of a request, at most ``limit`` bytes; knows whether it was read to its end."""

    def __init__(self, receive: Receive, limit: int) -> None:
        self._receive, self._limit, self._left = receive, limit, limit
        self._ended = False

    async def receive(self) -> Message:
        """See the ASGI specification.

        Raises:
            HTTPException: the body is too large; the framework converts any other error.
        """
        message = await self._next()
        self._left -= len(message.get("body", b""))
        if self._left < 0:
            raise HTTPException(413, _too_large(self._limit))
        return message

    async def drain(self) -> None:
        """Read the rest of a refused request: a sending client would see a broken connection."""
        left = _DRAIN_BYTES
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_DRAIN_S):
                while left > 0 and not self._ended:
                    left -= len((await self._next()).get("body", b""))

    async def _next(self) -> Message:
        message = await self._receive()
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        return message


def _too_large(limit: int) -> str:
    return f"the body is larger than {limit / MIB:g} MiB"


def _add_headers(headers: MutableHeaders, path: str) -> None:
    headers.update(_HEADERS)
    # The page's files may change with the next version; everything else is private.
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/page/") else "no-store")


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.partition(":")[0].lower()
