"""The packets of an H.264 stream that wanted pictures do not need.

Owns their choice, from a pass over the file that decodes nothing. `video` decodes the rest.
"""

from __future__ import annotations

import bisect
import contextlib
import itertools
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError
from fv2es_prep.media.expressions import count_true
from fv2es_prep.media.ffmpeg import ENVIRONMENT, ffmpeg_path, ffmpeg_version, input_of
from fv2es_prep.media.process import Process

# Decoding less of a video costs less than the pass.
_SHORTEST_S = 5.0
# The first version that is known to filter packets before it decodes them.
_OLDEST = (8, 0)
# The pass ends when packets are this much later than the last wanted picture.
_MARGIN_S = 10.0
# More packets than ten hours of video have; a hostile file can state any number.
_MOST = 4_000_000
# The last packets are kept: the end of the video is that of its last picture.
_KEPT_AT_END = 32
# Flags of a packet that decodes as usual: none, key frame, disposable.
_USUAL_FLAGS = {0x00, 0x01, 0x10, 0x11}
_READ_BYTES = 1 << 16
_ALL, _REFERENCES, _RESTARTS, _HEADERS = "0", "1", "2", "3"
# Each filter leaves the packets that contain a unit of its kind: slices of reference pictures,
# slices of IDR pictures (no later picture depends on an earlier one), parameter sets.
_FILTERS = {
    _REFERENCES: "filter_units=discard=nonref",
    _RESTARTS: "filter_units=pass_types=5",
    _HEADERS: "filter_units=pass_types=7-8|13|15",
}


@dataclass(frozen=True)
class PacketPlan:
    """The packets to drop before decoding.

    Attributes:
        drop: an ffmpeg expression of ``n``, the number of a packet; 1 drops the packet.
        tick_s: seconds per unit of ``wanted``.
        wanted: presentation time of each wanted picture, ascending -> that of the next picture;
            None if there is no next picture.
        last: presentation time of the last picture; None if the pass ended before the file.
    """

    drop: str
    tick_s: float
    wanted: dict[int, int | None]
    last: int | None


@dataclass
class _Packets:
    """Packets in decoding order.

    Attributes:
        times: decoding time -> presentation time.
        references: decoding times of reference pictures.
        restarts: decoding times of IDR pictures.
        headers: decoding time and checksum of the parameter sets in packets.
        tick_s: seconds per unit of time.
        whole: whether these are all of the file.
    """

    times: dict[int, int] = field(default_factory=dict)
    references: set[int] = field(default_factory=set)
    restarts: set[int] = field(default_factory=set)
    headers: list[tuple[int, str]] = field(default_factory=list)
    tick_s: float = 0.0
    whole: bool = False


class _UnusualError(Exception):
    """The stream is not one that this module understands."""


def plan_packets(path: Path, limits: Sequence[float], media: MediaSettings) -> PacketPlan | None:
    """Choose the packets that the pictures on screen at ``limits`` do not need.

    Dropped are pictures that no other picture refers to, and the pictures between the last wanted
    one and the next IDR picture. None if all packets must be decoded: only the first seconds are
    wanted, the codec is not H.264, ``FV2ES_FFMPEG`` is set, a limit is exceeded, or the stream is
    unusual or damaged.

    Args:
        path: a local media file.
        limits: in ascending order, seconds.
        media: the limits.

    Raises:
        MediaError: the time limit is exceeded.
        MediaKilledError: ffmpeg was killed from outside.
    """
    if not limits or limits[-1] < _SHORTEST_S or os.environ.get(ENVIRONMENT):
        return None
    if ffmpeg_version(ffmpeg_path()) < _OLDEST:
        return None
    try:
        packets = _read(path, limits[-1], media)
        return _choose(packets, limits)
    except MediaKilledError:
        raise
    except MediaError as error:
        # The decoder reports it, unless that means to wait a second time.
        if error.reason == DropReason.TIME_LIMIT:
            raise
        return None
    except _UnusualError:
        return None


def _read(path: Path, last_s: float, media: MediaSettings) -> _Packets:
    import ffmpeg

    options = {f"bsf:v:{number}": text for number, text in _FILTERS.items()}
    pictures = [input_of("picture", media)["V:0"]] * (1 + len(_FILTERS))
    stream = ffmpeg.output(
        *pictures, "pipe:", format="framecrc", c="copy", copyinkf=None, **options
    )
    packets = _Packets()
    with contextlib.closing(Process(path, "picture", stream, media)) as process:
        process.check_announced()
        for line in _lines(process, last_s):
            if line.startswith("#"):
                _note_header(packets, line)
                continue
            at = _note_packet(packets, line)
            if len(packets.times) > _MOST:
                raise _UnusualError
            if at * packets.tick_s > last_s + _MARGIN_S:
                return packets
        if process.finish(last_s, anything=True) or process.wait(last_s):
            raise _UnusualError
    packets.whole = True
    return packets


