"""A running ffmpeg: its limits, and what it said when it failed.

Owns the process and its error text. Leaves to video and audio what the bytes mean.
"""

from __future__ import annotations

import contextlib
import fcntl
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
from fv2es_prep.types import plain_text
from fv2es_prep.utils.files import why_unreadable

_KEPT_LINES = 3
_LONGEST_LINE = 1 << 16
_LONGEST_WORDS = 300
_GUARD_S = 0.1
_PAUSE_S = 0.001
# The most that Linux gives without being root.
_PIPE_BYTES = 1 << 20
_ANNOUNCED = re.compile(r"  Duration: (\d+):(\d\d):(\d\d\.\d+)")
_COMPONENT = re.compile(r"\[([^\]@]*) @ 0x[0-9a-f]+\] *")
_TELLING = (
    *("error", "invalid", "no such", "matches no", "whitelist", "exceeds"),
    *("corrupt", "trunc", "missing", "damage", "premature"),
)
# What ffmpeg's own threads say when another one has failed: no cause is in it.
_ECHO = re.compile(r"Task finished|Terminating thread|Conversion failed|^(frame|size)=")
_NONE = {"picture": DropReason.NO_VIDEO_STREAM, "sound": DropReason.NO_AUDIO_STREAM}
_BROKEN = {"picture": DropReason.UNDECODABLE_VIDEO, "sound": DropReason.UNDECODABLE_AUDIO}
_KILLED = {-signal.SIGKILL, -signal.SIGTERM, -signal.SIGINT, -signal.SIGHUP}
# The lines that describe the file: names and whatever its metadata say.
_DESCRIBING = (" ", "Input #", "Output #", "Stream mapping")


