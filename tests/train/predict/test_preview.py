"""The preview: what browsers play, whatever the video is made of."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path

import av
import pytest

from fv2es_prep.config import MediaSettings
from fv2es_prep.errors import MediaError, OutputError
from fv2es_train.predict.uploads import make_preview
from tests.train.media import ffmpeg, streamed

CUES = b"\x1c\x53\xbb\x6b"


def look(path: Path) -> tuple[dict[str, tuple[int, int]], list[float], float]:
    """Codec -> size of the picture; when each picture comes; length, both in seconds."""
    with av.open(str(path)) as file:
        sizes = {
            stream.codec_context.name.removeprefix("lib"): (
                (stream.width, stream.height) if stream.type == "video" else (0, 0)
            )
            for stream in file.streams
        }
        pictures = file.streams.video
        times = [frame.time for frame in file.decode(pictures[0])] if pictures else []
        return sizes, times, file.duration / 1e6


def test_a_preview_is_small_and_can_be_sought_in(talk: Path, tmp_path: Path) -> None:
    told: list[float] = []
    out = make_preview(talk, tmp_path / "p.webm", on_progress=told.append)
    sizes, times, length_s = look(out)
    assert sizes == {"vp8": (540, 360), "opus": (0, 0)}
    assert length_s == pytest.approx(8, abs=0.1) and times[0] == 0
    gaps = [b - a for a, b in itertools.pairwise(times)]
    # Of 29.97 pictures a second every other one, none of them twice.
    assert min(gaps) > 0.06 and max(gaps) < 0.07
    # The index of a file that was written as a whole.
    assert CUES in out.read_bytes()
    assert told == sorted(told) and told[-1] == pytest.approx(8, abs=0.1)
    assert [path.name for path in tmp_path.iterdir()] == ["p.webm"]


@pytest.mark.parametrize(
    ("source", "options", "size"),
    [
        ("testsrc=s=101x75:r=10:d=1", ("-pix_fmt", "yuv444p10le", "-c:v", "ffv1"), (100, 74)),
        ("testsrc=s=17x16:r=50:d=1", ("-pix_fmt", "gray", "-c:v", "ffv1"), (16, 16)),
        ("testsrc=s=1280x720:r=25:d=0.04", ("-c:v", "mpeg4"), (640, 360)),
        ("testsrc=s=360x240:r=25:d=1,setsar=2", ("-c:v", "mpeg4"), (720, 240)),
        ("testsrc=s=4000x40:r=5:d=1", ("-c:v", "ffv1"), (1440, 14)),
    ],
)
def test_sizes_are_even_whatever_the_picture_is(
    source: str, options: Sequence[str], size: tuple[int, int], tmp_path: Path
) -> None:
    ffmpeg("-f", "lavfi", "-i", source, *options, tmp_path / "v.mkv")
    sizes, times, _ = look(make_preview(tmp_path / "v.mkv", tmp_path / "p.webm"))
    assert sizes == {"vp8": size} and times[0] == 0
    assert len(times) <= 15


def test_sound_may_be_alone_another_file_or_of_many_channels(
    files: tuple[Path, Path], tmp_path: Path
) -> None:
    wav = tmp_path / "five.wav"
    five = "pan=5c|c0=c0|c1=c0|c2=c0|c3=c1|c4=c1"
    ffmpeg("-i", files[1], "-t", "3", "-af", five, wav)
    assert list(look(make_preview(wav, tmp_path / "p.webm"))[0]) == ["opus"]
    both = make_preview(files[0], tmp_path / "p.webm", sound=wav)
    assert list(look(both)[0]) == ["vp8", "opus"]


def test_a_damaged_picture_leaves_the_sound(talk: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "damaged.mkv"
    ffmpeg("-i", talk, "-c", "copy", "-bsf:v", "noise=amount=1", damaged)
    sizes, _, length_s = look(make_preview(damaged, tmp_path / "p.webm"))
    assert "opus" in sizes and length_s == pytest.approx(8, abs=0.1)


def test_limits_hold_and_nothing_is_left_behind(talk: Path, tmp_path: Path) -> None:
    out = tmp_path / "p.webm"
    text = tmp_path / "text.mp4"
    text.write_text("this is no video")
    for video, media, said in (
        (talk, MediaSettings(max_duration_s=7), "more than 7 s"),
        (talk, MediaSettings(stall_s=0, time_factor=0), "stalled ffmpeg"),
        (text, MediaSettings(), "cannot be decoded"),
        (tmp_path / "none.mp4", MediaSettings(), "No such file"),
    ):
        with pytest.raises(MediaError, match=said):
            make_preview(video, out, media)
    assert [path.name for path in tmp_path.iterdir()] == ["text.mp4"]
    # Too large a picture is not decoded; its sound is.
    assert list(look(make_preview(talk, out, MediaSettings(max_pixels=100)))[0]) == ["opus"]


def test_a_recording_that_does_not_say_its_length_is_cut(talk: Path, tmp_path: Path) -> None:
    endless = streamed(tmp_path / "endless.mkv", talk, "-c", "copy", "-f", "matroska")
    length_s = look(make_preview(endless, tmp_path / "p.webm", MediaSettings(max_duration_s=3)))[2]
    assert length_s == pytest.approx(3, abs=0.1)


def test_a_place_that_cannot_be_written_is_told(talk: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot write"):
        make_preview(talk, tmp_path / "none" / "p.webm")
