from __future__ import annotations

import contextlib
import math
import os
import time
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import av
import ffmpeg
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torchvision.transforms.functional import center_crop

from fv2es_prep.config import DEFAULT_MEDIA
from fv2es_prep.errors import DropReason, MediaError, WorkError
from fv2es_prep.media.ffmpeg import ENVIRONMENT, ffmpeg_path, ffmpeg_version
from fv2es_prep.media.probe import duration_s
from fv2es_prep.media.video import PictureReader, sample_times
from fv2es_prep.media.view import centre_square, cut_view
from fv2es_prep.media.zero_tail import end_of_data
from fv2es_prep.types import View
from tests.prep.conftest import frames_at


def make_video(path: Path, seconds: float = 3, rate: str = "30000/1001", **options: object) -> Path:
    """A moving test picture; every frame differs from the next."""
    source = ffmpeg.input(f"testsrc2=s=160x120:r={rate}:d={seconds}", f="lavfi")
    chosen = {"g": 25, "threads": 1, **options}
    ffmpeg.output(source, str(path), loglevel="error", **chosen).run(cmd=ffmpeg_path())
    return path


def decoded(path: Path) -> list[tuple[float, np.ndarray]]:
    """Every frame by PyAV, an independent road: (seconds from the file's beginning, RGB)."""
    with av.open(str(path)) as file:
        stream = file.streams.video[0]
        begin = (file.start_time or 0) / 1_000_000
        return [
            (float(f.pts * stream.time_base) - begin, f.to_ndarray(format="rgb24"))
            for f in file.decode(stream)
        ]


def on_screen(frames: list[tuple[float, np.ndarray]], time_s: float) -> np.ndarray:
    shown = [rgb for start_s, rgb in frames if start_s <= time_s + 1e-6]
    return shown[-1] if shown else frames[0][1]


FORMATS = {
    "dx50.avi": {"vcodec": "mpeg4", "vtag": "DX50"},
    "mpeg4-b.avi": {"vcodec": "mpeg4", "bf": 2},
    "h264-b.mp4": {"vcodec": "libx264", "bf": 3, "pix_fmt": "yuv420p", "rate": "25"},
    "h264-60.mkv": {"vcodec": "libx264", "rate": "60", "pix_fmt": "yuv420p"},
    "mpeg1.mpg": {"vcodec": "mpeg1video", "rate": "25"},
}


@pytest.mark.parametrize("name", FORMATS)
def test_the_frame_on_screen_is_that_of_an_independent_decoder(tmp_path, name):
    path = make_video(tmp_path / name, **FORMATS[name])
    frames = decoded(path)
    rng = np.random.default_rng(0)
    times = sorted({round(t, 4) for t in rng.uniform(0, 2.9, 15)} | {frames[7][0], frames[20][0]})
    found = dict(frames_at(path, times))
    assert list(found) == list(range(len(times)))
    for place, time_s in enumerate(times):
        assert np.array_equal(found[place], on_screen(frames, time_s)), time_s


@pytest.mark.parametrize(
    ("rows", "kept"), [(60, slice(30, 90)), (118, slice(1, 119)), (61, slice(0, 120))]
)
@pytest.mark.parametrize("pix_fmt", ["yuv420p", "yuv420p10le"])
def test_only_the_middle_rows_leave_the_decoder_and_are_the_same(tmp_path, rows, kept, pix_fmt):
    path = make_video(tmp_path / "a.mkv", seconds=1, vcodec="ffv1", pix_fmt=pix_fmt)
    (_, whole), *_ = frames_at(path, [0.5])
    with contextlib.closing(PictureReader(path, [0.5], DEFAULT_MEDIA, rows)) as reader:
        found = reader.next()
    assert found is not None
    assert np.array_equal(found[1], whole[kept])


