"""The pictures on which detectors are compared, from the material and from real videos.

Owns their origin and their files. Leaves detection to `detection`.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.material import iemocap_shaped, mosei_shaped
from fv2es_prep.config import DEFAULT_MEDIA
from fv2es_prep.errors import MediaError
from fv2es_prep.media.video import PictureReader
from fv2es_prep.media.view import centre_square, cut_view
from fv2es_prep.types import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from benchmarks.bench import Bench

    Picture = NDArray[np.uint8]

INTERVAL_S = 0.5
VIDEOS = {
    ".3gp", ".avi", ".flv", ".m4v", ".mkv", ".mov", ".mp4", ".mpeg", ".mpg", ".mts", ".ogv", ".ts",
    ".webm", ".wmv",
}  # fmt: skip
_VIEW_PX, _TALK_PX = 224, 720
# Real pictures of at least this height are timed as a set of their own.
_LARGE_PX = 700
_ENLARGED = ((720, 720), (1280, 720), (1920, 1080))


@dataclass(frozen=True)
class Clip:
    """Pictures of one size from one video.

    Attributes:
        file: name of the video.
        times_s: time of each picture in seconds.
        path: path of the array, uint8 (N, H, W, 3).
    """

    file: str
    times_s: tuple[float, ...]
    path: Path

    def load(self) -> NDArray[np.uint8]:
        """Map the pictures into memory."""
        pictures: NDArray[np.uint8] = np.load(self.path, mmap_mode="r")
        return pictures


@dataclass(frozen=True)
class Amounts:
    """Numbers of pictures.

    Attributes:
        each: pictures of each set from the material.
        clips: number of real videos, evenly taken from all available ones.
        per_clip: pictures of each real video.
        timed: pictures of each set for timing; all pictures are used for agreement.
    """

    each: int
    clips: int
    per_clip: int
    timed: int


QUICK = Amounts(each=96, clips=12, per_clip=8, timed=24)
FULL = Amounts(each=600, clips=100, per_clip=20, timed=96)


def collect(bench: Bench, folder: Path) -> tuple[dict[str, list[Clip]], list[str]]:
    """Sample all sets and write their arrays.

    Args:
        bench: the run.
        folder: directory for the arrays.

    Returns:
        Name of a set -> its clips; and a sentence for each unreadable video.
    """
    amounts = QUICK if bench.quick else FULL
    dialogues = iemocap_shaped(bench.out, bench.dialogue_s, bench.recordings)
    talks = mosei_shaped(bench.out, bench.talk_s, bench.recordings)
    videos = sorted(dialogues.glob("Session[12]/dialog/avi/DivX/*.avi"))
    heads = sorted((talks / "video").glob("*.mp4"))[:2]
    # The widest pictures take longest, so there are fewer of them.
    each, few = amounts.each // len(videos), amounts.each // 4 // len(heads)
    sets = {
        "halves 360x480": _sample(videos, each, _half(None), folder / "halves"),
        "crops 224x224": _sample(videos, each, _half(_VIEW_PX), folder / "crops"),
        "heads 720x720": _sample(heads, few, lambda _, rgb: _square(rgb), folder / "heads"),
    }
    skipped: list[str] = []
    if bench.media is not None:
        found = sorted(p for p in bench.media.rglob("*") if p.suffix.lower() in VIDEOS)
        step = max(math.ceil(len(found) / amounts.clips), 1)
        real = _sample(
            found[::step], amounts.per_clip, lambda _, rgb: rgb, folder / "real", skipped
        )
        large = [clip for clip in real if clip.load().shape[1] >= _LARGE_PX]
        if large:
            sets[f"real clips of {_LARGE_PX} lines or more"] = large
        if real:
            sets["real clips"] = real
            sets.update(_enlarged(real, folder))
        else:
            skipped.append(f"{bench.media} contains no readable video")
    return sets, skipped


def _enlarged(clips: Sequence[Clip], folder: Path) -> dict[str, list[Clip]]:
    """One picture of every clip, enlarged: real content at sizes of which there are few clips."""
    sets = {}
    for width, height in _ENLARGED:
        name = f"enlarged to {width}x{height}"
        (folder / name).mkdir()
        sets[name] = [
            Clip(clip.file, clip.times_s[-1:], folder / name / f"{number:04d}.npy")
            for number, clip in enumerate(clips)
        ]
        for clip, made in zip(clips, sets[name], strict=True):
            np.save(made.path, _cover(clip.load()[-1], width, height)[None])
    return sets


def _cover(rgb: Picture, width: int, height: int) -> Picture:
    """Scale a picture until it covers a size, and cut the middle of it."""
    import cv2

    scale = max(width / rgb.shape[1], height / rgb.shape[0])
    size = math.ceil(rgb.shape[1] * scale), math.ceil(rgb.shape[0] * scale)
    scaled = cv2.resize(rgb, size, interpolation=cv2.INTER_CUBIC)
    top, left = (size[1] - height) // 2, (size[0] - width) // 2
    return scaled[top : top + height, left : left + width].astype(np.uint8, copy=False)


def timed_part(clips: Sequence[Clip], count: int) -> list[tuple[Clip, int]]:
    """Select the pictures for timing: equally many of each clip, from its start."""
    share = max(math.ceil(count / max(len(clips), 1)), 1)
    return [(clip, min(share, len(clip.times_s))) for clip in clips]


def _half(side_px: int | None) -> Callable[[int, Picture], Picture]:
    """Cut the left half of even-numbered pictures, and the right half of the others."""
    views = (View("left", side_px), View("right", side_px))
    return lambda number, rgb: cut_view(rgb, views[number % 2])


def _square(rgb: Picture) -> Picture:
    return centre_square(rgb, _TALK_PX)


def _sample(
    videos: Sequence[Path],
    count: int,
    cut: Callable[[int, Picture], Picture],
    folder: Path,
    skipped: list[str] | None = None,
) -> list[Clip]:
    folder.mkdir()
    clips: list[Clip] = []
    for video in videos:
        try:
            groups = list(_by_shape(_pictures(video, count, cut)))
        except MediaError as error:
            if skipped is None:
                raise
            skipped.append(f"{video.name} was skipped: {error.sentence}")
            continue
        for times, pictures in groups:
            path = folder / f"{len(clips):04d}.npy"
            np.save(path, np.stack(pictures))
            clips.append(Clip(video.name, tuple(times), path))
    return clips


def _pictures(
    video: Path, count: int, cut: Callable[[int, Picture], Picture]
) -> Iterator[tuple[float, Picture]]:
    times = [INTERVAL_S * number for number in range(count)]
    with contextlib.closing(PictureReader(video, times, DEFAULT_MEDIA)) as reader:
        while (found := reader.next()) is not None:
            yield times[found[0]], cut(*found)


def _by_shape(
    pictures: Iterator[tuple[float, Picture]],
) -> Iterator[tuple[list[float], list[Picture]]]:
    """Group pictures by size, because a video may change its size."""
    times: list[float] = []
    held: list[Picture] = []
    for time_s, rgb in pictures:
        if held and rgb.shape != held[0].shape:
            yield times, held
            times, held = [], []
        times.append(time_s)
        held.append(rgb)
    if held:
        yield times, held
