"""Whether two face detectors choose the same face: views of every n-th picture of real videos.

Run: python -m benchmarks.agreement FOLDER [--every 3] [--detectors exact fast]

The first detector is the reference. A face is the same if no edge of its box is off by more than
0.01 px, and the crop if its bytes are equal.
"""

from __future__ import annotations

import argparse
import contextlib
import itertools
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
import torch

from benchmarks.detection import overlap
from benchmarks.ours import face_settings
from benchmarks.pictures import VIDEOS
from fv2es_prep.config import DEFAULT_MEDIA
from fv2es_prep.detectors.detector import Face, FaceDetector
from fv2es_prep.errors import MediaError
from fv2es_prep.media.video import PictureReader
from fv2es_prep.media.view import centre_square, cut_view
from fv2es_prep.types import View

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Picture = NDArray[np.uint8]

# Seconds between the pictures that are counted, and their largest number per video.
_INTERVAL_S, _MOST = 1 / 25, 3000
_SAME_PX, _SAME_IOU = 0.01, 0.9
_COLUMNS = ("pictures", "faces", "other box", "IoU < 0.9", "only one found", "other crop")


def main() -> None:
    """Print a table of docs/performance.md, and each difference on stderr."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--every", type=int, default=3, help="take every n-th picture")
    parser.add_argument("--detectors", nargs=2, default=("exact", "fast"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    detectors = [FaceDetector(face_settings(name)) for name in options.detectors]
    counts: dict[str, Counter[str]] = {}
    videos = 0
    for video in sorted(p for p in options.folder.rglob("*") if p.suffix.lower() in VIDEOS):
        pictures = 0
        for time_s, rgb in _pictures(video, options.every):
            for view, seen in _views(rgb):
                one, other = (detector.largest([seen])[0] for detector in detectors)
                found = _differences(one, other)
                counts.setdefault(view, Counter()).update(found)
                if found & {"other box", "other crop"}:
                    print(video.name, f"{time_s:.2f} s", view, _words(one), _words(other),
                          file=sys.stderr, flush=True)  # fmt: skip
            pictures += 1
        videos += pictures > 0
    print(f"{videos} videos")
    print("| view | " + " | ".join(_COLUMNS) + " |")
    counts["all"] = sum(counts.values(), Counter())
    for view, number in counts.items():
        print(f"| {view} | " + " | ".join(str(number[name]) for name in _COLUMNS) + " |")


def _pictures(video: Path, every: int) -> Iterator[tuple[float, Picture]]:
    times = [_INTERVAL_S * number for number in range(0, _MOST, every)]
    # An unreadable video has no pictures; a broken one has those before the fault.
    with (
        contextlib.suppress(MediaError),
        contextlib.closing(PictureReader(video, times, DEFAULT_MEDIA)) as reader,
    ):
        while (found := reader.next()) is not None:
            yield times[found[0]], found[1]


def _views(rgb: Picture) -> Iterator[tuple[str, Picture]]:
    """What preparation may see of a picture, at least 20 pixels wide and high."""
    height, width = rgb.shape[:2]
    cuts: dict[str, Callable[[], Picture]] = {
        "whole": lambda: rgb,
        "left half": lambda: cut_view(rgb, View("left", None)),
        "right half": lambda: cut_view(rgb, View("right", None)),
        "central square": lambda: centre_square(rgb, min(height, width)),
        "central 224x224": lambda: centre_square(rgb, 224),
        "half the size": lambda: _scaled(rgb, 0.5),
        "twice the size": lambda: _scaled(rgb, 2),
    }
    for name, cut in cuts.items():
        if name != "central 224x224" or min(height, width) > 224:
            yield name, cut()


def _scaled(rgb: Picture, factor: float) -> Picture:
    how = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
    scaled = cv2.resize(rgb, None, fx=factor, fy=factor, interpolation=how)
    return scaled.astype(np.uint8, copy=False)


def _differences(one: Face, other: Face) -> set[str]:
    """Names of columns in which this view counts."""
    off_px = float(np.abs(one.box - other.box).max())
    names = {
        "pictures": True,
        "faces": one.found,
        "other box": off_px > _SAME_PX,
        "IoU < 0.9": overlap(one.box.tolist(), other.box.tolist()) < _SAME_IOU,
        "only one found": one.found != other.found,
        "other crop": not np.array_equal(one.rgb, other.rgb),
    }
    return set(itertools.compress(names, names.values()))


def _words(face: Face) -> str:
    edges = " ".join(f"{edge:.2f}" for edge in face.box)
    return f"[{edges}] {face.prob:.4f}" if face.found else "no face"


if __name__ == "__main__":
    main()
