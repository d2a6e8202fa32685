"""Decoding only what wanted pictures need gives what decoding everything gives."""

from __future__ import annotations

import contextlib
import dataclasses
import re
from pathlib import Path

import numpy as np
import psutil
import pytest

from fv2es_prep.config import DEFAULT_MEDIA
from fv2es_prep.errors import DropReason, MediaError, MediaKilledError
from fv2es_prep.media import video
from fv2es_prep.media.ffmpeg import ENVIRONMENT, ffmpeg_path
from fv2es_prep.media.packets import PacketPlan, plan_packets
from fv2es_prep.media.video import PictureReader, sample_times
from tests.prep.conftest import frames_at
from tests.prep.test_hostile import MPEG4, X264, encode, picture

SECONDS = 6
NOISY = picture("160x120", seconds=SECONDS) + ",noise=alls=20:allf=t"
B = {**X264, "bf": 3, "g": 40}
PLANNED = {
    "b-frames": ("a.mp4", NOISY, B),
    "pyramid": ("a.mkv", NOISY, {**B, "bf": 8, "x264-params": "b-pyramid=normal:b-adapt=0"}),
    "no b-frames": ("a.mp4", NOISY, {**B, "bf": 0}),
    "key pictures only": ("a.mp4", NOISY, {**X264, "g": 1}),
    "open groups": ("a.ts", NOISY, {**B, "x264-params": "open-gop=1"}),
    "late": ("a.ts", NOISY, {**B, "output_ts_offset": 3600}),
    "variable rate": ("a.mkv", f"{NOISY},select='not(eq(mod(n,7),3))'", {**B, "fps_mode": "vfr"}),
    "interlaced": ("a.mp4", f"{NOISY},tinterlace=interleave_top",
                   {**B, "flags": "+ilme+ildct", "x264-params": "tff=1"}),
    "10 bit": ("a.mov", NOISY, {**B, "pix_fmt": "yuv420p10le"}),
    "odd size": ("a.mp4", f"{NOISY},scale=161:121", {**B, "pix_fmt": "yuv444p"}),
    "fragments": ("a.mp4", NOISY, {**B, "movflags": "frag_keyframe+empty_moov"}),
    "flv": ("a.flv", NOISY, B),
}  # fmt: skip
UNUSUAL = {
    "mpeg4": ("a.avi", NOISY, {**MPEG4, "bf": 2}),
    "no presentation times": ("a.avi", NOISY, B),
    "hevc": ("a.mkv", NOISY, {"vcodec": "libx265", "x265-params": "log-level=error"}),
    "vp8": ("a.webm", NOISY, {"vcodec": "libvpx", "deadline": "realtime"}),
}


def read(
    path: Path, times_s: list[float], rows: int | None = None
) -> tuple[list[tuple[int, bytes, tuple[int, ...]]], tuple[float, bool, bool]]:
    with contextlib.closing(PictureReader(path, times_s, DEFAULT_MEDIA, rows)) as reader:
        found = [(i, rgb.tobytes(), rgb.shape) for i, rgb in iter(reader.next, None)]
        return found, (reader.reached_s, reader.ended, reader.damaged)


def by_decoding_all(path: Path, times_s: list[float], rows: int | None = None):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(video, "plan_packets", lambda *_: None)
        return read(path, times_s, rows)


def dropped(plan: PacketPlan, count: int) -> int:
    """Of the first ``count`` packets, how many ffmpeg's expression drops."""
    python = re.sub(r"if\(gte\(n,(\d+)\),", r"either(n>=\1,", plan.drop)
    names = {"either": lambda test, first, second: first if test else second}
    return sum(eval(python, names, {"n": n}) for n in range(count))


@pytest.mark.parametrize("kind", PLANNED)
def test_every_picture_and_the_end_are_those_of_decoding_all(tmp_path, kind):
    name, source, options = PLANNED[kind]
    path = encode(tmp_path / name, source, **options)
    last = SECONDS - 0.02
    # Beyond the end, between pictures, on pictures, and few of a long time.
    for times in (
        sample_times(0, SECONDS + 1, 0.3),
        sorted(np.random.default_rng(0).uniform(0, last, 20).round(6).tolist()),
        [*sample_times(0, 2, 0.12), 5.2],
    ):
        assert plan_packets(path, [t + 1e-6 for t in times], DEFAULT_MEDIA) is not None
        assert read(path, times, rows=64) == by_decoding_all(path, times, rows=64)


def test_unneeded_pictures_are_not_decoded(tmp_path):
    path = encode(tmp_path / "a.mp4", NOISY, **B)
    often = plan_packets(path, sample_times(0.01, SECONDS, 0.04), DEFAULT_MEDIA)
    usual = plan_packets(path, sample_times(0, SECONDS, 0.3), DEFAULT_MEDIA)
    early = plan_packets(path, [*sample_times(0.01, 1, 0.04), 5.9], DEFAULT_MEDIA)
    assert often is not None
    assert usual is not None
    assert early is not None
    count = 25 * SECONDS
    assert dropped(often, count) == 0
    assert dropped(usual, count) > count / 4
    # Groups of pictures without a wanted one are dropped as a whole.
    assert dropped(early, count) > count / 2