def _lines(process: Process, until_s: float) -> Iterator[str]:
    begun = b""
    while True:
        with process.waiting(until_s):
            data = process.stdout.read1(_READ_BYTES)
        if not data:
            return
        *lines, begun = (begun + data).split(b"\n")
        for line in lines:
            yield line.decode("ascii", "replace")


def _note_header(packets: _Packets, line: str) -> None:
    if line.startswith("#tb 0: "):
        over, under = line[7:].split("/")
        packets.tick_s = int(over) / int(under)
    if line.startswith("#codec_id 0: ") and line != "#codec_id 0: h264":
        raise _UnusualError


def _note_packet(packets: _Packets, line: str) -> int:
    """Note a line ``stream, dts, pts, duration, size, checksum[, F=flags][, S=...]``; its dts."""
    stream, dts, pts, _, _, checksum, *rest = (part.strip() for part in line.split(","))
    try:
        at, shown = int(dts), int(pts)
        flags = int(rest.pop(0)[2:], 0) if rest and rest[0].startswith("F=") else 1
    except ValueError as error:  # a packet without a time
        raise _UnusualError from error
    if flags not in _USUAL_FLAGS or any("MPEGTS Stream ID" not in part for part in rest[1:2]):
        raise _UnusualError
    if stream == _ALL:
        if packets.times and at <= next(reversed(packets.times)):
            raise _UnusualError
        packets.times[at] = shown
    elif stream == _REFERENCES:
        packets.references.add(at)
    elif stream == _RESTARTS:
        packets.restarts.add(at)
    else:
        packets.headers.append((at, checksum))
    return at


def _choose(packets: _Packets, limits: Sequence[float]) -> PacketPlan:
    shown = list(packets.times.values())
    times = sorted(shown)
    if not times or len(set(times)) < len(times) or not packets.tick_s:
        raise _UnusualError
    _check(packets, shown)
    seconds = [time * packets.tick_s for time in times]
    numbers = {max(bisect.bisect_right(seconds, limit) - 1, 0) for limit in limits}
    following = [*times[1:], None]
    wanted = {times[i]: following[i] for i in sorted(numbers)}
    drop = _dropped(packets, set(wanted))
    last = times[-1] if packets.whole else None
    return PacketPlan(_expression(drop), packets.tick_s, wanted, last)


def _check(packets: _Packets, shown: Sequence[int]) -> None:
    """Raise _UnusualError unless IDR pictures part the stream, with equal parameter sets."""
    first = next(iter(packets.times))
    sets = {checksum for _, checksum in packets.headers}
    if len(sets) > 1 or (packets.headers and packets.headers[0][0] != first):
        raise _UnusualError
    if first not in packets.restarts:
        raise _UnusualError
    begun = latest = shown[0]
    for at, time in packets.times.items():
        if at in packets.restarts:
            begun = time
        if time < begun or (at in packets.restarts and time < latest):
            raise _UnusualError
        latest = max(latest, time)


def _dropped(packets: _Packets, wanted: set[int]) -> list[bool]:
    """Whether to drop each packet, in decoding order."""
    order = list(packets.times.items())
    begins = [i for i, (at, _) in enumerate(order) if at in packets.restarts]
    drop = [
        at not in packets.references and time not in wanted and i < len(order) - _KEPT_AT_END
        for i, (at, time) in enumerate(order)
    ]
    for begin, end in itertools.pairwise(begins):
        if end > len(order) - _KEPT_AT_END:
            break
        needed = [i for i in range(begin, end) if order[i][1] in wanted]
        after = needed[-1] + 1 if needed else begin
        drop[after:end] = [True] * (end - after)
    # The first packet opens the decoder.
    drop[0] = False
    return drop


def _expression(drop: Sequence[bool]) -> str:
    """An ffmpeg expression: 1 if packet number ``n`` is dropped."""
    # The last packets are kept, so that the last run of dropped packets ends.
    runs = itertools.pairwise([False, *drop])
    changes = [f"gte(n,{i})" for i, (before, now) in enumerate(runs) if now != before]
    return count_true(changes, lambda count: count % 2)
