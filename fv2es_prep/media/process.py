"""A running ffmpeg: its limits, and its error messages."""

from __future__ import annotations

import contextlib
import fcntl
import io
import math
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError
from fv2es_prep.media.ffmpeg import INPUT, Kind, environment, ffmpeg_path
from fv2es_prep.media.zero_tail import end_of_data
from fv2es_prep.store.raw_files import staged
from fv2es_prep.types import plain_text
from fv2es_prep.utils.files import why_unreadable

_KEPT_LINES = 3
_LONGEST_LINE = 1 << 16
_LONGEST_WORDS = 300
_GUARD_S = 0.1
_PAUSE_S = 0.001
# The largest pipe that Linux grants without root.
_PIPE_BYTES = 1 << 20
_ANNOUNCED = re.compile(r"  Duration: (\d+):(\d\d):(\d\d\.\d+)")
_COMPONENT = re.compile(r"\[([^\]@]*) @ 0x[0-9a-f]+\] *")
_TELLING = (
    *("error", "invalid", "no such", "matches no", "whitelist", "exceeds"),
    *("corrupt", "trunc", "missing", "damage", "premature"),
)
# Lines of ffmpeg's threads after another thread failed; they do not name the cause.
_ECHO = re.compile(r"Task finished|Terminating thread|Conversion failed|^(frame|size)=")
_NONE = {"picture": DropReason.NO_VIDEO_STREAM, "sound": DropReason.NO_AUDIO_STREAM}
_BROKEN = {"picture": DropReason.UNDECODABLE_VIDEO, "sound": DropReason.UNDECODABLE_AUDIO}
_LIMITS = {
    DropReason.TIME_LIMIT: "raise the limit, e.g. --set media.stall_s=600",
    DropReason.TOO_LONG: "raise the limit, e.g. --set media.max_duration_s=86400",
    DropReason.TOO_MANY_PIXELS: "raise the limit, e.g. --set media.max_pixels=67108864",
    DropReason.UNDECODABLE_AUDIO: "convert the sound to a usual sampling rate",
}
_KILLED = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
# Lines that describe the file: names and arbitrary metadata.
_DESCRIBING = (" ", "Input #", "Output #", "Stream mapping")


