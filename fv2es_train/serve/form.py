"""What the parts of a form ask for: a video, and how it is to be scored.

Owns their names and meaning, and storing the video in a folder of its own.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, cast

from starlette.datastructures import UploadFile

from fv2es_prep.errors import UsageError
from fv2es_train.predict.predict_config import FaceChoice
from fv2es_train.predict.request import WHOLE, Request, parse_view
from fv2es_train.predict.spans import given_spans, parse_spans
from fv2es_train.predict.subtitles import Transcript, decode_text, parse_transcript
from fv2es_train.serve.admission import check_room
from fv2es_train.serve.api_errors import BAD_REQUEST, TOO_LARGE, UNUSABLE, RefusedError
from fv2es_train.serve.intake import checked_name, examine
from fv2es_train.serve.jobs import PREVIEW, Job
from fv2es_train.serve.messages import Score
from fv2es_train.serve.settings import MIB, Limits
from fv2es_train.serve.workspace import new_folder

if TYPE_CHECKING:
    from starlette.datastructures import FormData

# form field -> what it is, for the description of the API.
FIELDS = {
    "video": "The video or sound; any container that ffmpeg reads by itself. Required.",
    "transcript": "Its words, as text or file: srt, vtt, IEMOCAP's transcription, or plain text.",
    "spans": "What is scored, as text or file: JSON or CSV with start_s, end_s, text, id, view.",
    "view": "HALF[:SIDE[:CHANNEL]] of a speaker, such as left:224:0; may come several times.",
    "faces": "largest, or all: each face on its own.",
    "preview": "true: also make a small film that every browser plays.",
}
_FILE = "upload"
_TRUE, _FALSE = ("true", "1", "on"), ("", "false", "0", "off")
_MOST_VIEWS = 8


def job_of(form: FormData, place: Path, limits: Limits, pictures_hz: float) -> Job:
    """Store and examine the video of a form, and make a job of it; blocks while it does.

    Args:
        form: what was received.
        place: the private folder.
        limits: what is admitted.
        pictures_hz: how many pictures the model wants of each second.

    Raises:
        RefusedError: a part is missing or cannot be used; nothing is left on disk.
    """
    unknown = sorted(set(form) - set(FIELDS))
    if unknown:
        raise RefusedError(
            BAD_REQUEST,
            f"the form has a part {unknown[0][:40]!r}",
            f"the parts are {', '.join(FIELDS)}",
        )
    video = form.get("video")
    if not isinstance(video, UploadFile):
        raise RefusedError(
            BAD_REQUEST, "the form has no file in its part `video`", "send -F video=@FILE"
        )
    name = checked_name(video.filename)
    wants_preview = _wants_preview(form)
    folder = new_folder(place)
    path = folder / _FILE
    try:
        request = _request(form, path, limits)
        with path.open("wb") as file:
            shutil.copyfileobj(video.file, file, MIB)
        look = examine(path, name, limits)
        check_room(request, look.size, pictures_hz, limits)
    except UsageError as error:
        shutil.rmtree(folder)
        raise RefusedError(UNUSABLE, error.sentence, error.hint) from error
    except BaseException:
        shutil.rmtree(folder)
        raise
    preview = folder / PREVIEW if wants_preview and look.size is not None else None
    return Job(Score(request, name, look.length_s, look.size, preview), folder)


def _request(form: FormData, path: Path, limits: Limits) -> Request:
    """What is asked of the video that will lie at a path."""
    words = _text(form, "transcript", limits)
    views = [part for text in form.getlist("view") for part in str(text).split()]
    if len(views) > _MOST_VIEWS:
        raise RefusedError(BAD_REQUEST, f"there are {len(views)} views", f"at most {_MOST_VIEWS}")
    transcript = parse_transcript(words) if words.strip() else Transcript()
    spans = _text(form, "spans", limits)
    return Request(
        path,
        spans=given_spans(parse_spans(spans) if spans else None, transcript.spans),
        lines=transcript.lines,
        views=tuple(map(parse_view, views)) or (WHOLE,),
        faces=cast("FaceChoice", _text(form, "faces", limits) or "largest"),
    )


def _wants_preview(form: FormData) -> bool:
    value = str(form.get("preview") or "").lower()
    if value not in _TRUE + _FALSE:
        raise RefusedError(BAD_REQUEST, f"preview is {value[:40]!r}", "send true or false")
    return value in _TRUE


def _text(form: FormData, field: str, limits: Limits) -> str:
    """A field that may be text or a file of text."""
    value = form.get(field) or ""
    if isinstance(value, str):
        return value
    data = value.file.read(limits.text_bytes + 1)
    if len(data) > limits.text_bytes:
        raise RefusedError(
            TOO_LARGE, f"{field} is larger than {limits.text_bytes / MIB:g} MiB", "send less"
        )
    return decode_text(data)
