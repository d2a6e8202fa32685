"""From a video file to the pictures that were on screen at wanted times, and to a speaker's view.

Owns sampling by presentation time and the cutting of views. Leaves faces to `faces`.
"""

from __future__ import annotations

import bisect
import queue
import re
import tempfile
from collections.abc import Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fv2es_prep.errors import DropReason, MediaError
from fv2es_prep.media.ffmpeg import Process, ffmpeg_path, ffmpeg_version, input_of, running
from fv2es_prep.types import View

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_SHOWN = re.compile(r"\[\S*showinfo\S* @ \w+\] n: *(\d+) pts: *(-?\d+) .*? s:(\d+)x(\d+) ")
_TIME_BASE = re.compile(r"\[\S*showinfo\S* @ \w+\] config in time_base: (\d+)/(\d+)")
# A frame that starts within this of a wanted time counts as on screen: it absorbs the rounding of
# times that were computed in binary floating point.
_TOLERANCE_S = 1e-6


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


def frames_at(path: Path, times_s: Sequence[float]) -> Generator[tuple[int, NDArray[np.uint8]]]:
    """Decode a file once and give the picture that was on screen at each wanted time.

    The picture on screen at t is the one with the largest presentation time <= t. Times are
    counted from the beginning of the file (the earliest of its streams). A time before the first
    picture takes the first; a time after the last picture's end gets none. Only the pictures
    that are asked for are converted to RGB and leave the decoder.

    Args:
        path: a local media file.
        times_s: wanted times in seconds, in ascending order.

    Yields:
        (i, rgb) in ascending order of i: rgb, uint8 (H, W, 3), was on screen at ``times_s[i]``.

    Raises:
        MediaError: there is no picture in the file, or not a single one could be decoded.
    """
    limits = [float(f"{t + _TOLERANCE_S:.6f}") for t in times_s]
    lines: queue.SimpleQueue[str] = queue.SimpleQueue()
    with tempfile.NamedTemporaryFile("w", suffix=".filter") as script:
        script.write(_filters(limits))
        script.flush()
        with running(path, _sampler(path, script.name), lines.put) as process:
            done = 0
            for until_s, rgb in _shown(process, lines):
                after = bisect.bisect_left(limits, until_s)
                for index in range(done, after):
                    yield index, rgb
                done = after
            if process.finish() != 0 and done == 0:
                raise _failure(path, process)


def _filters(limits: Sequence[float]) -> str:
    """The filter chain that lets through the picture on screen at each limit, and nothing else.

    Whether a picture was on screen at t is known only when the next one comes. So `tblend`, with
    the weight on the picture before, hands on each picture under the time at which it leaves the
    screen, and `select` lets it pass if a limit lies before that time and was not yet served:
    register 1 counts the limits served. `tpad` repeats the last picture, to be the next of it.
    """
    passed = f"st(0,{_count_below(limits, 0, len(limits))})"
    select = f"gt({passed},ld(1))+0*st(1,ld(0))"
    return (
        "tpad=stop=1:stop_mode=clone,tblend=all_mode=normal:all_opacity=0,"
        f"select='{select}',format=rgb24,showinfo=checksum=0"
    )


def _count_below(limits: Sequence[float], low: int, high: int) -> str:
    """An ffmpeg expression, a binary tree, for the number of limits that are below t."""
    if low == high:
        return str(low)
    middle = (low + high) // 2
    above, below = _count_below(limits, middle + 1, high), _count_below(limits, low, middle)
    return f"if(gt(t,{limits[middle]:.6f}),{above},{below})"


def _sampler(path: Path, script: str) -> object:
    option = "/filter:v" if ffmpeg_version(ffmpeg_path()) >= (7, 0) else "filter_script:v"
    return input_of(path).output(
        "pipe:",
        format="rawvideo",
        pix_fmt="rgb24",
        fps_mode="passthrough",
        map="0:V:0",
        **{option: script},
    )


def _shown(
    process: Process, lines: queue.SimpleQueue[str]
) -> Iterator[tuple[float, NDArray[np.uint8]]]:
    """Each picture that leaves the decoder with the time in seconds at which it left the screen."""
    import numpy as np

    tick_s, expected = 0.0, 0
    while line := lines.get():
        # Searched, not matched: what another thread of ffmpeg says may stand before it in the line.
        if match := _TIME_BASE.search(line):
            tick_s = int(match[1]) / int(match[2])
        elif match := _SHOWN.search(line):
            number, pts, width, height = map(int, match.groups())
            assert number == expected, f"picture {number} came where {expected} was due"
            expected += 1
            data = process.stdout.read(width * height * 3)
            if len(data) < width * height * 3:
                return
            yield pts * tick_s, np.frombuffer(data, np.uint8).reshape(height, width, 3)


def _failure(path: Path, process: Process) -> MediaError:
    none = process.lacks_stream()
    reason = DropReason.NO_VIDEO_STREAM if none else DropReason.UNDECODABLE_VIDEO
    found = "holds no picture" if none else "cannot be decoded"
    return MediaError(
        f"{path.name} {found}: {process.last_words()}",
        reason,
        "play the file to see if it is whole",
    )


def cut_view(rgb: NDArray[np.uint8], view: View) -> NDArray[np.uint8]:
    """The part of a picture that shows the speaker.

    The picture is split at ``width // 2``; a square is cut from the centre of that half, padded
    with black where the half is smaller than the square.

    Args:
        rgb: uint8 (H, W, 3).
        view: which half, and the side of the square in pixels.

    Returns:
        uint8 (crop_px, crop_px, 3), or the whole half where ``crop_px`` is None; a copy.
    """
    middle = rgb.shape[1] // 2
    columns = {"left": slice(0, middle), "right": slice(middle, None), "full": slice(None)}
    half = rgb[:, columns[view.half]]
    return half.copy() if view.crop_px is None else centre_square(half, view.crop_px)


def centre_square(rgb: NDArray[np.uint8], side_px: int) -> NDArray[np.uint8]:
    """The square in the middle of a picture, padded with black where the picture is smaller.

    Args:
        rgb: uint8 (H, W, 3).
        side_px: side of the square.

    Returns:
        uint8 (side_px, side_px, 3), a copy.
    """
    import torch
    from torchvision.transforms.functional import center_crop

    planes = torch.tensor(rgb).permute(2, 0, 1)
    square: NDArray[np.uint8] = center_crop(planes, [side_px, side_px]).permute(1, 2, 0).numpy()
    return square.copy(order="C")
