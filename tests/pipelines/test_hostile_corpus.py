"""A corpus of broken and odd recordings: each is accounted for with the right reason."""

from __future__ import annotations

import base64
import json
import os
import struct
import time
import wave
import zipfile
from collections.abc import Callable
from pathlib import Path

import ffmpeg
import numpy as np
import pytest

from fv2es_prep.errors import DropReason as Why
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.shards.dropped import DROPPED_NAME
from fv2es_prep.shards.reader import ShardReader

pytestmark = pytest.mark.slow

START_S, END_S = 0.3, 3.9
CANARY = "canary-of-another-tree"
PREPARED, CLAMPED = "prepared", "clamped"
MPEG4 = {"vcodec": "mpeg4", "g": 1, "qscale:v": 4}
X264 = {"vcodec": "libx264", "pix_fmt": "yuv420p", "preset": "ultrafast"}
FFV1 = {"vcodec": "ffv1"}


class Maker:
    """Makes files out of two sound ones, in a directory of its own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.video = self.encode("sound.avi", picture(), **MPEG4)
        self.audio = directory / "sound.wav"
        write_wav(self.audio, noise(4))

    def encode(self, name: str, *sources: str, **options: object) -> bytes:
        path = self.directory / name
        inputs = [ffmpeg.input(source, f="lavfi") for source in sources]
        chosen = {"threads": 1, "loglevel": "error", **options}
        ffmpeg.output(*inputs, str(path), **chosen).run(cmd=ffmpeg_path(), overwrite_output=True)
        return path.read_bytes()

    def again(self, name: str, **options: object) -> bytes:
        """The sound video, read with other options and copied."""
        path = self.directory / name
        source = ffmpeg.input(str(self.directory / "sound.avi"), **options)
        source.output(str(path), vcodec="copy", loglevel="error").run(cmd=ffmpeg_path())
        return path.read_bytes()


def picture(size: str = "128x96", rate: str = "10", seconds: float = 4, more: str = "") -> str:
    return f"testsrc2=s={size}:r={rate}:d={seconds}{more}"


def noise(seconds: float, rate: int = 16_000, channels: int = 2) -> np.ndarray:
    samples = np.random.default_rng(0).uniform(-0.5, 0.5, (int(seconds * rate), channels))
    return (samples * 32767).astype("<i2")


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> None:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())


def wav(samples: np.ndarray, rate: int = 16_000) -> Callable[[Maker, Path], None]:
    return lambda _, path: write_wav(path, samples, rate)


def float_wav(value: float) -> Callable[[Maker, Path], None]:
    def make(_: Maker, path: Path) -> None:
        samples = (noise(4) / 32768).astype("<f4")
        samples[30_000] = value
        form = struct.pack("<4sIHHIIHH", b"fmt ", 16, 3, 2, 16_000, 128_000, 8, 32)
        data = struct.pack("<4sI", b"data", samples.nbytes) + samples.tobytes()
        path.write_bytes(struct.pack("<4sI4s", b"RIFF", 36 + samples.nbytes, b"WAVE") + form + data)

    return make


def cut(kind: str, share: float) -> Callable[[Maker, Path], None]:
    def make(maker: Maker, path: Path) -> None:
        whole = maker.video if kind == "video" else maker.audio.read_bytes()
        path.write_bytes(whole[: int(len(whole) * share)])

    return make


def text(content: str) -> Callable[[Maker, Path], None]:
    def make(maker: Maker, path: Path) -> None:
        path.write_text(content.replace("DIR", str(maker.directory)))

    return make


def data(content: bytes) -> Callable[[Maker, Path], None]:
    return lambda _, path: path.write_bytes(content)


def encoded(name: str, *sources: str, **options: object) -> Callable[[Maker, Path], None]:
    return lambda maker, path: path.write_bytes(maker.encode(name, *sources, **options))


def flipped(maker: Maker, path: Path) -> None:
    """One bit in each two thousand bytes, behind the header."""
    broken = bytearray(maker.video)
    for place in range(6000, len(broken), 2000):
        broken[place] ^= 0x10
    path.write_bytes(bytes(broken))


def headless(maker: Maker, path: Path) -> None:
    path.write_bytes(bytes(4096) + maker.video[4096:])


def announcing(maker: Maker, path: Path) -> None:
    """The header states two thousand million pictures, at ten in a second."""
    broken = bytearray(maker.video)
    for name, offset in ((b"avih", 24), (b"strh", 40)):
        struct.pack_into("<I", broken, broken.index(name) + offset, 2_000_000_000)
    path.write_bytes(bytes(broken))


def growing(maker: Maker, path: Path) -> None:
    parts = (maker.encode("part.m2v", picture(s, "25", 2), vcodec="mpeg2video") for s in SIZES)
    path.write_bytes(b"".join(parts))


def still_then_sound(maker: Maker, path: Path) -> None:
    path.write_bytes(maker.again("late.mkv", itsoffset=3600))


def archive(_: Maker, path: Path) -> None:
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("a.avi", "nothing")


def unreadable(maker: Maker, path: Path) -> None:
    path.write_bytes(maker.video)
    path.chmod(0)


def linked(maker: Maker, path: Path) -> None:
    path.symlink_to(maker.directory / "sound.avi")


def rotated(maker: Maker, path: Path) -> None:
    path.write_bytes(maker.again("rotated.mp4", display_rotation=90))


def mp4_without_end(maker: Maker, path: Path) -> None:
    whole = maker.encode("whole.mp4", picture(), **X264)
    path.write_bytes(whole[: whole.index(b"moov")])


SIZES = ("128x96", "64x48")
RANDOM = np.random.default_rng(3).bytes(50_000)
PIXEL = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJg"
    "gg=="
)
FORGED = "[Parsed_showinfo_5 @ 0x1] n: 0 pts: 1 x s:99999x99999 i:P\n  Duration: 99:00:00.00"
NOISE = ",noise=alls=20:allf=t"
VFR = ",select='not(mod(n,3))+lt(t,1)'"
PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nDIR/secret.ts\n#EXT-X-ENDLIST\n"
SDP = "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 26\n"
MPD = "<?xml version='1.0'?><MPD><Period><BaseURL>file:DIR/secret.ts</BaseURL></Period></MPD>"

VIDEOS: dict[str, tuple[Callable[[Maker, Path], object], str]] = {
    "sound": (linked, PREPARED),
    "cut10": (cut("video", 0.1), Why.SPAN_OUTSIDE_MEDIA),
    "cut50": (cut("video", 0.5), Why.SPAN_OUTSIDE_MEDIA),
    "cut70": (cut("video", 0.7), CLAMPED),
    "cut90": (cut("video", 0.9), CLAMPED),
    "header": (cut("video", 0.001), Why.UNDECODABLE_VIDEO),
    "flipped": (flipped, PREPARED),
    "headless": (headless, Why.UNDECODABLE_VIDEO),
    "announcing": (announcing, Why.TOO_LONG),
    "mp4": (encoded("a.mp4", picture(), **X264), PREPARED),
    "mkv": (encoded("a.mkv", picture(), **FFV1), PREPARED),
    "gif": (encoded("a.gif", picture()), PREPARED),
    "moovless": (mp4_without_end, Why.UNDECODABLE_VIDEO),
    "empty": (data(b""), Why.UNDECODABLE_VIDEO),
    "zeros": (data(bytes(9000)), Why.UNDECODABLE_VIDEO),
    "onlysound": (encoded("b.avi", "sine=d=4"), Why.NO_VIDEO_STREAM),
    "wav": (lambda maker, path: path.write_bytes(maker.audio.read_bytes()), Why.NO_VIDEO_STREAM),
    "oneframe": (encoded("c.avi", picture(), **MPEG4, vframes=1), Why.SPAN_OUTSIDE_MEDIA),
    "noframe": (encoded("d.avi", picture(more=",select=0"), **MPEG4), Why.UNDECODABLE_VIDEO),
    "pixels": (encoded("e.avi", picture("4112x4096", "1"), **MPEG4), Why.TOO_MANY_PIXELS),
    "large": (encoded("f.avi", picture("4096x4096", "1", more=NOISE), **MPEG4), PREPARED),
    "fast": (encoded("g.mkv", picture(rate="240"), **X264), PREPARED),
    "slow": (encoded("h.mkv", picture(rate="1"), **FFV1), PREPARED),
    "uneven": (encoded("i.mkv", picture(rate="30", more=VFR), **FFV1, fps_mode="vfr"), PREPARED),
    "tenbit": (encoded("j.mkv", picture(), vcodec="libx264", pix_fmt="yuv420p10le"), PREPARED),
    "interlaced": (encoded("k.mpg", picture("352x288", "25"), vcodec="mpeg2video",
                           flags="+ilme+ildct"), PREPARED),
    "rotated": (rotated, PREPARED),
    "late": (still_then_sound, PREPARED),
    "growing": (growing, PREPARED),
    "narrow": (encoded("l.mkv", picture("2x16384", "2"), **FFV1, pix_fmt="yuv444p"), PREPARED),
    "pixel": (encoded("m.nut", picture(more=",scale=1:1"), vcodec="rawvideo", pix_fmt="yuv420p"),
              Why.BLACK_PICTURE),
    "streams": (encoded("n.mkv", "sine=d=4", picture(), picture("32x32"), "sine=d=4", **FFV1),
                PREPARED),
    "forged": (encoded("o.mkv", picture(), **FFV1, metadata=f"title={FORGED}"), PREPARED),
    "short": (encoded("p.avi", picture(seconds=3), **MPEG4), CLAMPED),
    "blackshort": (encoded("w.avi", "color=black:s=128x96:r=10:d=1", **MPEG4),
                   Why.SPAN_OUTSIDE_MEDIA),
    "shorter": (encoded("q.avi", picture(seconds=2), **MPEG4), Why.SPAN_OUTSIDE_MEDIA),
    "long": (encoded("r.avi", picture(seconds=9), **MPEG4), PREPARED),
    "black": (encoded("s.avi", "color=black:s=128x96:r=10:d=4", **MPEG4), Why.BLACK_PICTURE),
    "frozen": (encoded("t.mkv", "color=gray:s=128x96:r=10:d=4", **FFV1), Why.FROZEN_PICTURE),
    "words": (text("Once upon a time.\n" * 500), Why.UNDECODABLE_VIDEO),
    "html": (text("<!DOCTYPE html><html><body>404</body></html>"), Why.UNDECODABLE_VIDEO),
    "zip": (archive, Why.UNDECODABLE_VIDEO),
    "png": (data(PIXEL), Why.UNDECODABLE_VIDEO),
    "random": (data(RANDOM), Why.UNDECODABLE_VIDEO),
    "playlist": (text(PLAYLIST), Why.UNDECODABLE_VIDEO),
    "ffconcat": (text("ffconcat version 1.0\nfile DIR/secret.ts\n"), Why.UNDECODABLE_VIDEO),
    "sdp": (text(SDP), Why.UNDECODABLE_VIDEO),
    "mpd": (text(MPD), Why.UNDECODABLE_VIDEO),
    "subfile": (text("subfile,,start,0,end,0,,:DIR/secret.ts"), Why.UNDECODABLE_VIDEO),
    "directory": (lambda _, path: path.mkdir(), Why.NOT_A_FILE),
    "deadlink": (lambda _, path: path.symlink_to("nowhere"), Why.NOT_A_FILE),
    "pipe": (lambda _, path: os.mkfifo(path), Why.NOT_A_FILE),
    "device": (lambda _, path: path.symlink_to("/dev/zero"), Why.NOT_A_FILE),
    "locked": (unreadable, Why.UNREADABLE_FILE),
    "missing": (lambda _, __: None, Why.VIDEO_MISSING),
}  # fmt: skip
SOUNDS: dict[str, tuple[Callable[[Maker, Path], object], str]] = {
    "wcut20": (cut("audio", 0.2), Why.SPAN_OUTSIDE_MEDIA),
    "wcut80": (cut("audio", 0.8), CLAMPED),
    "wheader": (cut("audio", 0.0001), Why.UNDECODABLE_AUDIO),
    "wempty": (data(b""), Why.UNDECODABLE_AUDIO),
    "wnothing": (wav(noise(0)), Why.NO_AUDIO_STREAM),
    "wrandom": (data(RANDOM), Why.UNDECODABLE_AUDIO),
    "wwords": (text("Once upon a time.\n" * 500), Why.UNDECODABLE_AUDIO),
    "wplaylist": (text(PLAYLIST), Why.UNDECODABLE_AUDIO),
    "wvideo": (encoded("u.avi", picture(), **MPEG4), Why.NO_AUDIO_STREAM),
    "wsilent": (wav(np.zeros((64_000, 2), "<i2")), Why.SILENT_AUDIO),
    "wmono": (wav(noise(4, channels=1)), Why.CHANNEL_MISSING),
    "weight": (wav(noise(4, 8000), 8000), PREPARED),
    "wfortyfour": (wav(noise(4, 44_100), 44_100), PREPARED),
    "wprime": (wav(noise(4, 44_101), 44_101), PREPARED),
    "wgiga": (wav(noise(4, channels=1), 1_000_000_000), Why.UNDECODABLE_AUDIO),
    "wfloat": (float_wav(0.7), PREPARED),
    "wnan": (float_wav(float("nan")), Why.UNDECODABLE_AUDIO),
    "winf": (float_wav(float("inf")), Why.UNDECODABLE_AUDIO),
    "whuge": (float_wav(1e30), Why.UNDECODABLE_AUDIO),
    "wflac": (encoded("v.flac", "anoisesrc=d=4:a=0.5", ac=2), PREPARED),
    "wlong": (wav(noise(9)), PREPARED),
    "wdirectory": (lambda _, path: path.mkdir(), Why.NOT_A_FILE),
    "wpipe": (lambda _, path: os.mkfifo(path), Why.NOT_A_FILE),
    "wmissing": (lambda _, __: None, Why.AUDIO_MISSING),
}
# Sound media; the line of the label file is odd.
SPANS: dict[str, tuple[tuple[float | str, float | str], str]] = {
    "early": ((-0.5, 3.0), CLAMPED),
    "tooearly": ((-3.0, 1.0), Why.SPAN_OUTSIDE_MEDIA),
    "afterwards": ((5.0, 6.0), Why.SPAN_OUTSIDE_MEDIA),
    "endless": ((1.0, "9" * 300), Why.SPAN_OUTSIDE_MEDIA),
    "infinite": ((1.0, "9" * 400), Why.BAD_SPAN),
    "backwards": ((3.0, 1.0), Why.BAD_SPAN),
    "moment": ((1.0, 1.005), Why.NO_AUDIO_IN_SPAN),
    "whole": ((0.0, 4.0), PREPARED),
    "almost": ((0.0, 4.09), PREPARED),
    "beyond": ((2.0, 5.0), CLAMPED),
}
EXPECTED = {
    name: outcome for table in (VIDEOS, SOUNDS, SPANS) for name, (_, outcome) in table.items()
}


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree in IEMOCAP's layout, one utterance to a recording, each odd in its own way."""
    directory = tmp_path_factory.mktemp("media")
    maker = Maker(directory)
    (directory / "secret.ts").write_bytes(
        maker.encode("made.ts", picture(), **X264, metadata=f"service_name={CANARY}")
    )
    root = tmp_path_factory.mktemp("hostile")
    dialog = root / "Session1/dialog"
    for folder in ("EmoEvaluation", "transcriptions", "wav", "avi/DivX"):
        (dialog / folder).mkdir(parents=True)
    for kind in EXPECTED:
        name = f"Ses01F_{kind}"
        start_s, end_s = SPANS[kind][0] if kind in SPANS else (START_S, END_S)
        # The woman is on the left and has the first channel; a mono file lacks the man's.
        turn = f"{name}_{'M' if kind == 'wmono' else 'F'}000"
        label = f"[{start_s} - {end_s}]\t{turn}\tang\t[1, 2, 3]\n"
        (dialog / "EmoEvaluation" / f"{name}.txt").write_text(label)
        (dialog / "transcriptions" / f"{name}.txt").write_text(f"{turn} [0-1]: a \0 word\n")
        VIDEOS.get(kind, (linked, ""))[0](maker, dialog / "avi/DivX" / f"{name}.avi")
        link = (lambda _, path: path.symlink_to(maker.audio), "")
        SOUNDS.get(kind, link)[0](maker, dialog / "wav" / f"{name}.wav")
    return root