def test_frames_of_unequal_length_are_taken_by_their_time(tmp_path):
    even = make_video(tmp_path / "even.mkv", vcodec="ffv1", rate="25", seconds=4)
    path = tmp_path / "uneven.mkv"
    # Frames of the second second are dropped but for one: it stays on screen for 0.8 s.
    chain = ffmpeg.input(str(even)).filter("select", "lt(t,1)+between(t,1.2,1.21)+gte(t,2)")
    chain.output(str(path), vcodec="ffv1", fps_mode="passthrough", loglevel="error").run(
        cmd=ffmpeg_path()
    )
    frames = decoded(path)
    assert len({round(b[0] - a[0], 3) for a, b in pairwise(frames)}) > 1
    times = [0.5, 1.0, 1.19, 1.2, 1.5, 1.96, 2.0, 3.0]
    for place, rgb in frames_at(path, times):
        assert np.array_equal(rgb, on_screen(frames, times[place])), times[place]


def test_several_wanted_times_may_share_a_frame_and_late_ones_get_none(tmp_path):
    path = make_video(tmp_path / "a.avi", seconds=1, rate="25", vcodec="mpeg4")
    found = dict(frames_at(path, [0.0, 0.01, 0.02, 0.5, 0.5, 0.99, 1.2, 5.0]))
    assert sorted(found) == [0, 1, 2, 3, 4, 5]
    assert np.array_equal(found[0], found[2])
    assert np.array_equal(found[3], found[4])
    assert not np.array_equal(found[2], found[3])


def test_many_wanted_times_are_one_pass(tmp_path):
    path = make_video(tmp_path / "a.avi", seconds=2, vcodec="mpeg4")
    times = [k / 5000 for k in range(10_000)]
    assert sum(1 for _ in frames_at(path, times)) == 10_000


@pytest.mark.parametrize("name", ["-i.avi", 'it\'s a "name", [1].avi', "éß:?*.avi", "http:x.avi"])
def test_any_name_of_a_file_is_only_a_name(tmp_path, name):
    made = make_video(tmp_path / "made.avi", seconds=1, vcodec="mpeg4")
    path = made.rename(tmp_path / name)
    assert len(list(frames_at(path, [0.2]))) == 1


def test_a_file_without_picture_and_one_that_is_none(tmp_path):
    sound = tmp_path / "sound.wav"
    ffmpeg.input("sine=d=1", f="lavfi").output(str(sound), loglevel="error").run(cmd=ffmpeg_path())
    with pytest.raises(MediaError, match=r"sound.wav holds no picture") as none:
        list(frames_at(sound, [0.1]))
    assert none.value.reason is DropReason.NO_VIDEO_STREAM
    text = tmp_path / "text.avi"
    text.write_text("no video\n" * 100)
    with pytest.raises(MediaError, match=r"text.avi cannot be decoded") as broken:
        list(frames_at(text, [0.1]))
    assert broken.value.reason is DropReason.UNDECODABLE_VIDEO
    with pytest.raises(MediaError, match="No such file"):
        list(frames_at(tmp_path / "missing.avi", [0.1]))


def test_a_playlist_that_names_another_file_is_not_followed(tmp_path):
    make_video(tmp_path / "secret.ts", seconds=1, vcodec="mpeg2video")
    playlist = tmp_path / "list.avi"
    playlist.write_text("ffconcat version 1.0\nfile secret.ts\n")
    with pytest.raises(MediaError, match="whitelist"):
        list(frames_at(playlist, [0.1]))


def test_stopping_early_leaves_no_process(tmp_path):
    path = make_video(tmp_path / "a.avi", seconds=3, vcodec="mpeg4")
    frames = frames_at(path, [0.0, 1.0, 2.0])
    next(frames)
    frames.close()


def test_a_picture_is_returned_before_later_ones_are_decoded(tmp_path):
    path = make_video(tmp_path / "a.avi", seconds=120, rate="25", vcodec="mpeg4")
    reader = PictureReader(path, [0.5], DEFAULT_MEDIA)
    with contextlib.closing(reader):
        assert reader.next() is not None
        # One line for every eighth picture that was decoded meanwhile.
        assert reader._lines.qsize() < 120 * 25 / 8 / 2