class Process:
    """A running ffmpeg; a thread reads its stderr while the caller reads its stdout.

    It is killed if the stated duration or the time spent waiting for it exceeds `MediaSettings`;
    `finish` then raises the reason.

    Args:
        path: the file to read.
        kind: the stream to read.
        stream: an ffmpeg-python output that reads it.
        media: the limits.
        on_line: called in the listener thread with each stderr line that contains ``mark``, and
            with an empty line at the end.
        mark: a random word; lines that contain it stay out of the error text.
        others: placeholder of another file in the stream -> the file; it may be written.

    Attributes:
        announced_s: the stated duration in seconds; 0 if none.
        opened: whether ffmpeg could open the file.

    Raises:
        MediaError: the file is not a readable regular file.
    """

    def __init__(
        self,
        path: Path,
        kind: Kind,
        stream: Any,
        media: MediaSettings,
        on_line: Callable[[str], None] = lambda _: None,
        mark: str = "",
        others: Mapping[str, Path] = {},
    ) -> None:
        with contextlib.suppress(FileNotFoundError):
            path = staged(path)
        problem = why_unreadable(path)
        if problem is not None:
            reason, sentence = problem
            raise MediaError(plain_text(sentence), reason, "look at the file in the corpus")
        self._path, self._kind, self._media, self._mark = path, kind, media, mark
        self._waited_s, self._allowed_s, self._deadline = 0.0, 0.0, math.inf
        self._last: deque[str] = deque(maxlen=_KEPT_LINES)
        self._telling: dict[str, str] = {}
        self._lacks_stream = self._too_many_pixels = self._signalled = self._damaged = False
        self._refused: tuple[DropReason, str] | None = None
        self._announced = threading.Event()
        self.announced_s, self.opened = 0.0, False
        # More filter threads use more CPU without being faster for a single picture.
        options = ("-hide_banner", "-nostdin", "-nostats", "-filter_threads", "1")
        arguments = stream.global_args(*options).compile(ffmpeg_path())
        # Plain files only: the prefix keeps names such as `-i.avi` or `http:x.avi` file names.
        # Inserted here because ffmpeg-python rejects names that are not UTF-8.
        files = {INPUT: path, **others}
        named = {word: f"file:{file.absolute()}" for word, file in files.items()}
        if (end := end_of_data(path)) is not None:
            named[INPUT] = f"subfile,,start,0,end,{end},,:{named[INPUT]}"
        self._folders = {f"file:{file.absolute().parent}/" for file in files.values()}
        self._process = subprocess.Popen(
            [named.get(argument, argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            # Its own process group: if FV2ES_FFMPEG is a script, its children are killed too.
            process_group=0,
        )
        _widen(self.stdout)
        self._listener = threading.Thread(target=self._listen, args=(on_line,), daemon=True)
        self._listener.start()
        self._closed = threading.Event()
        self._guardian = threading.Thread(target=self._guard, daemon=True)
        self._guardian.start()

    @property
    def stdout(self) -> io.BufferedReader:
        """The output of ffmpeg."""
        assert isinstance(self._process.stdout, io.BufferedReader)
        return self._process.stdout

    @property
    def damaged(self) -> bool:
        """Whether ffmpeg has reported an error so far."""
        return self._damaged

    @contextlib.contextmanager
    def waiting(self, until_s: float) -> Iterator[None]:
        """Count the block as waiting for ffmpeg to reach ``until_s`` of the recording."""
        until_s = min(until_s, self._media.max_duration_s)
        self._allowed_s = self._media.stall_s + self._media.time_factor * until_s
        began = time.monotonic()
        self._deadline = began + max(self._allowed_s - self._waited_s, 0)
        try:
            yield
        finally:
            self._deadline = math.inf
            self._waited_s += time.monotonic() - began

    def check_announced(self) -> None:
        """Wait until ffmpeg has opened the file.

        Raises:
            MediaError: the stated duration exceeds the limit.
        """
        with self.waiting(0):
            self._announced.wait()
        if self._refused is not None:
            self.finish(0, anything=True)

    def wait(self, until_s: float) -> int:
        """Wait for ffmpeg to read to ``until_s`` and exit: its status, negative after a signal."""
        with self.waiting(until_s):
            status = self._process.wait()
            self._listener.join()
        return status

    def finish(self, until_s: float, *, anything: bool) -> bool:
        """Wait for ffmpeg to read to ``until_s`` and exit; raise if it failed.

        Args:
            until_s: seconds of the recording.
            anything: whether it decoded any picture or sound.

        Returns:
            Whether it reported errors and continued. The errors may differ between equal runs.

        Raises:
            MediaError: a limit was exceeded, or nothing could be decoded.
            MediaKilledError: ffmpeg was killed from outside.
        """
        self.wait(until_s)
        name = plain_text(self._path.name)
        if self._refused is not None:
            reason, sentence = self._refused
            raise MediaError(f"{name} {sentence}", reason, _LIMITS[reason])
        if self._signalled or self._process.returncode in _KILLED:
            raise MediaKilledError(
                f"the ffmpeg that read {name} was killed", _BROKEN[self._kind], "run it again"
            )
        if anything:
            return self._damaged or self._process.returncode < 0
        raise self._nothing(name)

    def _nothing(self, name: str) -> MediaError:
        code, hint = self._process.returncode, "play the file to see if it is whole"
        cause = f"ffmpeg crashed with signal {-code}" if code < 0 else self.last_words()
        if self._too_many_pixels:
            found = f"has pictures of more than {self._media.max_pixels} pixels"
            reason, cause = DropReason.TOO_MANY_PIXELS, self.last_words()
            hint = _LIMITS[reason]
        elif self._lacks_stream or code == 0:
            return MediaError(f"{name} holds no {self._kind}", _NONE[self._kind], hint)
        else:
            found, reason = "cannot be decoded", _BROKEN[self._kind]
        return MediaError(f"{name} {found}: {cause}", reason, hint)

    def last_words(self) -> str:
        """The first error message of each component on one line, demuxers before their callers.

        Free of memory addresses and directories: equal damage gives equal text on any machine.
        """
        parts = sorted(self._telling, key=lambda name: (not name, "#" in name, name))
        said = [self._telling[part] for part in parts[:2]] or list(self._last)
        return "; ".join(said)[:_LONGEST_WORDS] or "ffmpeg printed nothing"

    def refuse(self, reason: DropReason, sentence: str) -> None:
        """Kill ffmpeg; `finish` then raises the reason."""
        if self._refused is None:
            self._refused = (reason, sentence)
        self._kill()

    def close(self) -> None:
        """Kill ffmpeg if it runs, and close its pipes."""
        self._kill()
        self._process.wait()
        self._closed.set()
        self._guardian.join()
        self._listener.join()
        self.stdout.close()
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _kill(self) -> None:
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, signal.SIGKILL)

    def _guard(self) -> None:
        """Check the deadline periodically; a timer per wait costs more."""
        while not self._closed.wait(_GUARD_S):
            if time.monotonic() > self._deadline:
                said, allowed_s = self.last_words(), self._allowed_s
                sentence = f"stalled ffmpeg (limit {allowed_s:g} s): {said}"
                self.refuse(DropReason.TIME_LIMIT, sentence)

    def _listen(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stderr is not None
        for raw in _lines_of(self._process.stderr):
            line = raw.decode("utf-8", "surrogateescape").rstrip()
            # Checked first, since nearly all lines are marked.
            if self._mark and self._mark in line:
                self._note(line)
                on_line(line)
            elif not line.startswith(_DESCRIBING):
                self._note(line)
                self._keep(line)
            elif line.startswith("  Duration: "):
                self.opened = True
                if match := _ANNOUNCED.match(line):
                    self._judge_duration(*map(float, match.groups()))
                self._announced.set()
        self._announced.set()
        on_line("")

    def _judge_duration(self, hours: float, minutes: float, seconds: float) -> None:
        announced_s = 3600 * hours + 60 * minutes + seconds
        self.announced_s = announced_s
        if announced_s > (limit_s := self._media.max_duration_s):
            self.refuse(
                DropReason.TOO_LONG, f"announces {announced_s:g} s, more than {limit_s:g} s"
            )

    def _note(self, line: str) -> None:
        self._damaged |= _tells(line)
        self._lacks_stream |= "matches no streams" in line
        self._too_many_pixels |= "exceeds specified max pixel count" in line
        self._signalled |= "Exiting normally, received signal" in line

    def _keep(self, line: str) -> None:
        if not line or _ECHO.search(line):
            return
        match = _COMPONENT.match(line)
        for folder in self._folders:
            line = line.replace(folder, "")
        words = re.sub(r" @ 0x[0-9a-f]+", "", plain_text(line))
        words = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in words)
        self._last.append(words)
        if _tells(line):
            self._telling.setdefault(match[1] if match else "", words)


def _tells(line: str) -> bool:
    """Whether a line reports a problem; called for two lines per picture."""
    lowered = line.lower()
    return any(word in lowered for word in _TELLING)


def _lines_of(pipe: Any) -> Iterator[bytes]:
    """The lines of a pipe; overlong lines come in parts.

    ffmpeg writes a line in about ten parts. A short pause lets whole lines arrive: waking up for
    each part costs more than all processing.
    """
    begun = b""
    while data := pipe.read1(_LONGEST_LINE):
        *lines, begun = (begun + data).split(b"\n")
        yield from lines
        if len(begun) > _LONGEST_LINE:
            yield begun
            begun = b""
        time.sleep(_PAUSE_S)
    if begun:
        yield begun


def _widen(pipe: IO[bytes]) -> None:
    """Enlarge a pipe to hold a picture, so that ffmpeg decodes ahead."""
    if sys.platform == "linux":
        # Linux refuses if the user's pipes already use much memory.
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
