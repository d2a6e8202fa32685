"""Connections: their number, and the time limits to send a request and to receive an answer.

uvicorn does the rest. Its own `limit_concurrency` rejects every request while too many connections
are open, so idle ones would lock everybody out.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import Any, ClassVar

from uvicorn.protocols.http.h11_impl import H11Protocol

from fv2es_train.serve.room import Room, network
from fv2es_train.serve.settings import MIN_PROGRESS, STALLED_S, Limits


class LimitedConnection(H11Protocol):
    """An HTTP connection that is closed if its client keeps it waiting."""

    limits: ClassVar[Limits]
    room: ClassVar[Room]

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.address, self._got, self._mark_s = "", 0, monotonic()
        self._no_request: asyncio.TimerHandle | None = None
        self._not_taken: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """See `asyncio.Protocol`."""
        super().connection_made(transport)
        self.address = network(self.client)
        self._await_request()
        if not self.room.take(self):
            transport.abort()

    def data_received(self, data: bytes) -> None:
        """See `asyncio.Protocol`."""
        self._got += len(data)
        if self._got >= MIN_PROGRESS:
            self._got, self._mark_s = 0, monotonic()
        super().data_received(data)
        if self._answering:
            _stop(self._no_request)

    def on_response_complete(self) -> None:
        """Wait for the next request of the connection, which may already be there."""
        super().on_response_complete()
        if not self._answering:
            self._await_request()

    def pause_writing(self) -> None:
        """See `asyncio.Protocol`: the client is slower than the answer."""
        super().pause_writing()
        self._not_taken = self.loop.call_later(self.limits.pause_s, self.give_up)

    def resume_writing(self) -> None:
        """See `asyncio.Protocol`."""
        super().resume_writing()
        _stop(self._not_taken)

    def connection_lost(self, exc: Exception | None) -> None:
        """See `asyncio.Protocol`."""
        self.room.leave(self)
        _stop(self._no_request)
        _stop(self._not_taken)
        super().connection_lost(exc)

    def stalled_s(self) -> float:
        """Seconds without a request or without progress of its body; 0 during an answer."""
        waited_s = monotonic() - self._mark_s
        if not self._answering:
            return waited_s
        return waited_s if self.cycle.more_body and waited_s > STALLED_S else 0.0

    def give_up(self) -> None:
        """Close the connection at once; discard what the client has not received."""
        self.transport.abort()

    @property
    def _answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _await_request(self) -> None:
        self._got, self._mark_s = 0, monotonic()
        _stop(self._no_request)
        self._no_request = self.loop.call_later(self.limits.header_s, self.give_up)


def _stop(timer: asyncio.TimerHandle | None) -> None:
    if timer is not None:
        timer.cancel()


def connections_within(limits: Limits) -> type[LimitedConnection]:
    """Make the connection class of one server, for `uvicorn.Config`."""
    room = Room(limits.connections, limits.connections_per_address)
    return type("Connection", (LimitedConnection,), {"limits": limits, "room": room})
