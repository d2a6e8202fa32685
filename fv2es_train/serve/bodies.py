"""The bodies of requests: their size, their progress, and the memory that they occupy."""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from fv2es_train.serve.room import Room
from fv2es_train.serve.settings import MIB, MIN_PROGRESS, STALLED_S, Limits

if TYPE_CHECKING:
    from starlette.types import Message, Receive


class Body:
    """The body of a request from ``address``: at most ``size`` bytes, with steady progress.

    Only received bytes take room, until `leave`, so slow bodies occupy little of it.
    """

    def __init__(
        self, receive: Receive, address: str, size: int, limits: Limits, room: Room
    ) -> None:
        self.address = address
        self._receive, self._size, self._limits, self._room = receive, size, limits, room
        self._count, self._next_mark, self._mark_s = 0, MIN_PROGRESS, monotonic()
        self._end_s = self._mark_s + limits.upload_s
        self._ended = False
        self._timeout: asyncio.Timeout | None = None

    async def receive(self) -> Message:
        """See the ASGI specification.

        Raises:
            HTTPException: the body is too large or too slow, or there are too many bodies.
        """
        if self._ended:
            return await self._receive()
        message = await self._within_time()
        self._ended = message["type"] != "http.request" or not message.get("more_body")
        count = len(message.get("body", b""))
        self._count += count
        if self._count > self._size:
            raise too_large(self._size)
        if self._count >= self._next_mark:
            self._next_mark, self._mark_s = self._count + MIN_PROGRESS, monotonic()
        if count and not self._room.take(self, count):
            sentence = "too many uploads at the same time"
            raise HTTPException(429, sentence, {"Retry-After": "10"})
        return message

    def leave(self) -> None:
        """Free its room once the request is answered."""
        self._ended = True
        self._room.leave(self)

    def stalled_s(self) -> float:
        """Seconds without progress; 0 while it makes progress, and once it is complete."""
        waited_s = monotonic() - self._mark_s
        return waited_s if waited_s > STALLED_S and not self._ended else 0.0

    def give_up(self) -> None:
        """Reject the body, because its room is needed."""
        self._end_s = 0.0
        if self._timeout is not None:
            self._timeout.reschedule(0.0)

    async def _within_time(self) -> Message:
        left_s = min(self._end_s, self._mark_s + self._limits.pause_s) - monotonic()
        try:
            if left_s <= 0:
                # Data that has already arrived never counts as late.
                raise TimeoutError
            async with asyncio.timeout(left_s) as self._timeout:
                return await self._receive()
        except TimeoutError:
            raise HTTPException(408, "the upload took too long") from None
        finally:
            self._timeout = None


def too_large(size: int) -> HTTPException:
    """Make the error for a body with more than ``size`` bytes."""
    return HTTPException(413, f"the body is larger than {size / MIB:g} MiB")
