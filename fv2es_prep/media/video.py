"""From a video file to the pictures that were on screen at wanted times.

Owns sampling by presentation time. Leaves the speaker's part of a picture to `view`.
"""

from __future__ import annotations

import bisect
import contextlib
import math
import queue
import re
import secrets
import tempfile
from collections import deque
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.errors import DropReason
from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version, input_of
from fv2es_prep.media.process import Process

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# A frame that starts within this of a wanted time counts as on screen: it absorbs the rounding of
# times that were computed in binary floating point.
_TOLERANCE_S = 1e-6
# One of so many pictures that go by is told of: to look at each line costs as much as the sound.
_TOLD_OF = 8


def sample_times(start_s: float, end_s: float, interval_s: float) -> list[float]:
    """The wanted moments of one utterance: start + k * interval, k = 0, 1, ..., before the end.

    Args:
        start_s: start of the span in seconds.
        end_s: end of the span in seconds; a moment equal to it is not taken.
        interval_s: seconds between two moments.

    Returns:
        Moments in seconds, rounded to whole microseconds.
    """
    times: list[float] = []
    while (moment := round(start_s + len(times) * interval_s, 6)) < round(end_s, 6):
        times.append(moment)
    return times


class PictureReader:
    """The pictures that were on screen at wanted times, decoded once from front to back.

    The picture on screen at t is the one with the largest presentation time <= t. Times are
    counted from the beginning of the file (the earliest of its streams). A time before the first
    picture takes the first; a time after the last picture's end gets none. Only the pictures
    that are asked for are converted to RGB and leave the decoder. Where the size of the picture
    changes in mid-stream each keeps its own, and the last one before the change may be lost.

    Args:
        path: a local media file.
        times_s: wanted times in seconds, in ascending order.
        media: the limits.
        rows: only the middle rows of each picture are given, so many of them, where the picture
            has more and as many lie above as below; None gives all.

    Attributes:
        reached_s: up to which moment the pictures that were decoded last.
        ended: whether there are no more; ``reached_s`` is then the end of the last one.
        damaged: once it has ended, whether ffmpeg met errors and went on.
    """

    def __init__(
        self, path: Path, times_s: Sequence[float], media: MediaSettings, rows: int | None = None
    ) -> None:
        self.reached_s = 0.0
        self.ended = False
        self.damaged = False
        self._path, self._media, self._rows = path, media, rows
        self._limits = [float(f"{t + _TOLERANCE_S:.6f}") for t in times_s]
        self._done, self._met = 0, False
        self._ready: deque[tuple[int, NDArray[np.uint8]]] = deque()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._gone: list[str] = []
        self._tick_s = {"each": 0.0, "shown": 0.0}
        self._process: Process | None = None
        self._stack = contextlib.ExitStack()
        # A name that the file cannot know: its metadata are on ffmpeg's stderr, too.
        self._mark = f"fv2es{secrets.token_hex(8)}"
        at = rf"\[showinfo@{self._mark}(each|shown) @ \w+\]"
        # Searched, not matched: what another thread of ffmpeg says may stand before it in a line.
        self._time_base = re.compile(rf"{at} config in time_base: (\d+)/(\d+)")
        self._shown = re.compile(rf"{at} n: *\d+ pts: *(-?\d+|NOPTS) .*? s:(\d+)x(\d+) ")

    @property
    def opened(self) -> bool:
        """Whether a decoder was started."""
        return self._process is not None

    def next(self, until_s: float = math.inf) -> tuple[int, NDArray[np.uint8]] | None:
        """The next wanted picture.

        Args:
            until_s: give up as soon as the pictures are known to last to this moment.

        Returns:
            (i, rgb): rgb, uint8 (H, W, 3), was on screen at ``times_s[i]``; i ascends. None at
            the end, or where ``until_s`` was reached before there was one.

        Raises:
            MediaError: there is no picture in the file, not a single one could be decoded, or it
                is over a limit.
        """
        while not self._ready and not self.ended and self.reached_s < until_s:
            self._read(self._start() if self._process is None else self._process)
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Stop the decoder."""
        self.ended = True
        self._ready.clear()
        self._stack.close()

    def _start(self) -> Process:
        script = tempfile.NamedTemporaryFile("w", suffix=".filter")  # noqa: SIM115  # see close
        self._stack.enter_context(script)
        script.write(_filters(self._limits, self._mark, self._rows))
        script.flush()
        stream = _sampler(self._media, script.name)
        process = Process(self._path, "picture", stream, self._media, self._hear, self._mark)
        self._process = self._stack.enter_context(contextlib.closing(process))
        self._process.check_announced()
        return self._process

    def _hear(self, line: str) -> None:
        """Hand on a line of ffmpeg's; called in the thread that listens.

        Of the pictures that only go by each eighth is told of, and always the last one before
        another line: what is known of them comes later, but it is the same.
        """
        told = self._mark in line and "time_base" not in line
        if told and " pts:" not in line:
            return
        passing = told and f"{self._mark}each" in line
        if passing:
            self._gone.append(line)
        if self._gone and (not passing or len(self._gone) == _TOLD_OF):
            self._lines.put(self._gone[-1])
            self._gone.clear()
        if not passing:
            self._lines.put(line)

    def _read(self, process: Process) -> None:
        """Take in what comes until there is a picture, news of how far they reach, or the end."""
        wanted_s = self._limits[self._done] if self._done < len(self._limits) else self.reached_s
        try:
            line = self._lines.get_nowait()
        except queue.Empty:
            with process.waiting(wanted_s):
                line = self._lines.get()
        match, data = self._shown.search(line), None
        if match is not None and match[1] == "shown":
            with process.waiting(wanted_s):
                data = process.stdout.read(int(match[3]) * int(match[4]) * 3)
        if match is not None and match[2] != "NOPTS":
            self._take(process, match, data)
        elif base := self._time_base.search(line):
            self._tick_s[base[1]] = int(base[2]) / int(base[3])
        elif not line:
            self.damaged = process.finish(wanted_s, anything=self._met)
            self.ended = True

    def _take(self, process: Process, match: re.Match[str], data: bytes | None) -> None:
        import numpy as np

        self._met = True
        until_s = int(match[2]) * self._tick_s[match[1]]
        self.reached_s = max(self.reached_s, until_s)
        if self.reached_s > (limit_s := self._media.max_duration_s):
            process.refuse(DropReason.TOO_LONG, f"goes on for more than {limit_s:g} s")
            process.finish(limit_s, anything=True)
        if data is None:
            return
        height, width = int(match[4]), int(match[3])
        after = bisect.bisect_left(self._limits, until_s)
        if len(data) == height * width * 3:
            rgb = np.frombuffer(data, np.uint8).reshape(height, width, 3)
            self._ready.extend((index, rgb) for index in range(self._done, after))
            self._done = max(self._done, after)


def frames_at(
    path: Path, times_s: Sequence[float], media: MediaSettings = DEFAULT_MEDIA
) -> Generator[tuple[int, NDArray[np.uint8]]]:
    """The picture that was on screen at each wanted time; see `PictureReader`.

    Yields:
        (i, rgb) in ascending order of i: rgb, uint8 (H, W, 3), was on screen at ``times_s[i]``.

    Raises:
        MediaError: as `PictureReader.next`.
    """
    with contextlib.closing(PictureReader(path, times_s, media)) as reader:
        while (found := reader.next()) is not None:
            yield found


def _filters(limits: Sequence[float], mark: str, rows: int | None) -> str:
    """The filter chain that lets through the picture on screen at each limit, and nothing else.

    It tells of each picture, under the time at which it leaves the screen, and again of those
    that pass: ``showinfo`` writes the lines that `PictureReader` reads.

    Whether a picture was on screen at t is known only when the next one comes. So `tblend`, with
    the weight on the picture before, hands on each picture under the time at which it leaves the
    screen, and `select` lets it pass if a limit lies before that time and was not yet served:
    register 1 counts the limits served. `tpad` repeats the last picture, to be the next of it.
    """
    # Cut after the conversion to RGB, where each pixel stands for itself.
    height = f"if(gt(ih,{rows})*not(mod(ih-{rows},2)),{rows},ih)" if rows else "ih"
    passed = f"st(0,{_count_below(limits, 0, len(limits))})"
    select = f"gt({passed},ld(1))+0*st(1,ld(0))"
    return (
        "tpad=stop=1:stop_mode=clone,tblend=all_mode=normal:all_opacity=0,"
        f"showinfo@{mark}each=checksum=0,"
        f"select='{select}',format=rgb24,crop=w=iw:h='{height}',"
        f"showinfo@{mark}shown=checksum=0"
    )


def _count_below(limits: Sequence[float], low: int, high: int) -> str:
    """An ffmpeg expression, a binary tree, for the number of limits that are below t."""
    if low == high:
        return str(low)
    middle = (low + high) // 2
    above, below = _count_below(limits, middle + 1, high), _count_below(limits, low, middle)
    return f"if(gt(t,{limits[middle]:.6f}),{above},{below})"


def _sampler(media: MediaSettings, script: str) -> object:
    option = "/filter:v" if ffmpeg_version(ffmpeg_path()) >= (7, 0) else "filter_script:v"
    return input_of("picture", media).output(
        "pipe:",
        format="rawvideo",
        pix_fmt="rgb24",
        fps_mode="passthrough",
        noautoscale=None,
        map="0:V:0",
        **{option: script},
    )
