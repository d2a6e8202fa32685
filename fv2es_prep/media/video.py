"""The pictures of a video file at given times.

Owns sampling by presentation time.
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
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError
from fv2es_prep.media.expressions import count_true
from fv2es_prep.media.ffmpeg import ffmpeg_path, ffmpeg_version, input_of
from fv2es_prep.media.packets import PacketPlan, plan_packets
from fv2es_prep.media.process import Process

if TYPE_CHECKING:
    from numpy.typing import NDArray

# A frame that starts within this of a wanted time counts as on screen: absorbs floating-point
# rounding of times.
_TOLERANCE_S = 1e-6
# Report one of this many skipped pictures: parsing every line costs as much as decoding the sound.
_REPORT_EVERY = 8
# A file that exceeds a limit would exceed it again.
_FINAL = {DropReason.TIME_LIMIT, DropReason.TOO_LONG}


def sample_times(start_s: float, end_s: float, interval_s: float) -> list[float]:
    """Sampling times in seconds: start + k * interval before the end, in whole microseconds."""
    times: list[float] = []
    while (moment := round(start_s + len(times) * interval_s, 6)) < round(end_s, 6):
        times.append(moment)
    return times


class PictureReader:
    """The pictures on screen at wanted times, in seconds, decoded once from front to back.

    The picture on screen at t is the one with the largest presentation time <= t, counted from the
    beginning of the file (the earliest of its streams). A time before the first picture takes the
    first; a time after the last picture's end gets none. Of several video streams the first that
    can be decoded is read. Only wanted pictures are converted to RGB and leave the decoder.
    Pictures that no wanted picture needs are not decoded, see `packets`; if the stream is not as
    planned, all are decoded.
    If the picture size changes mid-stream, each picture keeps its size, and the last one before
    the change may be lost.

    Args:
        path: a local media file.
        times_s: in ascending order.
        media: the limits.
        rows: return only this many middle rows of a picture that has more and equal margins above
            and below; None returns all rows.

    Attributes:
        opened: whether a decoder was started.
        reached_s: end time of the last decoded picture.
        ended: whether the end was reached; ``reached_s`` is then the end of the video.
        damaged: after the end, whether ffmpeg reported errors and went on.
    """

    def __init__(
        self, path: Path, times_s: Sequence[float], media: MediaSettings, rows: int | None = None
    ) -> None:
        self.reached_s, self.opened, self.ended, self.damaged = 0.0, False, False, False
        self._path, self._media, self._rows = path, media, rows
        self._limits = [float(f"{t + _TOLERANCE_S:.6f}") for t in times_s]
        self._done, self._met = 0, False
        self._ready: deque[tuple[int, NDArray[np.uint8]]] = deque()
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._gone: list[str] = []
        self._tick_s = {"each": 0.0, "shown": 0.0}
        self._process: Process | None = None
        self._number = 0
        self._failed: MediaError | None = None
        self._plan: PacketPlan | None = None
        self._planned: deque[int] = deque()
        self._last: NDArray[np.uint8] | None = None
        self._stack = contextlib.ExitStack()
        # A random name: the file's own metadata also appear on stderr.
        self._mark = f"fv2es{secrets.token_hex(8)}"
        at = rf"\[showinfo@{self._mark}(each|shown) @ \w+\]"
        # Searched, not matched: another ffmpeg thread may have begun the line.
        self._time_base = re.compile(rf"{at} config in time_base: (\d+)/(\d+)")
        self._shown = re.compile(rf"{at} n: *\d+ pts: *(-?\d+|NOPTS) .*? s:(\d+)x(\d+) ")

    def next(self, until_s: float = math.inf) -> tuple[int, NDArray[np.uint8]] | None:
        """The next (i, rgb): uint8 (H, W, 3) on screen at ``times_s[i]``; i ascends.

        None at the end, or as soon as the pictures are known to last until ``until_s``.

        Raises:
            MediaError: the file holds no picture, none could be decoded, or a limit is exceeded.
        """
        while not self._ready and not self.ended and self.reached_s < until_s:
            self._read(self._process or self._open())
        return self._ready.popleft() if self._ready else None

    def close(self) -> None:
        """Stop the decoder."""
        self.ended = True
        self._ready.clear()
        self._stack.close()

    def _open(self) -> Process:
        self._plan = plan_packets(self._path, self._limits, self._media)
        return self._start(0)

    def _decode_all(self) -> None:
        """Start again without a plan; pictures that were already returned are not repeated."""
        assert self._process is not None
        self._process.close()
        self._plan, self._last, self.reached_s = None, None, 0.0
        self._start(0)

    def _start(self, number: int) -> Process:
        """Start to decode a video stream; attached pictures do not count."""
        plan = self._plan
        self._lines, self._gone = queue.SimpleQueue(), []
        option = "/filter:v" if ffmpeg_version(ffmpeg_path()) >= (7, 0) else "filter_script:v"
        source: dict[str, Any] = {}
        if plan is None:
            script = self._script(_filters(self._limits, self._mark, self._rows))
        else:
            self._planned = deque(plan.wanted)
            script = self._script(_planned_filters(plan, self._mark, self._rows))
            source = {"/bsf:v": self._script(f"noise=drop='{plan.drop}'")}
        stream = input_of("picture", self._media, **source).output(
            "pipe:",
            format="rawvideo",
            pix_fmt="rgb24",
            fps_mode="passthrough",
            noautoscale=None,
            # An encoder with several threads holds back as many pictures.
            threads=1,
            map=f"0:V:{number}",
            **{option: script},
        )
        process = Process(self._path, "picture", stream, self._media, self._hear, self._mark)
        self._process, self._number = self._stack.enter_context(contextlib.closing(process)), number
        self.opened = True
        self._process.check_announced()
        return self._process

    def _script(self, text: str) -> str:
        """Write a file that ffmpeg reads an option from: on a command line it would be too long."""
        script = tempfile.NamedTemporaryFile("w", suffix=".filter")  # noqa: SIM115  # see close
        self._stack.enter_context(script)
        script.write(text)
        script.flush()
        return script.name

    def _finish(self, process: Process, wanted_s: float) -> None:
        try:
            self.damaged = process.finish(wanted_s, anything=self._met)
            if self._plan is not None and (self.damaged or not self._reached_all(self._plan)):
                self._decode_all()
                return
            if self._last is not None:
                self._show(self._last, self.reached_s)
            self.ended = True
        except MediaKilledError:
            raise
        except MediaError as error:
            if self._plan is not None and error.reason not in _FINAL:
                self._decode_all()
                return
            if self._failed is not None and error.reason == DropReason.NO_VIDEO_STREAM:
                raise self._failed from None
            if error.reason != DropReason.UNDECODABLE_VIDEO or not process.opened:
                raise
            self._failed = self._failed or error
            self._start(self._number + 1)

    def _reached_all(self, plan: PacketPlan) -> bool:
        """Whether every wanted picture was read, and the end, if the plan knows it."""
        ended = plan.last is None or self.reached_s > plan.last * plan.tick_s
        return ended and not self._planned

    def _hear(self, line: str) -> None:
        """Pass a line of ffmpeg to the reader; runs in the listener thread.

        Passes every eighth of the skipped pictures, and the last one before another line.
        """
        told = self._mark in line and "time_base" not in line
        if told and " pts:" not in line:
            return
        passing = told and f"{self._mark}each" in line
        if passing:
            self._gone.append(line)
        if self._gone and (not passing or len(self._gone) == _REPORT_EVERY):
            self._lines.put(self._gone[-1])
            self._gone.clear()
        if not passing:
            self._lines.put(line)

    def _read(self, process: Process) -> None:
        """Process one line of ffmpeg: a wanted picture, a skipped picture, or the end."""
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
            if self._plan is not None and self._tick_s[base[1]] != self._plan.tick_s:
                self._decode_all()
        elif not line:
            self._finish(process, wanted_s)

    def _take(self, process: Process, match: re.Match[str], data: bytes | None) -> None:
        self._met, time = True, int(match[2])
        until_s = time * self._tick_s[match[1]]
        self.reached_s = max(self.reached_s, until_s)
        if self.reached_s > (limit_s := self._media.max_duration_s):
            process.refuse(DropReason.TOO_LONG, f"is longer than {limit_s:g} s")
            process.finish(limit_s, anything=True)
        if data is None:
            return
        height, width = int(match[4]), int(match[3])
        if len(data) != height * width * 3:
            return
        rgb = np.frombuffer(data, np.uint8).reshape(height, width, 3)
        if self._plan is None:
            self._show(rgb, until_s)
        elif self._plan.last is not None and time > self._plan.last:
            # The copy of the last picture; its time is the end of the video.
            pass
        elif process.damaged or not self._planned or time != self._planned[0]:
            # What replaces a damaged picture may depend on pictures that were dropped.
            self._decode_all()
        elif (following := self._plan.wanted[self._planned.popleft()]) is None:
            # The time at which it leaves the screen is known at the end.
            self._last = rgb
        else:
            self._show(rgb, following * self._plan.tick_s)

    def _show(self, rgb: NDArray[np.uint8], until_s: float) -> None:
        """Return a picture for each wanted time before ``until_s``."""
        after = bisect.bisect_left(self._limits, until_s)
        self._ready.extend((index, rgb) for index in range(self._done, after))
        self._done = max(self._done, after)


def _filters(limits: Sequence[float], mark: str, rows: int | None) -> str:
    """The filter chain that passes only the picture on screen at each limit.

    Whether a picture was on screen at t is known only when the next picture arrives. So `tblend`,
    with its weight on the previous picture, emits each picture at the time at which it leaves the
    screen, and `select` passes it if an unserved limit lies before that time (register 1 counts
    served limits). `tpad` repeats the last picture as its own successor. `PictureReader` parses
    the lines that ``showinfo`` prints for each picture, and again for each that passes.
    """
    passed = f"st(0,{count_true([f'gt(t,{limit:.6f})' for limit in limits])})"
    return (
        "tpad=stop=1:stop_mode=clone,tblend=all_mode=normal:all_opacity=0,"
        f"showinfo@{mark}each=checksum=0,"
        f"select='gt({passed},ld(1))+0*st(1,ld(0))',{_output(mark, rows)}"
    )


def _planned_filters(plan: PacketPlan, mark: str, rows: int | None) -> str:
    """The filter chain that passes the pictures of a plan.

    Each is passed when it is decoded: the plan knows when the next picture arrives. Of other
    pictures only the end is needed: the copy that `tpad` adds is passed, too. If the plan does not
    know the last picture, ``showinfo`` prints a line for each picture instead.
    """
    times = [*plan.wanted] if plan.last is None else [*plan.wanted, plan.last + 1]
    passed = f"st(0,{count_true([f'gte(pts,{time})' for time in times])})"
    each = f"showinfo@{mark}each=checksum=0," if plan.last is None else ""
    return (
        f"tpad=stop=1:stop_mode=clone,{each}"
        f"select='gt({passed},ld(1))+0*st(1,ld(0))',{_output(mark, rows)}"
    )


def _output(mark: str, rows: int | None) -> str:
    """The conversion to RGB; cropped afterwards, because pixels are then independent."""
    height = f"if(gt(ih,{rows})*not(mod(ih-{rows},2)),{rows},ih)" if rows else "ih"
    return f"format=rgb24,crop=w=iw:h='{height}',showinfo@{mark}shown=checksum=0"