def test_sampled_moments_end_before_the_end():
    assert sample_times(1.0, 2.0, 0.5) == [1.0, 1.5]
    assert sample_times(1.0, 2.0001, 0.5) == [1.0, 1.5, 2.0]
    assert sample_times(0.1, 0.4, 0.1) == [0.1, 0.2, 0.3]
    assert sample_times(3.2098, 3.3, 0.5) == [3.2098]
    long = sample_times(0.0, 3600.0, 0.5)
    assert len(long) == 7200
    assert math.isclose(long[-1], 3599.5)


def test_a_view_is_the_centre_of_the_speakers_half():
    rgb = np.arange(480 * 720 * 3, dtype=np.uint32).reshape(480, 720, 3).astype(np.uint8)
    left = cut_view(rgb, View("left", 224, 0))
    right = cut_view(rgb, View("right", 224, 1))
    assert np.array_equal(left, rgb[128:352, 68:292])
    assert np.array_equal(right, rgb[128:352, 428:652])
    assert np.array_equal(cut_view(rgb, View()), rgb)
    small = cut_view(rgb[:100, :80], View("full", 224))
    assert small.shape == (224, 224, 3)
    assert not small[:60].any()


def test_the_ffmpeg_can_be_chosen_and_a_wrong_one_is_named(monkeypatch):
    bundled = ffmpeg_path()
    assert ffmpeg_version(bundled) >= (5, 1)
    ffmpeg_path.cache_clear()
    monkeypatch.setenv(ENVIRONMENT, "/nowhere/ffmpeg")
    with pytest.raises(WorkError, match="/nowhere/ffmpeg"):
        ffmpeg_path()
    monkeypatch.setenv(ENVIRONMENT, bundled)
    assert ffmpeg_path() == bundled
    ffmpeg_path.cache_clear()


@given(st.tuples(st.integers(1, 40), st.integers(1, 40)), st.integers(1, 40))
def test_the_square_is_torchvisions(size: tuple[int, int], side: int):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3), np.uint8)
    planes = torch.tensor(rgb).permute(2, 0, 1)
    theirs = center_crop(planes, [side, side]).permute(1, 2, 0).numpy()
    assert np.array_equal(centre_square(rgb, side), theirs)


def test_a_file_that_says_it_is_too_long_is_refused_when_it_is_asked(tmp_path: Path):
    path = make_video(tmp_path / "a.mp4", 3)
    assert duration_s(path) == pytest.approx(3, abs=0.05)
    with pytest.raises(MediaError, match=r"announces 3\S* s, more than 1 s") as caught:
        duration_s(path, replace(DEFAULT_MEDIA, max_duration_s=1))
    assert caught.value.reason is DropReason.TOO_LONG


@pytest.mark.parametrize("suffix", ["avi", "mkv"])
def test_zeros_after_the_last_picture_are_not_searched(tmp_path: Path, suffix: str):
    path = make_video(tmp_path / f"a,,:b.{suffix}", 0.5)
    want = [rgb for _, rgb in decoded(path)]
    os.truncate(path, 6 << 30)
    began = time.monotonic()
    got = frames_at(path, [0.0, 0.2])
    assert [np.array_equal(rgb, want[number]) for rgb, number in zip(got, (0, 5), strict=True)]
    # All of them take half a minute.
    assert time.monotonic() - began < 10
    with path.open("r+b") as file:
        file.seek(5 << 30)
        file.write(b"1")
    end = end_of_data(path)
    assert end is not None
    assert 0 <= end - (128 << 20) - (5 << 30) <= 1 << 20


def test_zeros_that_may_be_sound_and_few_zeros_are_read(tmp_path: Path):
    for name, head, size in (
        ("a.wav", b"RIFF1234WAVE", 1 << 30),
        ("a.avi", b"RIFF1234AVI ", 1 << 27),
    ):
        path = tmp_path / name
        path.write_bytes(head)
        os.truncate(path, size)
        assert end_of_data(path) is None
