"""Why a request is refused: an HTTP status, a sentence and a hint.

Owns the error and its JSON. Leaves who refuses what to the others.
"""

from __future__ import annotations

from typing import Any

from fv2es_prep.errors import DropReason, Fv2esError, MediaError

BAD_REQUEST, UNAUTHORIZED, FORBIDDEN, NOT_FOUND = 400, 401, 403, 404
TOO_SLOW, NOT_DONE, TOO_LARGE, NO_MEDIA, UNUSABLE = 408, 409, 413, 415, 422
QUEUE_FULL, NOT_READY = 429, 503
NEVER_FOUND = "there is no such job"


class RefusedError(Fv2esError):
    """A request that is not served.

    Args:
        status: the HTTP status.
        sentence: what is wrong; it never names a path of the server.
        hint: what to do about it.
        headers: sent along.
    """

    def __init__(
        self, status: int, sentence: str, hint: str = "", headers: dict[str, str] | None = None
    ) -> None:
        super().__init__(sentence, hint)
        self.status = status
        self.headers = headers or {}


def error_json(sentence: str, hint: str = "") -> dict[str, Any]:
    """The body of every answer that is an error."""
    return {"error": {"sentence": sentence, "hint": hint}}


_HINTS = {
    DropReason.TOO_LONG: "cut it into shorter videos",
    DropReason.TOO_MANY_PIXELS: "scale it down",
    DropReason.TIME_LIMIT: "convert it to MP4 and try again",
}


def refused_media(error: MediaError, known: bool) -> RefusedError:
    """The refusal of a file that cannot be decoded or is over a limit.

    Args:
        error: what the decoder said.
        known: whether its first bytes are those of a container that is read.
    """
    limit = error.reason in _HINTS
    status = UNUSABLE if known or limit else NO_MEDIA
    hint = _HINTS.get(error.reason, "play the file to see if it is whole, or convert it to MP4")
    return RefusedError(status, error.sentence, hint)
