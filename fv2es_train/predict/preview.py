"""A small WebM of a video, which every browser plays.

Owns its form and its encoder. It is read with the restrictions of preparation, by one ffmpeg.
"""

from __future__ import annotations

import contextlib
import queue
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, OutputError
from fv2es_prep.media.ffmpeg import Kind, input_of
from fv2es_prep.media.process import Process
from fv2es_prep.utils.files import whole_file

_MOST_HZ = 15
# A picture that comes a little early is not left out.
_EARLY_S = 0.002
# A picture is at most so many times as wide as it may be high.
_MOST_ASPECT = 4
_SOUND, _OUT, _REACHED = "file:SOUND", "file:OUT", "out_time_us="
# Its status where most of what it was to decode was damaged: the rest was encoded.
_MOST_DAMAGED = 69
# What is tried, one after the other: a damaged picture leaves the sound, and the other way round.
_PARTS = ("va", "v", "a")
# What is not the video's fault.
_NOT_WRITTEN = ("Unknown encoder", "No space left", "File too large")
_LIMITS = (DropReason.TIME_LIMIT, DropReason.TOO_LONG)


def make_preview(
    video: Path,
    out: Path,
    media: MediaSettings = DEFAULT_MEDIA,
    sound: Path | None = None,
    most_lines: int = 360,
    tell: Callable[[float], None] = lambda _: None,
) -> Path:
    """Encode a video as VP8 and Opus: small, at most 15 pictures a second, with an index to seek.

    Times are those of the video, counted from the beginning of the file. It ends where the video
    may not be longer. What cannot be decoded, picture or sound, is left out.

    Args:
        video: a local media file.
        out: the WebM file to write.
        media: the limits.
        sound: the file of the sound where it is another one.
        most_lines: height of the picture in pixels; smaller ones stay as they are.
        tell: called now and then with the seconds that are done.

    Raises:
        MediaError: there is neither picture nor sound that can be decoded, or a limit is met.
        OutputError: it cannot be written, or this ffmpeg cannot encode it.
    """
    failed: MediaError | None = None
    with whole_file(out) as temporary:
        temporary.touch()
        for parts in _PARTS:
            try:
                _encode(video, sound or video, temporary, parts, media, most_lines, tell)
            except MediaError as error:
                _check_fault(error, video)
                failed = failed or error
            else:
                return out
        assert failed is not None, "each way was tried"
        raise failed


def _check_fault(error: MediaError, video: Path) -> None:
    """Raise what another try would not mend."""
    if isinstance(error, MediaKilledError) or error.reason in _LIMITS:
        raise error
    if any(words in error.sentence for words in _NOT_WRITTEN):
        raise OutputError(
            f"the preview of {video.name} cannot be written: {error.sentence}",
            "see that there is space left, or name another ffmpeg with FV2ES_FFMPEG",
        ) from error


def _encode(
    video: Path,
    sound: Path,
    out: Path,
    parts: str,
    media: MediaSettings,
    most_lines: int,
    tell: Callable[[float], None],
) -> None:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    stream, files = _stream(parts, media, most_lines), {_SOUND: sound, _OUT: out}
    kind: Kind = "picture" if "v" in parts else "sound"
    with contextlib.closing(
        Process(video, kind, stream, media, lines.put, _REACHED, files)
    ) as process:
        process.check_announced()
        reached_s = 0.0
        while True:
            with process.waiting(reached_s):
                line = lines.get()
            if not line:
                break
            value = line.removeprefix(_REACHED)
            if value.isdigit():
                reached_s = int(value) / 1e6
                tell(reached_s)
        status = process.wait(reached_s)
        whole = status in (0, _MOST_DAMAGED) and out.stat().st_size > 0
        process.finish(reached_s, anything=whole)


def _stream(parts: str, media: MediaSettings, most_lines: int) -> Any:
    import ffmpeg

    options = {"t": media.max_duration_s, "progress": "pipe:2", "stats_period": 0.5}
    streams = []
    if "v" in parts:
        streams.append(input_of("picture", media)["V:0?"])
        options |= _picture_options(most_lines)
    if "a" in parts:
        streams.append(input_of("sound", media, _SOUND)["a:0?"])
        # Gaps become silence and the sound starts with the file, as in preparation.
        options |= {"af": "aresample=async=1:first_pts=0", "ac": 2, "c:a": "libopus", "b:a": "64k"}
    return ffmpeg.output(*streams, _OUT, format="webm", **options).overwrite_output()


def _picture_options(most_lines: int) -> dict[str, Any]:
    """Of the encoder: as quick as it can be, on one thread, a whole picture each few seconds."""
    factor = f"min(1,min({most_lines}/ih,{most_lines * _MOST_ASPECT}/(iw*sar)))"
    width, height = (f"max(2,2*trunc({side}*{factor}/2))" for side in ("iw*sar", "ih"))
    # Pictures are left out, never repeated; those that stay keep their times.
    chosen = f"isnan(prev_selected_t)+gte(t-prev_selected_t,{1 / _MOST_HZ - _EARLY_S:.4f})"
    return {
        "vf": f"select='{chosen}',scale=w='{width}':h='{height}':flags=fast_bilinear,setsar=1",
        "fps_mode": "vfr",
        "pix_fmt": "yuv420p",
        "c:v": "libvpx",
        "deadline": "realtime",
        "cpu-used": 8,
        "threads": 1,
        "b:v": "500k",
        "g": 60,
        "lag-in-frames": 0,
        "auto-alt-ref": 0,
    }