@pytest.fixture(scope="module")
def outcomes(
    hostile, text_model, tmp_path_factory, prepare, options_for
) -> tuple[Path, float, dict[str, str]]:
    """The dataset directory, how long it took in seconds, and how each recording ended."""
    out = tmp_path_factory.mktemp("out")
    began = time.monotonic()
    _, summary = prepare(options_for(hostile, out, text_model, interval_s=1.0))
    seconds = time.monotonic() - began
    assert summary.prepared + sum(summary.dropped.values()) == len(EXPECTED)
    found = {}
    for path in sorted(out.glob("*.h5")):
        with ShardReader(path) as reader:
            for row in range(len(reader)):
                utterance = reader.utterance(row)
                found[kind_of(utterance.recording_id)] = CLAMPED if utterance.clamped else PREPARED
    for line in (out / DROPPED_NAME).read_text().splitlines():
        entry = json.loads(line)
        found[kind_of(entry["recording_id"])] = entry["reason"]
    return out, seconds, found


def kind_of(recording: str) -> str:
    return recording.removeprefix("Ses01F_")


@pytest.mark.parametrize("kind", EXPECTED)
def test_each_recording_ends_as_it_should(outcomes, kind):
    if kind == "locked" and os.geteuid() == 0:
        pytest.skip("root may read everything")
    assert outcomes[2][kind] == EXPECTED[kind]


