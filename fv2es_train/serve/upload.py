"""Receiving an upload: a multipart form, read within a limit of time.

Owns the reading. Leaves what the parts mean to `asking`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING

from starlette.formparsers import MultiPartException, MultiPartParser

from fv2es_train.serve.api_errors import BAD_REQUEST, TOO_SLOW, RefusedError
from fv2es_train.serve.settings import MIB, Limits

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request

_MOST_FILES, _MOST_FIELDS = 4, 20


async def receive_form(request: Request, limits: Limits) -> FormData:
    """The parts of a form; its files lie in the system's temporary place, without a name.

    Args:
        request: it must be read no further by others.
        limits: what is admitted.

    Raises:
        RefusedError: it is no form or too slow, or the client is gone.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise RefusedError(
            BAD_REQUEST,
            f"the body is {kind or 'of no kind'}, expected multipart/form-data",
            "send the file in the part `video` of a form, as curl -F video=@FILE does",
        )
    parser = MultiPartParser(
        request.headers,
        _paced(request, limits),
        max_files=_MOST_FILES,
        max_fields=_MOST_FIELDS,
        max_part_size=limits.text_bytes,
    )
    try:
        return await parser.parse()
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        raise RefusedError(
            BAD_REQUEST,
            f"the form cannot be read: {getattr(error, 'message', 'it has no boundary')}",
            f"at most {_MOST_FILES} files and {_MOST_FIELDS} fields, each field of at most "
            f"{limits.text_bytes / MIB:g} MiB",
        ) from error


async def _paced(request: Request, limits: Limits) -> AsyncGenerator[bytes, None]:
    """The body, as long as it keeps coming; `guard` sees that it does not grow too large."""
    ends = time.monotonic() + limits.upload_s
    while True:
        wait_s = min(limits.pause_s, ends - time.monotonic())
        try:
            message = await asyncio.wait_for(request.receive(), max(wait_s, 0))
        except TimeoutError:
            raise RefusedError(
                TOO_SLOW,
                "the upload took too long",
                "send it over a faster line, or a smaller file",
            ) from None
        if message["type"] == "http.disconnect":
            raise RefusedError(BAD_REQUEST, "the upload was broken off", "send it again")
        if body := message.get("body", b""):
            yield body
        if not message.get("more_body"):
            return