class Process:
    """A running ffmpeg whose stdout is read here while its stderr is read beside.

    It is killed when it announces a recording that is too long, and when the time that was spent
    on waiting for it is more than `MediaSettings` allow; `finish` then raises why.

    Args:
        path: the file that is read.
        kind: what is read of it.
        stream: an ffmpeg-python output that reads it.
        media: the limits.
        on_line: called in a thread of its own with each line of stderr that holds ``mark``, and
            with an empty one at the end.
        mark: a word that no file can know; lines with it are no part of the error text.
        others: what stands for another file in the stream -> the file; it may be written.

    Attributes:
        announced_s: how long the file says that it is, in seconds; 0 where it does not.

    Raises:
        MediaError: there is no regular file of that name, or it may not be read.
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
        self.announced_s = 0.0
        # Filters on several threads take more of the processor and, of one picture, no less time.
        options = ("-hide_banner", "-nostdin", "-nostats", "-filter_threads", "1")
        arguments = stream.global_args(*options).compile(ffmpeg_path())
        # Plain files only: the prefix keeps a name such as `-i.avi` or `http:x.avi` a name. It is
        # put in here, for ffmpeg-python takes no name whose bytes are no UTF-8.
        files = {INPUT: path, **others}
        named = {word: f"file:{file.absolute()}" for word, file in files.items()}
        self._folders = {f"file:{file.absolute().parent}/" for file in files.values()}
        self._process = subprocess.Popen(
            [named.get(argument, argument) for argument in arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            # A group of its own: where FV2ES_FFMPEG is a script, what it started is killed too.
            process_group=0,
        )
        _widen(self.stdout)
        self._listener = threading.Thread(target=self._listen, args=(on_line,), daemon=True)
        self._listener.start()
        self._closed = threading.Event()
        self._guardian = threading.Thread(target=self._guard, daemon=True)
        self._guardian.start()

    @property
    def stdout(self) -> IO[bytes]:
        """What ffmpeg writes."""
        assert self._process.stdout is not None
        return self._process.stdout

    @contextlib.contextmanager
    def waiting(self, until_s: float) -> Iterator[None]:
        """A block in which we wait for ffmpeg to reach a moment; its time counts.

        Args:
            until_s: the moment of the recording, in seconds.
        """
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
        """Wait until the file is opened.

        Raises:
            MediaError: it announces more than may be read.
        """
        with self.waiting(0):
            self._announced.wait()
        if self._refused is not None:
            self.finish(0, anything=True)

    def wait(self, until_s: float) -> int:
        """Wait for the end.

        Args:
            until_s: how far it had to read.

        Returns:
            Its exit status; negative where a signal has ended it.
        """
        with self.waiting(until_s):
            status = self._process.wait()
            self._listener.join()
        return status

    def finish(self, until_s: float, *, anything: bool) -> bool:
        """Wait for the end, and judge it.

        Args:
            until_s: how far it had to read.
            anything: whether there was any picture or sound.

        Returns:
            Whether it met errors and went on. Which ones is not told: lines that several of its
            threads write at a time may be torn, and equal media must give equal words.

        Raises:
            MediaError: it was over a limit, or there was nothing that could be decoded.
            MediaKilledError: it was killed, and not by us.
        """
        self.wait(until_s)
        name = plain_text(self._path.name)
        if self._refused is not None:
            reason, sentence = self._refused
            raise MediaError(f"{name} {sentence}", reason, "see the media settings")
        if self._signalled or self._process.returncode in _KILLED:
            raise MediaKilledError(
                f"the ffmpeg that read {name} was killed", _BROKEN[self._kind], "run it again"
            )
        if anything:
            return self._damaged or self._process.returncode < 0
        raise self._nothing(name)

    def _nothing(self, name: str) -> MediaError:
        if self._too_many_pixels:
            limit = self._media.max_pixels
            sentence = f"{name} has pictures of more than {limit} pixels: {self.last_words()}"
            return MediaError(sentence, DropReason.TOO_MANY_PIXELS, "see the media settings")
        none = self._lacks_stream or self._process.returncode == 0
        reason = (_NONE if none else _BROKEN)[self._kind]
        found = f"holds no {self._kind}" if none else "cannot be decoded"
        code = self._process.returncode
        cause = f"ffmpeg crashed with signal {-code}" if code < 0 else self.last_words()
        sentence = f"{name} {found}: {cause}"
        return MediaError(sentence, reason, "play the file to see if it is whole")

    def last_words(self) -> str:
        """What it said of an error, as one line.

        It is the first that each part of ffmpeg had to say, those that know the format before
        those that only see them fail. Addresses in memory and the directory of the file are taken
        out: the same damage gives the same words on any machine.
        """
        parts = sorted(self._telling, key=lambda name: (not name, "#" in name, name))
        said = [self._telling[part] for part in parts[:2]] or list(self._last)
        return "; ".join(said)[:_LONGEST_WORDS] or "ffmpeg said nothing"

    def refuse(self, reason: DropReason, sentence: str) -> None:
        """Kill it; `finish` will raise the reason."""
        if self._refused is None:
            self._refused = (reason, sentence)
        self._kill()

    def close(self) -> None:
        """Stop it, whatever it is doing, and release its pipes."""
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
        """Look now and then whether we wait for too long; a timer for each wait costs more."""
        while not self._closed.wait(_GUARD_S):
            if time.monotonic() > self._deadline:
                said, allowed_s = self.last_words(), self._allowed_s
                sentence = f"kept us waiting for more than {allowed_s:g} s: {said}"
                self.refuse(DropReason.TIME_LIMIT, sentence)

    def _listen(self, on_line: Callable[[str], None]) -> None:
        assert self._process.stderr is not None
        for raw in _lines_of(self._process.stderr):
            line = raw.decode("utf-8", "surrogateescape").rstrip()
            # Most lines by far are marked.
            if self._mark and self._mark in line:
                self._note(line)
                on_line(line)
            elif not line.startswith(_DESCRIBING):
                self._note(line)
                self._keep(line)
            elif line.startswith("  Duration: "):
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
    """Whether a line is about something that is wrong; asked of two lines for each picture."""
    lowered = line.lower()
    return any(word in lowered for word in _TELLING)


def _lines_of(pipe: Any) -> Iterator[bytes]:
    """The lines that come through a pipe; what is longer than a line may be comes in parts.

    ffmpeg writes a line in ten parts. With a short pause whole lines have come, where to wake up
    for each part would cost more than all that is done with the lines.
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
    """Give a pipe room for a picture: ffmpeg goes on while we look at the one before."""
    if sys.platform == "linux":
        # Refused where the user's pipes take much memory already.
        with contextlib.suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
