"""Access to the server: host names, origins, the token, and security headers."""

from __future__ import annotations

import hmac
import re
import socket
from typing import TYPE_CHECKING

from starlette.datastructures import Headers, MutableHeaders

from fv2es_train.serve.api_errors import ApiError
from fv2es_train.serve.bodies import Body, too_large
from fv2es_train.serve.room import Room, network, plain_ip
from fv2es_train.serve.settings import ServeConfig

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
# Served without a token, because they reveal nothing about any video.
_FREE, _FREE_UNDER = ("/", "/healthz", "/favicon.ico"), "/page/"
# The only endpoint with bodies larger than text.
UPLOAD = "/v1/predict"
_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9_-][a-z0-9._-]*)(?::\d{1,5})?")


class AccessControl:
    """ASGI middleware that rejects unauthorized requests and adds the headers."""

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self._app, self._token, self._limits = app, config.token, config.limits
        self._given = {name.lower() for name in config.names}
        self._names = {*_LOOPBACK, config.host.lower(), *self._given}
        if config.is_public:
            self._names.add(socket.gethostname().lower())
        whole = config.limits.upload_bytes
        self._room = Room(whole * config.limits.uploads, whole * config.limits.uploads_per_address)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See the ASGI specification."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        size = self._limits.upload_bytes if scope["path"] == UPLOAD else self._limits.text_bytes
        body = Body(receive, network(scope.get("client")), size, self._limits, self._room)

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                _add_headers(MutableHeaders(scope=message), scope["path"])
            await send(message)

        app = self._app
        try:
            self._check(scope, size)
        except ApiError as error:
            # The body stays unread; the connection discards the rest of it.
            app = error.response()
        try:
            await app(scope, body.receive, send_with_headers)
        finally:
            body.leave()

    def _check(self, scope: Scope, size: int) -> None:
        """Check the headers of a request before its body is read."""
        headers, path = Headers(scope=scope), scope["path"]
        self._check_host(headers, scope.get("server"))
        if path in _FREE or path.startswith(_FREE_UNDER):
            return
        if headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise _foreign()
        self._check_token(headers)
        declared = headers.get("content-length", "0")
        if declared.isdecimal() and int(declared) > size:
            raise ApiError(413, too_large(size).detail, "send less")

    def _check_host(self, headers: Headers, local: tuple[str, int] | None) -> None:
        """Check that the request uses a name of this server, and comes from no other site."""
        host = headers.get("host", "").lower()
        name = _name_of(host)
        # A page of another site reaches this machine by a name that it owns, not by an IP address.
        addresses = {plain_ip(local[0])} if local else set()
        if not name or name not in self._names | addresses:
            raise ApiError(
                403,
                f"unknown host name {host[:80]!r}",
                "ask the administrator of the server to add the name with --name",
            )
        for origin in headers.getlist("origin"):
            place = origin.lower().partition("://")[2]
            if place != host and _name_of(place) not in self._given:
                raise _foreign()

    def _check_token(self, headers: Headers) -> None:
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


def _add_headers(headers: MutableHeaders, path: str) -> None:
    headers.update(_HEADERS)
    # The files of the page may change with the next version; everything else is private.
    headers.setdefault("Cache-Control", "no-cache" if path.startswith("/page/") else "no-store")


def _foreign() -> ApiError:
    return ApiError(403, "request from another site", "open the server's own page")


def _name_of(host: str) -> str:
    """The name or address of a host with or without a port; empty if it is malformed."""
    found = _HOST.fullmatch(host)
    return plain_ip(found[1].strip("[]")) if found else ""