@pytest.mark.parametrize("kind", UNUSUAL)
def test_other_streams_are_decoded_whole(tmp_path, kind):
    name, source, options = UNUSUAL[kind]
    path = encode(tmp_path / name, source, **options)
    times = sample_times(0, SECONDS, 0.3)
    assert plan_packets(path, times, DEFAULT_MEDIA) is None
    assert read(path, times) == by_decoding_all(path, times)


def test_a_few_seconds_are_not_worth_a_plan(tmp_path):
    path = encode(tmp_path / "a.mp4", NOISY, **B)
    assert plan_packets(path, [], DEFAULT_MEDIA) is None
    assert plan_packets(path, [0.0, 4.0], DEFAULT_MEDIA) is None
    assert plan_packets(path, [5.5], DEFAULT_MEDIA) is not None


def cut(path: Path) -> Path:
    """Begin between key pictures: an edit list hides the packets before."""
    import ffmpeg

    target = path.with_name("cut.mp4")
    source = ffmpeg.input(str(path), ss=1.3)
    ffmpeg.output(source, str(target), c="copy", loglevel="error").run(cmd=ffmpeg_path())
    return target


def truncate(path: Path) -> Path:
    target = path.with_name("short.ts")
    target.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    return target


def change_size(path: Path) -> Path:
    other = encode(path.with_name("b.ts"), picture("200x150", seconds=4), **B)
    target = path.with_name("both.ts")
    target.write_bytes(path.read_bytes() + other.read_bytes())
    return target


@pytest.mark.parametrize(
    ("name", "change"), [("a.mp4", cut), ("a.ts", truncate), ("a.ts", change_size)]
)
def test_cut_damaged_and_joined_streams_are_read_as_before(tmp_path, name, change):
    path = change(encode(tmp_path / name, NOISY, **B))
    times = sample_times(0, SECONDS + 4, 0.3)
    found = read(path, times)
    assert found == by_decoding_all(path, times)
    assert len(found[0]) > 8


def test_the_end_of_a_long_rest_is_that_of_decoding_all(tmp_path):
    path = encode(tmp_path / "a.mp4", picture("160x120", seconds=20), **B)
    times = sample_times(0, SECONDS, 0.3)
    plan = plan_packets(path, times, DEFAULT_MEDIA)
    assert plan is not None and plan.last is None
    assert read(path, times) == by_decoding_all(path, times)
    with contextlib.closing(PictureReader(path, times, DEFAULT_MEDIA)) as reader:
        assert sum(1 for _ in iter(lambda: reader.next(SECONDS), None)) == len(times)
        assert not reader.ended and SECONDS <= reader.reached_s < 20


@pytest.mark.parametrize("wrong", ["dropped", "unknown time", "other unit", "end"])
def test_a_stream_that_is_not_as_planned_is_decoded_whole(tmp_path, monkeypatch, wrong):
    path = encode(tmp_path / "a.mp4", NOISY, **B)
    times = sample_times(0, SECONDS, 0.3)
    plan = plan_packets(path, times, DEFAULT_MEDIA)
    assert plan is not None
    wanted = list(plan.wanted)
    plan = {
        "dropped": dataclasses.replace(plan, drop="if(lt(n,70),0,1)"),
        "unknown time": dataclasses.replace(
            plan, wanted={**plan.wanted, wanted[-1] - 1: wanted[-1]}
        ),
        "other unit": dataclasses.replace(plan, tick_s=plan.tick_s / 2),
        "end": dataclasses.replace(plan, last=2 * wanted[-1]),
    }[wrong]
    expected = by_decoding_all(path, times)
    monkeypatch.setattr(video, "plan_packets", lambda *_: plan)
    assert read(path, times) == expected


def test_limits_are_reported_as_before(tmp_path):
    path = encode(tmp_path / "a.mp4", NOISY, **B)
    times = sample_times(0, SECONDS, 0.3)
    limits = dataclasses.replace(DEFAULT_MEDIA, max_duration_s=2.0)
    assert plan_packets(path, times, limits) is None
    with pytest.raises(MediaError, match=r"a\.mp4 announces 6 s, more than 2 s") as error:
        list(frames_at(path, times, limits))
    assert error.value.reason is DropReason.TOO_LONG


def test_a_planned_decoder_that_is_killed_says_nothing_of_the_file(tmp_path):
    path = encode(tmp_path / "a.mp4", picture("640x480", seconds=SECONDS), **{**B, "crf": 1})
    with contextlib.closing(PictureReader(path, sample_times(0, 9, 0.04), DEFAULT_MEDIA)) as reader:
        assert reader.next() is not None
        decoders = [p for p in psutil.Process().children() if "ffmpeg" in p.name()]
        assert len(decoders) == 1
        decoders[0].kill()
        with pytest.raises(MediaKilledError, match=r"read a\.mp4 was killed"):
            list(iter(reader.next, None))


def test_a_chosen_ffmpeg_decodes_everything(tmp_path, monkeypatch):
    path = encode(tmp_path / "a.mp4", NOISY, **B)
    monkeypatch.setenv(ENVIRONMENT, ffmpeg_path())
    assert plan_packets(path, sample_times(0, SECONDS, 0.3), DEFAULT_MEDIA) is None