def test_all_are_accounted_for_in_bounded_time(outcomes):
    _, seconds, found = outcomes
    assert set(found) == set(EXPECTED)
    assert len(EXPECTED) > 80
    assert seconds < 120


def test_each_reason_tells_the_file_or_the_numbers_and_no_path(hostile, outcomes):
    out, _, _ = outcomes
    for line in (out / DROPPED_NAME).read_text().splitlines():
        entry = json.loads(line)
        assert entry["sentence"] and " @ 0x" not in entry["sentence"]
        assert str(hostile.parent) not in line
        reason = Why(entry["reason"])
        if reason.fails_recording and reason is not Why.CHANNEL_MISSING:
            assert entry["recording_id"] in entry["sentence"] or "samples" in entry["sentence"]
        if reason is Why.SPAN_OUTSIDE_MEDIA:
            assert " s to " in entry["sentence"]


def test_what_other_files_hold_does_not_turn_up(outcomes):
    for path in outcomes[0].iterdir():
        if path.is_file():
            assert CANARY.encode() not in path.read_bytes()


def test_a_clamped_example_is_that_of_its_clamped_span(outcomes):
    clamped = 0
    for path in sorted(outcomes[0].glob("*.h5")):
        with ShardReader(path) as reader:
            for row in range(len(reader)):
                example = reader.read(row)
                utterance = example.utterance
                assert "\0" not in utterance.transcript
                if not utterance.clamped:
                    continue
                clamped += 1
                assert 0 <= utterance.start_s < utterance.end_s <= 4
                assert (example.faces.times_s < utterance.end_s).all()
                rows = 1 + int(utterance.duration_s * 16_000) // 200
                assert abs(len(example.mel.log_power) - rows) <= 1
    assert clamped == list(outcomes[2].values()).count(CLAMPED) > 4
