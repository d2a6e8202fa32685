"""The form of an upload: receive it within limits, and turn it into a job."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from fv2es_prep.errors import UsageError
from fv2es_train.predict.request import WHOLE, FaceChoice, Request, parse_view
from fv2es_train.predict.spans import given_spans, parse_spans
from fv2es_train.predict.subtitles import Transcript, decode_text, parse_transcript
from fv2es_train.serve.admission import check_content, check_name, check_spans
from fv2es_train.serve.api_errors import ApiError
from fv2es_train.serve.jobs import PREVIEW, Job
from fv2es_train.serve.messages import ScoreTask
from fv2es_train.serve.settings import MIB, Limits

if TYPE_CHECKING:
    from starlette.datastructures import FormData
    from starlette.requests import Request as HttpRequest

# Field -> its description in the API.
FIELDS = {
    "video": "The video or audio, in any container that ffmpeg reads by itself. Required.",
    "transcript": "Transcript, as text or file: srt, vtt, `ID [start-end]: text` or plain text.",
    "spans": "Spans, as text or file: JSON or CSV with start_s, end_s, text, id, view.",
    "view": "HALF[:SIDE[:CHANNEL]] of a speaker, such as left:224:0; may be repeated.",
    "faces": "track: the speaker's (default); largest: of each picture; all: each on its own.",
    "preview": "true: also make a small video that every browser plays.",
}
_UPLOAD = "upload"
_TRUE, _FALSE = ("true", "1", "on"), ("", "false", "0", "off")
_MAX_FILES, _MAX_FIELDS, _MAX_VIEWS = 4, 20, 8


async def receive_form(request: HttpRequest, limits: Limits) -> FormData:
    """Read the form of a request; its files are unnamed temporary files. `bodies` limits the body.

    Raises:
        ApiError: the body is not a form, or the client disconnected.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "multipart/form-data":
        raise ApiError(
            400,
            f"the body is {kind or 'of no type'}, expected multipart/form-data",
            "send the file in the field `video` of a form: curl -F video=@FILE",
        )
    parser = MultiPartParser(
        request.headers,
        request.stream(),
        max_files=_MAX_FILES,
        max_fields=_MAX_FIELDS,
        max_part_size=limits.text_bytes,
    )
    try:
        return await parser.parse()
    except ClientDisconnect:
        raise ApiError(400, "the client disconnected", "send the upload again") from None
    except (MultiPartException, KeyError, UnicodeDecodeError) as error:
        raise ApiError(
            400,
            f"invalid form: {getattr(error, 'message', 'it has no boundary')}",
            f"send at most {_MAX_FILES} files and {_MAX_FIELDS} fields, each field with at most "
            f"{limits.text_bytes / MIB:g} MiB",
        ) from error


def job_of(form: FormData, workspace: Path, limits: Limits, pictures_hz: float) -> Job:
    """Store and check the video of a form and make its job; this call blocks.

    ``workspace`` is the private directory of uploads, ``pictures_hz`` the number of sampled
    pictures per second.

    Raises:
        ApiError: a field is missing or invalid; nothing is left on disk.
    """
    unknown = sorted(set(form) - set(FIELDS))
    if unknown:
        fields = ", ".join(FIELDS)
        raise ApiError(400, f"unknown field {unknown[0][:40]!r}", f"use the fields {fields}")
    upload = form.get("video")
    if not isinstance(upload, UploadFile):
        raise ApiError(400, "the field `video` has no file", "send -F video=@FILE")
    name = check_name(upload.filename)
    wants_preview = _wants_preview(form)
    folder = Path(tempfile.mkdtemp(dir=workspace))
    path = folder / _UPLOAD
    try:
        request = _request(form, path, limits)
        with path.open("wb") as file:
            shutil.copyfileobj(upload.file, file, MIB)
        video = check_content(path, name, limits)
        check_spans(request, video.size, pictures_hz, limits)
    except UsageError as error:
        shutil.rmtree(folder)
        raise ApiError(422, error.sentence, error.hint) from error
    except BaseException:
        shutil.rmtree(folder)
        raise
    preview = folder / PREVIEW if wants_preview and video.size is not None else None
    return Job(ScoreTask(video, request, preview), folder)


def _request(form: FormData, path: Path, limits: Limits) -> Request:
    """Make the request for the video that will be stored at ``path``."""
    views = [part for text in form.getlist("view") for part in str(text).split()]
    if len(views) > _MAX_VIEWS:
        raise ApiError(400, f"there are {len(views)} views", f"send at most {_MAX_VIEWS}")
    text, spans = _text(form, "transcript", limits), _text(form, "spans", limits)
    transcript = parse_transcript(text) if text.strip() else Transcript()
    return Request(
        path,
        spans=given_spans(parse_spans(spans) if spans else None, transcript.spans),
        lines=transcript.lines,
        views=tuple(map(parse_view, views)) or (WHOLE,),
        faces=cast("FaceChoice", _text(form, "faces", limits) or "track"),
    )


def _wants_preview(form: FormData) -> bool:
    value = str(form.get("preview") or "").lower()
    if value not in _TRUE + _FALSE:
        raise ApiError(400, f"preview is {value[:40]!r}", "send true or false")
    return value in _TRUE


def _text(form: FormData, field: str, limits: Limits) -> str:
    """Read a field that is text or a text file."""
    value = form.get(field) or ""
    if isinstance(value, str):
        return value
    data = value.file.read(limits.text_bytes + 1)
    if len(data) > limits.text_bytes:
        sentence = f"{field} is larger than {limits.text_bytes / MIB:g} MiB"
        raise ApiError(413, sentence, "send less")
    return decode_text(data)
