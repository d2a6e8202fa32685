"""Running ffmpeg: which one, how it is restricted, and what it said when it failed.

Owns the process and its error text. Leaves to video and audio what the bytes mean.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import shutil
import subprocess
import threading
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from fv2es_prep.errors import WorkError

ENVIRONMENT = "FV2ES_FFMPEG"
# Containers that hold their media themselves. Playlists (hls, concat, dash ...) are not among them:
# they would have ffmpeg open whatever other files they name.
_CONTAINERS = (
    "aac,aiff,asf,au,avi,caf,dv,flac,flv,gif,ivf,matroska,mov,mp3,mp4,mpeg,mpegts,mpegvideo,mxf,"
    "nut,ogg,rm,w64,wav,webm"
)
_KEPT_LINES = 20
_TELLING = re.compile(r"(?i)error|invalid|no such|matches no|whitelist")


@functools.cache
def ffmpeg_path() -> str:
    """The ffmpeg to run: the one named by ``FV2ES_FFMPEG``, else the one bundled with the package.

    Raises:
        WorkError: ``FV2ES_FFMPEG`` names nothing that can be run, or it is older than version 5.1.
    """
    named = os.environ.get(ENVIRONMENT)
    if not named:
        import imageio_ffmpeg

        return str(imageio_ffmpeg.get_ffmpeg_exe())
    found = shutil.which(named)
    if found is None:
        raise WorkError(
            f"{ENVIRONMENT} is {named!r}, which is no program that can be run",
            f"name an ffmpeg of version 5.1 or newer, or unset {ENVIRONMENT} for the bundled one",
        )
    if ffmpeg_version(found) < (5, 1):
        raise WorkError(
            f"{found} is ffmpeg {'.'.join(map(str, ffmpeg_version(found)))}, expected at least 5.1",
            f"unset {ENVIRONMENT} for the bundled one, or name a newer one",
        )
    return found


@functools.cache
def ffmpeg_version(path: str) -> tuple[int, int]:
    """Major and minor version of an ffmpeg; (99, 0) for builds that carry no number."""
    said = subprocess.run([path, "-version"], capture_output=True, text=True, check=False).stdout
    match = re.match(r"ffmpeg version n?(\d+)\.(\d+)", said)
    return (int(match[1]), int(match[2])) if match else (99, 0)


def input_of(path: Path) -> Any:
    """The ffmpeg-python input for a local file: no network, no playlist, one decoding thread.

    Plain files only: the ``file:`` prefix keeps a name such as ``-i.avi`` or ``http:x.avi`` a name.
    """
    import ffmpeg

    return ffmpeg.input(
        f"file:{path.absolute()}",
        protocol_whitelist="file,pipe",
        format_whitelist=_CONTAINERS,
        threads=1,
    )


class Process:
    """A running ffmpeg whose stdout is read here while its stderr is read beside.

    Args:
        path: the file that is read.
        stream: an ffmpeg-python output that reads it.
        on_line: called in a thread of its own with each line of stderr that is not empty, and
            with an empty one at the end.
    """

    def __init__(
        self, path: Path, stream: Any, on_line: Callable[[str], None] | None = None
    ) -> None:
        self._path = path
        arguments = stream.global_args("-hide_banner", "-nostdin", "-nostats").compile(
            ffmpeg_path()
        )
        self._process = subprocess.Popen(
            arguments, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._on_line = on_line
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for raw in self._process.stderr:
            line = raw.decode("utf-8", "replace").rstrip()
            self._last.append(line)
            if line and self._on_line is not None:
                self._on_line(line)
        if self._on_line is not None:
            self._on_line("")

    @property
    def stdout(self) -> IO[bytes]:
        """What ffmpeg writes."""
        assert self._process.stdout is not None
        return self._process.stdout

    def finish(self) -> int:
        """Wait for the end; returns the exit status."""
        self._process.wait()
        self._listener.join()
        return self._process.returncode

    def lacks_stream(self) -> bool:
        """Whether it said that the file has no stream of the wanted kind."""
        return any("matches no streams" in line for line in self._last)

    def last_words(self) -> str:
        """What it said of an error, as one line; the first to be said is nearest to the cause.

        Addresses in memory and the directory of the file are taken out: the same damage gives the
        same words on any machine.
        """
        telling = [line for line in self._last if _TELLING.search(line)]
        words = "; ".join(telling[:2] or list(self._last)[-2:]) or "ffmpeg said nothing"
        named = words.replace(f"file:{self._path.absolute()}", self._path.name)
        return re.sub(r" @ 0x[0-9a-f]+", "", named)

    def close(self) -> None:
        """Stop it, whatever it is doing, and release its pipes."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._process.wait()
        self._listener.join()
        self.stdout.close()
        if self._process.stderr is not None:
            self._process.stderr.close()


@contextlib.contextmanager
def running(
    path: Path, stream: Any, on_line: Callable[[str], None] | None = None
) -> Iterator[Process]:
    """An ffmpeg that is stopped when the block is left; see `Process`."""
    process = Process(path, stream, on_line)
    try:
        yield process
    finally:
        process.close()
