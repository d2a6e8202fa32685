"""Media files of a server: decode the beginning or a span, encode a preview."""

from __future__ import annotations

import contextlib
import math
import queue
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError, OutputError
from fv2es_prep.media.audio import SoundReader
from fv2es_prep.media.ffmpeg import Kind, input_of
from fv2es_prep.media.probe import announced_s
from fv2es_prep.media.process import Process
from fv2es_prep.media.video import PictureReader
from fv2es_prep.types import Waveform
from fv2es_prep.utils.files import whole_file

_SOUND_S = 0.5
_NO_PICTURE = (DropReason.NO_VIDEO_STREAM, DropReason.UNDECODABLE_VIDEO)


@dataclass(frozen=True)
class MediaInfo:
    """Facts from the beginning of a media file.

    Attributes:
        length_s: length in the header, in seconds; 0 if the header has none.
        size: width and height of the first picture in pixels; None for audio only.
    """

    length_s: float
    size: tuple[int, int] | None


def check_media(path: Path, media: MediaSettings = DEFAULT_MEDIA) -> MediaInfo:
    """Decode the beginning of a local file of any length.

    Raises:
        MediaError: neither video nor audio can be decoded, or a limit is exceeded.
    """
    size = _picture_size(path, media)
    return MediaInfo(announced_s(path, "picture" if size else "sound", media), size)


def read_sound(
    path: Path, span: tuple[float, float], channel: int | None, media: MediaSettings = DEFAULT_MEDIA
) -> Waveform:
    """Read the sound of a span, as preparation does; see `SoundReader.span`."""
    with contextlib.closing(SoundReader(path, media)) as reader:
        return reader.span(*span, channel)


def _picture_size(path: Path, media: MediaSettings) -> tuple[int, int] | None:
    try:
        with contextlib.closing(PictureReader(path, [0.0], media)) as reader:
            found = reader.next()
    except MediaError as error:
        if error.reason not in _NO_PICTURE:
            raise
        _check_audio(path, media, error)
        return None
    return None if found is None else (found[1].shape[1], found[1].shape[0])


def _check_audio(path: Path, media: MediaSettings, picture_error: MediaError) -> None:
    """Check that there is audio; an undecodable picture explains more than missing audio."""
    try:
        with contextlib.closing(SoundReader(path, media)) as reader:
            reader.span(0, _SOUND_S, None)
    except MediaError as error:
        undecodable = picture_error.reason is DropReason.UNDECODABLE_VIDEO
        raise picture_error if undecodable else error from None


_MAX_HZ, _MAX_LINES = 15, 360
# Tolerance for pictures that are a little early.
_EARLY_S = 0.002
# Maximum ratio of the width to the maximum height.
_MAX_ASPECT = 4
_SOUND, _OUT, _REACHED = "file:SOUND", "file:OUT", "out_time_us="
# Exit status of ffmpeg if most of the input was damaged; the rest was encoded.
_DAMAGED = 69
# Tried one after the other: if the video is damaged, the audio is left, and vice versa.
_ATTEMPTS = ("va", "v", "a")
# Errors of the output, not of the video.
_OUTPUT_ERRORS = ("Unknown encoder", "No space left", "File too large")
_LIMITS = (DropReason.TIME_LIMIT, DropReason.TOO_LONG)


def make_preview(
    video: Path,
    out: Path,
    media: MediaSettings = DEFAULT_MEDIA,
    sound: Path | None = None,
    on_progress: Callable[[float], None] = lambda _: None,
    span: tuple[float, float] = (0.0, math.inf),
) -> Path:
    """Encode a video as VP8 and Opus: at most 360 lines and 15 pictures a second, seekable.

    ``span`` is the part to encode, start and end in seconds; times count from its start. The
    preview ends at the length limit. Video or audio that cannot be decoded is left out.
    ``on_progress`` is called from time to time with the number of encoded seconds.

    Raises:
        MediaError: neither video nor audio can be decoded, or a limit is exceeded.
        OutputError: the file cannot be written, or this ffmpeg cannot encode it.
    """
    failed: MediaError | None = None
    with whole_file(out) as temporary:
        temporary.touch()
        for modalities in _ATTEMPTS:
            try:
                files = {_SOUND: sound or video, _OUT: temporary}
                _encode(video, files, modalities, span, media, on_progress)
            except MediaError as error:
                _raise_final(error, video)
                failed = failed or error
            else:
                return out
        assert failed is not None, "each attempt failed"
        raise failed


def _raise_final(error: MediaError, video: Path) -> None:
    """Raise an error that would also occur in another attempt."""
    if isinstance(error, MediaKilledError) or error.reason in _LIMITS:
        raise error
    if any(words in error.sentence for words in _OUTPUT_ERRORS):
        raise OutputError(
            f"failed to write the preview of {video.name}: {error.sentence}",
            "check the free disk space, or set FV2ES_FFMPEG to another ffmpeg",
        ) from error


def _encode(
    video: Path,
    files: Mapping[str, Path],
    modalities: str,
    span: tuple[float, float],
    media: MediaSettings,
    on_progress: Callable[[float], None],
) -> None:
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    stream = _stream(modalities, span, media)
    kind: Kind = "picture" if "v" in modalities else "sound"
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
                on_progress(reached_s)
        status = process.wait(reached_s)
        encoded = status in (0, _DAMAGED) and files[_OUT].stat().st_size > 0
        process.finish(reached_s, anything=encoded)


def _stream(modalities: str, span: tuple[float, float], media: MediaSettings) -> Any:
    import ffmpeg

    start_s, length_s = span[0], min(span[1] - span[0], media.max_duration_s)
    options: dict[str, Any] = {"t": f"{length_s:.6f}", "progress": "pipe:2", "stats_period": 0.5}
    streams = []
    if "v" in modalities:
        streams.append(input_of("picture", media, start_s=start_s)["V:0?"])
        options |= _picture_options()
    if "a" in modalities:
        streams.append(input_of("sound", media, _SOUND, start_s)["a:0?"])
        # Gaps become silence and the audio starts with the file, as in preparation.
        options |= {"af": "aresample=async=1:first_pts=0", "ac": 2, "c:a": "libopus", "b:a": "64k"}
    return ffmpeg.output(*streams, _OUT, format="webm", **options).overwrite_output()


def _picture_options() -> dict[str, Any]:
    """Options of the fastest encoding on one thread, with a key frame every few seconds."""
    factor = f"min(1,min({_MAX_LINES}/ih,{_MAX_LINES * _MAX_ASPECT}/(iw*sar)))"
    width, height = (f"max(2,2*trunc({side}*{factor}/2))" for side in ("iw*sar", "ih"))
    # Drop pictures, never repeat them; the others keep their times.
    chosen = f"isnan(prev_selected_t)+gte(t-prev_selected_t,{1 / _MAX_HZ - _EARLY_S:.4f})"
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
