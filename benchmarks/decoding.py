"""CPU seconds for a minute of video of each way to decode it: `python -m benchmarks.decoding`.

The ways take turns in one run. The baseline is ffmpeg, which decodes everything on one thread and
discards it. Ours returns the picture of every half second, and all other ways must return the same.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import hashlib
import resource
import statistics
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from unittest import mock

from benchmarks.material import iemocap_shaped, mosei_shaped
from benchmarks.timing import decode_to_null

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Found = Iterator[tuple[int, NDArray[np.uint8]]]

_SECONDS, _RECORDINGS, _INTERVAL_S = 100.0, 4, 0.5
_SPARSE_S = 7.5


def ours(video: Path, times: list[float], *, everything: bool) -> Found:
    """Our reader, with or without the choice of packets."""
    from fv2es_prep.config import DEFAULT_MEDIA
    from fv2es_prep.media import video as media

    chosen = media.plan_packets
    with (
        mock.patch.object(media, "plan_packets", (lambda *_: None) if everything else chosen),
        contextlib.closing(media.PictureReader(video, times, DEFAULT_MEDIA)) as reader,
    ):
        yield from iter(reader.next, None)


def pyav(video: Path, times: list[float]) -> Found:
    """PyAV in this process: decode all on one thread, convert the wanted ones."""
    import av

    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        stream.codec_context.thread_count = 1
        index, before = 0, None
        for frame in file.decode(stream):
            while before is not None and index < len(times) and frame.time > times[index] + 1e-6:
                yield index, before.to_ndarray(format="rgb24")
                index += 1
            before = frame
        while before is not None and index < len(times):
            yield index, before.to_ndarray(format="rgb24")
            index += 1


def torchcodec(video: Path, times: list[float]) -> Found:
    """Use torchcodec in this process, on one thread, 32 pictures at a time."""
    from torchcodec.decoders import VideoDecoder

    decoder = VideoDecoder(str(video), num_ffmpeg_threads=1, dimension_order="NHWC")
    for begin in range(0, len(times), 32):
        some = [time + 1e-6 for time in times[begin : begin + 32]]
        data = decoder.get_frames_played_at(some).data.numpy()
        yield from enumerate(data, begin)


def cpu_s() -> float:
    """CPU seconds of this process and its ended children."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(video: Path, times: list[float], rounds: int) -> list[str]:
    """One line per way: CPU seconds per minute, the ratio to the null decode, whether equal."""
    ways: dict[str, Callable[[Path, list[float]], Found]] = {
        "decode all": functools.partial(ours, everything=True),
        "fv2es": functools.partial(ours, everything=False),
        "PyAV, all pictures": pyav,
        "torchcodec": torchcodec,
    }
    took: dict[str, list[float]] = {name: [] for name in ("null decode", *ways)}
    digests: dict[str, str] = {}
    missing: set[str] = set()
    for _ in range(rounds):
        began = cpu_s()
        decode_to_null(video)
        took["null decode"].append(cpu_s() - began)
        for name, way in ways.items():
            if name in missing:
                continue
            began = cpu_s()
            try:
                found = list(way(video, times))
            except (ImportError, RuntimeError):  # torchcodec without FFmpeg's libraries
                missing.add(name)
                continue
            took[name].append(cpu_s() - began)
            digests[name] = _digest(found)
    floor = statistics.median(took["null decode"])
    lines = []
    for name, seconds in took.items():
        if not seconds:
            lines.append(f"{name:20} not measured")
            continue
        middle = statistics.median(seconds)
        equal = {None: "", digests["decode all"]: "equal"}.get(digests.get(name), "DIFFERENT")
        per_minute = 60 * middle / _SECONDS
        lines.append(f"{name:20} {per_minute:6.2f} CPU s/min {middle / floor:6.2f}  {equal}")
    return lines


def _digest(found: list[tuple[int, NDArray[np.uint8]]]) -> str:
    digest = hashlib.sha256()
    for index, rgb in found:
        digest.update(f"{index} {rgb.shape}".encode())
        digest.update(rgb.tobytes())
    return digest.hexdigest()


def main() -> int:
    """Measure both shapes of material."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.decoding", description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/bench"))
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    out = options.out.absolute()
    films = {
        "MOSEI-shaped": mosei_shaped(out, _SECONDS, _RECORDINGS) / "video/talk01.mp4",
        "IEMOCAP-shaped": next(iemocap_shaped(out, _SECONDS, _RECORDINGS).rglob("*.avi")),
    }
    for name, video in films.items():
        for interval_s in (_INTERVAL_S, _SPARSE_S):
            count = int(_SECONDS / interval_s)
            times = [0.25 + interval_s * i for i in range(count)]
            print(f"{name}, a picture each {interval_s:g} s")
            print(*measure(video, times, options.rounds), "", sep="\n", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
