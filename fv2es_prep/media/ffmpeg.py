"""The ffmpeg that runs, and its restrictions: containers and protocols."""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
from typing import Any, Literal

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import WorkError

Kind = Literal["picture", "sound"]

ENVIRONMENT = "FV2ES_FFMPEG"
# Containers that hold their own media. Playlists (hls, concat, dash ...) are excluded: they make
# ffmpeg open any other file that they name.
_CONTAINERS = (
    "aac,aiff,asf,au,avi,caf,dv,flac,flv,gif,ivf,matroska,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,"
    "nut,ogg,rm,w64,wav,webm"
)
# Placeholder that `Process` replaces by the file name.
INPUT = "file:INPUT"
_VERSION_TIMEOUT_S = 60
_OFF = {"picture": {"an": None}, "sound": {"vn": None}}


@functools.cache
def ffmpeg_path() -> str:
    """The ffmpeg to run: ``FV2ES_FFMPEG`` if set, otherwise the bundled one.

    Raises:
        WorkError: ``FV2ES_FFMPEG`` is not executable, or older than version 5.1.
    """
    named = os.environ.get(ENVIRONMENT)
    if not named:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    found = shutil.which(named)
    if found is None:
        raise WorkError(
            f"{ENVIRONMENT}={named!r} is not an executable program",
            f"set it to ffmpeg 5.1 or newer, or unset {ENVIRONMENT} for the bundled one",
        )
    if ffmpeg_version(found) < (5, 1):
        raise WorkError(
            f"{found} is ffmpeg {'.'.join(map(str, ffmpeg_version(found)))}, expected at least 5.1",
            f"unset {ENVIRONMENT} for the bundled one, or set it to a newer one",
        )
    return found


@functools.cache
def ffmpeg_version(path: str) -> tuple[int, int]:
    """Major and minor version of an ffmpeg; (99, 0) for builds without a version number."""
    try:
        said = subprocess.run(
            [path, "-version"],
            capture_output=True,
            text=True,
            check=False,
            timeout=_VERSION_TIMEOUT_S,
        ).stdout
    except subprocess.TimeoutExpired as error:
        raise WorkError(
            f"{path} -version did not answer within {_VERSION_TIMEOUT_S} s",
            f"unset {ENVIRONMENT} for the bundled one, or set it to another",
        ) from error
    match = re.match(r"ffmpeg version n?(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (99, 0)


def input_of(
    kind: Kind, media: MediaSettings, name: str = INPUT, start_s: float = 0.0, **options: str
) -> Any:
    """The ffmpeg-python input for a local file: no network, no playlist, one decoding thread.

    Media before ``start_s`` are skipped; times count from there. ``options`` are further options.
    """
    import ffmpeg

    return ffmpeg.input(
        name,
        protocol_whitelist="file,pipe,subfile",
        format_whitelist=_CONTAINERS,
        max_pixels=media.max_pixels,
        threads=1,
        sn=None,
        dn=None,
        **_OFF[kind],
        **({"ss": f"{start_s:.6f}"} if start_s else {}),
        **options,
    )


def environment() -> dict[str, str]:
    """The environment without variables that colour ffmpeg's output or make it write a report."""
    gone = ("AV_LOG_FORCE_COLOR", "AV_LOG_FORCE_256COLOR", "FFREPORT")
    kept = {name: value for name, value in os.environ.items() if name not in gone}
    return {**kept, "AV_LOG_FORCE_NOCOLOR": "1"}
