"""Odd media work, broken ones are refused for the right reason, none can harm: file by file."""

from __future__ import annotations

import json
import os
import signal
import time
import wave
from collections.abc import Iterator
from pathlib import Path

import ffmpeg
import numpy as np
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fv2es_prep.config import (
    FrameSettings,
    MediaSettings,
    MelSettings,
    PrepSettings,
    QualitySettings,
    SpanSettings,
    TextSettings,
)
from fv2es_prep.corpora import iemocap
from fv2es_prep.corpora.iemocap import parse_labels, view_of
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.errors import (
    CorpusError,
    DropReason,
    MediaError,
    MediaKilledError,
    SettingsError,
    UtteranceError,
)
from fv2es_prep.media.audio import SoundReader
from fv2es_prep.media.ffmpeg import ENVIRONMENT, ffmpeg_path
from fv2es_prep.media.quality import PictureCheck, check_sound
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.media.video import PictureReader
from fv2es_prep.media.view import cut_view
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.types import Recording, Utterance, View, Waveform
from tests.prep.conftest import frames_at


def encode(path: Path, *sources: str, **options: object) -> Path:
    """Encode generated sources, each given as lavfi text, into one file."""
    inputs = [ffmpeg.input(source, f="lavfi") for source in sources]
    chosen = {"threads": 1, "loglevel": "error", **options}
    ffmpeg.output(*inputs, str(path), **chosen).run(cmd=ffmpeg_path(), overwrite_output=True)
    return path


def picture(size: str = "64x48", rate: str = "25", seconds: float = 2) -> str:
    return f"testsrc2=s={size}:r={rate}:d={seconds}"


def write_wav(path: Path, samples: np.ndarray, rate: int = 16_000) -> Path:
    with wave.open(str(path), "wb") as file:
        file.setnchannels(samples.shape[1])
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((samples * 32767).astype("<i2").tobytes())
    return path


def noise(seconds: float, rate: int = 16_000, channels: int = 2) -> np.ndarray:
    return np.random.default_rng(0).uniform(-0.5, 0.5, (int(seconds * rate), channels))


MPEG4 = {"vcodec": "mpeg4", "qscale:v": 5}
X264 = {"vcodec": "libx264", "pix_fmt": "yuv420p"}
FFV1 = {"vcodec": "ffv1"}
RAW = {"vcodec": "rawvideo", "pix_fmt": "yuv420p"}
SOUND_BUT_ODD = {
    "25": ("a.avi", picture(rate="25"), MPEG4, (48, 64)),
    "29.97": ("a.avi", picture(rate="30000/1001"), MPEG4, (48, 64)),
    "59.94": ("a.mp4", picture(rate="60000/1001"), X264, (48, 64)),
    "240": ("a.mkv", picture(rate="240"), X264, (48, 64)),
    "1 per second": ("a.mkv", picture(rate="1", seconds=3), X264, (48, 64)),
    "1x1": ("a.nut", picture() + ",scale=1:1", RAW, (1, 1)),
    "3x5": ("a.nut", picture() + ",scale=3:5", RAW, (5, 3)),
    "2x16384": ("a.mkv", picture("2x16384", "5"), {**FFV1, "pix_fmt": "yuv444p"}, (16384, 2)),
    "16 megapixels": ("a.avi", picture("4096x4096", "1"), MPEG4, (4096, 4096)),
    "10 bit": ("a.mkv", picture(), {"vcodec": "libx264", "pix_fmt": "yuv420p10le"}, (48, 64)),
    "16 bit": ("a.mkv", picture(), {**FFV1, "pix_fmt": "gray16le"}, (48, 64)),
    "with alpha": ("a.mkv", picture(), {**FFV1, "pix_fmt": "bgra"}, (48, 64)),
    "palette": ("a.gif", picture(rate="10"), {}, (48, 64)),
    "interlaced": ("a.mpg", picture("720x576"), {"vcodec": "mpeg2video", "flags": "+ilme+ildct"},
                   (576, 720)),
    "late": ("a.ts", picture(), {**X264, "output_ts_offset": 3600}, (48, 64)),
}  # fmt: skip


@pytest.mark.parametrize("kind", SOUND_BUT_ODD)
def test_odd_but_sound_pictures_are_read(tmp_path, kind):
    name, source, options, shape = SOUND_BUT_ODD[kind]
    path = encode(tmp_path / name, source, **options)
    found = dict(frames_at(path, [0.0, 0.5, 1.0, 1.5, 9.0]))
    assert list(found) == [0, 1, 2, 3]
    assert all(rgb.shape == (*shape, 3) for rgb in found.values())
    for half in ("left", "right"):
        assert cut_view(found[0], View(half, 224)).shape == (224, 224, 3)


def test_a_rotated_picture_stands_upright(tmp_path):
    plain = encode(tmp_path / "plain.mp4", picture(), **X264)
    path = tmp_path / "rotated.mp4"
    turned = ffmpeg.input(str(plain), display_rotation=90)
    turned.output(str(path), vcodec="copy", loglevel="error").run(cmd=ffmpeg_path())
    (upright,) = [rgb for _, rgb in frames_at(path, [0.5])]
    (lying,) = [rgb for _, rgb in frames_at(plain, [0.5])]
    assert upright.shape == (64, 48, 3)
    assert np.abs(upright.astype(int) - np.rot90(lying)).mean() < 3


def test_of_several_streams_the_first_picture_and_the_first_sound_are_taken(tmp_path):
    words = tmp_path / "words.srt"
    words.write_text("1\n00:00:00,000 --> 00:00:02,000\nnothing to decode\n")
    inputs = [
        ffmpeg.input(str(words)),
        ffmpeg.input("sine=f=440:r=16000:d=2", f="lavfi"),
        ffmpeg.input("sine=f=880:r=48000:d=2", f="lavfi"),
        ffmpeg.input(picture("64x48"), f="lavfi"),
        ffmpeg.input(picture("32x32"), f="lavfi"),
    ]
    path = tmp_path / "a.mkv"
    ffmpeg.output(
        *inputs, str(path), attach=str(words), vcodec="ffv1", acodec="pcm_s16le", loglevel="error",
        **{"metadata:s:t": "mimetype=text/plain"},
    ).run(cmd=ffmpeg_path())  # fmt: skip
    assert next(rgb for _, rgb in frames_at(path, [1.0])).shape == (48, 64, 3)
    reader = SoundReader(path)
    heard = reader.span(0, 2, None)
    assert (heard.rate_hz, len(heard.samples)) == (16_000, 32_000)
    reader.close()


def test_pictures_that_change_their_size_keep_it(tmp_path):
    path = tmp_path / "both.m2v"
    for size in ("64x48", "96x64", "32x32"):
        part = encode(tmp_path / "part.m2v", picture(size, seconds=1), vcodec="mpeg2video")
        with path.open("ab") as file:
            file.write(part.read_bytes())
    shapes = [rgb.shape[:2] for _, rgb in frames_at(path, [0.2, 0.7, 1.2, 1.7, 2.2, 2.7])]
    assert shapes == [(48, 64), (48, 64), (64, 96), (64, 96), (32, 32), (32, 32)]


NAMES = [
    "-i.avi", "-", "a b.avi", "it's \"so\".avi", "é\u202e漢.avi", "a\nb.avi", "%d.avi", "a%03d.avi",
    "concat:a|b.avi", "file:a.avi", "pipe:0", "subfile,,start,0,end,0,,:a", "[0:v]null;.avi",
    "a\\:b,c=d'.avi", "$(touch x).avi", "`touch x`.avi", "*.avi", os.fsdecode(b"\xff\xfe.avi"),
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_only_a_name_and_its_directory_is_not_told(tmp_path, name):
    path = encode(tmp_path / "made.avi", picture(seconds=0.4), **MPEG4).rename(tmp_path / name)
    before = sorted(tmp_path.iterdir())
    assert len(list(frames_at(path, [0.2]))) == 1
    assert sorted(tmp_path.iterdir()) == before
    path.write_bytes(b"no video " * 100)
    with pytest.raises(MediaError, match="cannot be decoded") as error:
        list(frames_at(path, [0.2]))
    assert str(tmp_path) not in str(error.value)
    str(error.value).encode()


@pytest.mark.parametrize("make", [Path.mkdir, os.mkfifo, lambda p: p.symlink_to("/dev/zero")])
def test_what_is_no_file_is_never_opened(tmp_path, make):
    path = tmp_path / "odd.avi"
    make(path)
    with pytest.raises(MediaError, match=r"odd\.avi is a") as video:
        list(frames_at(path, [0.2]))
    with pytest.raises(MediaError, match=r"odd\.avi is a") as sound:
        SoundReader(path).span(0, 1, 0)
    assert video.value.reason is sound.value.reason is DropReason.NOT_A_FILE


def test_what_a_file_says_of_itself_is_not_taken_for_ffmpegs_word(tmp_path):
    shown = "[Parsed_showinfo_5 @ 0x1] n: 0 pts: 1 x s:99999x99999 i:P"
    lines = f"{shown}\n  Duration: 99:00:00.00\nError matches no streams exceeds specified max"
    for name in ("a.mkv", "a.mp4"):
        path = encode(tmp_path / name, picture(), **X264, metadata=f"title={lines}")
        assert len(list(frames_at(path, [0.2, 1.0, 5.0]))) == 2
    cut = tmp_path / "terror: invalid.mkv"
    cut.write_bytes(encode(tmp_path / "b.mkv", "sine=d=1").read_bytes())
    with pytest.raises(MediaError) as error:
        list(frames_at(cut, [0.2]))
    assert error.value.reason is DropReason.NO_VIDEO_STREAM


def test_pictures_larger_than_the_limit_are_refused(tmp_path):
    path = encode(tmp_path / "a.avi", picture("640x480"), **MPEG4)
    with pytest.raises(MediaError, match=r"a\.avi has pictures of more than 307199") as error:
        list(frames_at(path, [0.1], MediaSettings(max_pixels=640 * 480 - 1)))
    assert error.value.reason is DropReason.TOO_MANY_PIXELS
    assert "640x480" in error.value.sentence
    assert len(list(frames_at(path, [0.1], MediaSettings(max_pixels=640 * 480)))) == 1


def test_a_recording_that_announces_too_much_is_refused_at_once(tmp_path):
    path = encode(tmp_path / "a.mkv", picture(), "sine=d=2", **X264)
    limits = MediaSettings(max_duration_s=1.5)
    for read in (
        lambda: list(frames_at(path, [0.1], limits)),
        lambda: SoundReader(path, limits).span(0, 1, None),
    ):
        with pytest.raises(MediaError, match=r"a\.mkv announces [\d.]+ s, more than 1\.5 s") as e:
            read()
        assert e.value.reason is DropReason.TOO_LONG


def test_a_recording_that_goes_on_for_too_long_is_refused_when_it_is_met(tmp_path):
    # What was written into a pipe announces nothing.
    pictures = encode(tmp_path / "a.mkv", picture(seconds=3), **FFV1, live=1)
    sound = tmp_path / "b.flac"
    made = ffmpeg.input("sine=r=8000:d=9", f="lavfi").output("pipe:", f="flac", loglevel="error")
    sound.write_bytes(made.run(cmd=ffmpeg_path(), capture_stdout=True)[0])
    limits = MediaSettings(max_duration_s=1.5)
    with pytest.raises(MediaError, match=r"a\.mkv is longer than 1\.5 s") as video:
        list(frames_at(pictures, [0.1, 1.4, 2.9], limits))
    with pytest.raises(MediaError, match=r"b\.flac is longer than 1\.5 s") as heard:
        SoundReader(sound, limits).span(0, 8, None)
    assert video.value.reason is heard.value.reason is DropReason.TOO_LONG


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An ffmpeg that opens the file, says something and then only waits."""
    script = tmp_path / "waiting-ffmpeg"
    script.write_text(
        '#!/bin/sh\n[ "$1" = -version ] && echo "ffmpeg version 7.1" && exit\n'
        'echo "  Duration: N/A" >&2\necho "[avi @ 0x12] invalid and so I wait" >&2\n'
        "printf .snd\nsleep 600\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv(ENVIRONMENT, str(script))
    ffmpeg_path.cache_clear()
    yield script
    monkeypatch.undo()
    ffmpeg_path.cache_clear()


def test_an_ffmpeg_that_waits_for_ever_is_killed_with_all_that_it_started(tmp_path, stand_in):
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF")
    limits = MediaSettings(stall_s=0.5, time_factor=0.1)
    began = time.monotonic()
    for read in (
        lambda: list(frames_at(path, [1.0], limits)),
        lambda: SoundReader(path, limits).span(0, 1, None),
    ):
        with pytest.raises(MediaError, match=r"stalled ffmpeg \(limit 0.6 s\)") as error:
            read()
        assert error.value.reason is DropReason.TIME_LIMIT
        assert "invalid and so I wait" in error.value.sentence
    assert time.monotonic() - began < 10
    assert not [p for p in psutil.Process().children(recursive=True) if "sleep" in p.name()]


def test_the_time_that_we_take_ourselves_does_not_count(tmp_path):
    path = encode(tmp_path / "a.avi", picture("320x240", seconds=4), **MPEG4)
    limits = MediaSettings(stall_s=1.0, time_factor=0)
    found = 0
    for _ in frames_at(path, [k / 2 for k in range(8)], limits):
        time.sleep(0.3)
        found += 1
    assert found == 8


def test_a_decoder_that_is_killed_by_another_says_nothing_of_the_file(tmp_path):
    path = encode(tmp_path / "a.avi", picture("640x480", seconds=4), **MPEG4)
    for sign in (signal.SIGKILL, signal.SIGTERM):
        reader = PictureReader(path, [k / 25 for k in range(100)], MediaSettings())
        assert reader.next() is not None
        decoders = [p for p in psutil.Process().children() if "ffmpeg" in p.name()]
        assert decoders
        for decoder in decoders:
            decoder.send_signal(sign)
        with pytest.raises(MediaKilledError, match=r"read a\.avi was killed"):
            list(iter(reader.next, None))
        reader.close()


@pytest.mark.parametrize(
    ("section", "name", "value"),
    [
        *(("faces", "factor", value) for value in (1.0, 0.0, float("nan"))),
        *(("faces", "min_face_px", value) for value in (0, -1)),
        *(("faces", "image_size_px", value) for value in (0, 1 << 20)),
        *(("mel", name, value) for name in ("n_fft", "hop", "rate_hz") for value in (0, 1 << 30)),
        ("mel", "n_mels", 1 << 20),
        *(
            ("text", name, value)
            for name in ("vocabulary_size", "pad_id")
            for value in (-1, 1 << 30)
        ),
    ],
)
def test_settings_that_take_all_memory_or_never_end_are_refused(section, name, value):
    stored = PrepSettings(text=TextSettings(vocabulary_size=100)).to_json()
    stored[section][name] = value
    with pytest.raises(SettingsError, match=f"{name} is .*, expected"):
        PrepSettings.from_json(stored)


def test_limits_have_ranges_and_settings_come_back_from_json():
    settings = PrepSettings(
        media=MediaSettings(1000, 7.5, 1, 0), spans=SpanSettings(0.25), quality=QualitySettings(-1)
    )
    assert PrepSettings.from_json(json.loads(json.dumps(settings.to_json()))) == settings
    assert settings.digest() != PrepSettings().digest()
    with pytest.raises(SettingsError, match="max_pixels is 0"):
        MediaSettings(max_pixels=0)
    with pytest.raises(SettingsError, match="time_factor is -1"):
        MediaSettings(time_factor=-1)
    with pytest.raises(SettingsError, match="frozen_pictures is 1"):
        QualitySettings(frozen_pictures=1)


# Where media and span do not agree.


def open_span(tmp_path: Path, *spans: tuple[float, float]) -> tuple[OpenRecording, list[Utterance]]:
    """A video of 3.0 s and a sound of 4.0 s, opened for these spans."""
    video = encode(tmp_path / "a.avi", picture(seconds=3), **MPEG4)
    sound = write_wav(tmp_path / "a.wav", noise(4))
    utterances = [Utterance(f"u{i}", "r", *span, "x", ("ang",)) for i, span in enumerate(spans)]
    return OpenRecording(Recording("r", video, sound), utterances, FrameSettings()), utterances


@pytest.mark.parametrize(
    ("span", "kept"),
    [
        ((0.5, 2.5), (0.5, 2.5, False)),
        ((0.5, 3.0), (0.5, 3.0, False)),
        ((0.5, 3.09), (0.5, 3.09, False)),
        ((0.5, 3.12), (0.5, 3.0, True)),
        ((1.9, 3.9), (1.9, 3.0, True)),
        ((2.0, 4.0), (2.0, 3.0, True)),
        ((2.1, 4.0), None),
        ((3.2, 3.9), None),
        ((5.0, 6.0), None),
        ((1.0, 1e300), None),
        ((1e300, 1.1e300), None),
    ],
)
def test_the_shorter_of_both_ends_the_span(tmp_path, span, kept):
    source, (utterance,) = open_span(tmp_path, span)
    with source:
        source.waveform(utterance)
        times = [time_s for time_s, _ in source.frames(utterance)]
        if kept is None:
            with pytest.raises(UtteranceError, match=r"ends at [34]\.000 s") as error:
                source.clamped(utterance)
            assert error.value.reason is DropReason.SPAN_OUTSIDE_MEDIA
        else:
            cut = source.clamped(utterance)
            assert (cut.start_s, cut.end_s, cut.clamped) == kept
            assert times == [t for t in np.arange(span[0], span[1], 0.5) if t < 3]


def test_the_end_of_one_utterance_does_not_cut_the_others(tmp_path):
    source, utterances = open_span(tmp_path, (0.1, 2.9), (0.2, 3.4), (1.0, 1.4), (2.5, 9.0))
    with source:
        found = []
        for utterance in utterances:
            source.waveform(utterance)
            count = len(list(source.frames(utterance)))
            try:
                found.append((count, source.clamped(utterance).end_s))
            except UtteranceError:
                found.append((count, None))
    assert found == [(6, 2.9), (6, 3.0), (1, 1.4), (1, None)]


def test_nothing_is_read_of_what_is_not_asked_for(tmp_path):
    source, (utterance,) = open_span(tmp_path, (0.5, 1.5))
    with source:
        assert not source.pictures.opened and not source.sound.opened
        source.waveform(utterance)
        assert source.sound.opened and not source.pictures.opened


def test_a_file_cut_short_says_where_it_ends_and_what_was_wrong(tmp_path):
    whole = encode(tmp_path / "a.mkv", picture(seconds=3), **FFV1)
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    sound = write_wav(tmp_path / "a.wav", noise(4))
    utterance = Utterance("u", "r", 1.3, 3.0, "x", ("ang",))
    with OpenRecording(Recording("r", whole, sound), [utterance], FrameSettings()) as source:
        list(source.frames(utterance))
        with pytest.raises(UtteranceError, match=r"picture ends at 1\.\d* s, where the file is d"):
            source.clamped(utterance)


# Sound and pictures that show nothing.


def test_silence_is_told_from_a_quiet_voice():
    settings = QualitySettings()
    silent = Waveform(np.full(8000, 1e-4, np.float32), 16_000)
    with pytest.raises(UtteranceError, match="loudest audio sample is 0.0001") as error:
        check_sound(silent, settings)
    assert error.value.reason is DropReason.SILENT_AUDIO
    check_sound(silent, QualitySettings(silent_level=-1))
    quiet = Waveform(silent.samples.copy(), 16_000)
    quiet.samples[17] = -2e-4
    check_sound(quiet, settings)
    # Too short and no number at all are the spectrum's to say.
    check_sound(Waveform(np.zeros(0, np.float32), 16_000), settings)
    check_sound(Waveform(np.full(9, np.nan, np.float32), 16_000), settings)


def judged(settings: QualitySettings, *views: np.ndarray) -> DropReason | None:
    check = PictureCheck(settings)
    assert len(list(check.passing(enumerate(views)))) == len(views)
    try:
        check.judge()
    except UtteranceError as error:
        return error.reason
    return None


def test_black_and_frozen_pictures_are_told_from_dark_and_still_ones():
    rng = np.random.default_rng(0)
    black = [rng.integers(0, 17, (40, 40, 3)).astype(np.uint8) for _ in range(3)]
    dark = black[0].copy()
    dark[3, 3, 1] = 17
    on, off = QualitySettings(), QualitySettings(black_level=-1, frozen_pictures=0)
    assert judged(on, *black) is DropReason.BLACK_PICTURE
    assert judged(on, black[0]) is DropReason.BLACK_PICTURE
    assert judged(on, black[0], dark, black[1]) is None
    assert judged(on, dark, dark) is None
    assert judged(on, dark, dark, dark) is DropReason.FROZEN_PICTURE
    assert judged(on, dark, dark, dark, black[0]) is None
    assert judged(off, *black, black[0], black[0]) is judged(off, dark, dark, dark) is None
    assert judged(on) is None


# Sound of odd rates and values.


@pytest.mark.parametrize("rate", [1, 8000, 11_025, 22_050, 22_255, 44_100, 44_101, 192_000])
def test_every_rate_is_brought_to_ours(rate):
    seconds = 2
    samples = np.sin(np.arange(seconds * rate) * (2 * np.pi * 440 / rate)).astype(np.float32)
    mel = mel_spectrum(Waveform(samples, rate), MelSettings())
    assert abs(len(mel.log_power) - 161) <= 1
    if rate > 4000:
        assert mel.log_power[80].argmax() in (23, 24, 25)


@pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
def test_samples_that_no_spectrum_can_be_made_of_are_a_reason(value):
    samples = noise(1)[:, 0].astype(np.float32)
    samples[100] = value
    with pytest.raises(UtteranceError, match="no finite numbers") as error:
        mel_spectrum(Waveform(samples, 16_000), MelSettings())
    assert error.value.reason is DropReason.UNDECODABLE_AUDIO


def test_a_rate_that_cannot_be_is_refused(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(1, channels=1), rate=1_000_000_000)
    with pytest.raises(MediaError, match="states 1000000000 audio samples") as error:
        SoundReader(path).span(0, 1, 0)
    assert error.value.reason is DropReason.UNDECODABLE_AUDIO


def test_a_file_with_a_header_and_nothing_else_holds_none(tmp_path):
    path = write_wav(tmp_path / "a.wav", noise(0))
    with pytest.raises(MediaError, match=r"a\.wav holds no sound") as error:
        SoundReader(path).span(0, 1, 0)
    assert error.value.reason is DropReason.NO_AUDIO_STREAM


# Annotations of arbitrary bytes.


@given(st.binary(max_size=200), st.text(max_size=40), st.floats(), st.floats())
def test_each_turn_that_is_parsed_has_a_speaker(data, name, start_s, end_s):
    line = f"[{start_s:f} - {end_s:f}]\t{name}_F1\tang\t[1, 2, 3]\n"
    for text in (line, data.decode("utf-8", "replace"), f"[1 - 2]\t{name}\tang\t[x]"):
        for entry in parse_labels(text):
            if not isinstance(entry, str):
                assert view_of(entry.id).half in ("left", "right")


@pytest.fixture(scope="module")
def bare_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    dialog = tmp_path_factory.mktemp("bare") / "Session1/dialog"
    for folder, suffix in (("wav", ".wav"), ("avi/DivX", ".avi")):
        (dialog / folder).mkdir(parents=True)
        (dialog / folder / f"Ses01F_a{suffix}").write_bytes(b"x")
    for folder in ("EmoEvaluation", "transcriptions"):
        (dialog / folder).mkdir()
    return dialog


LINE = b"[1.0 - %b]\tSes01F_a_F%b\tang\t[1, 2, 3]\n"
SPOKEN = b"Ses01F_a_F%b [1.0-2.0]: %b\n"


@given(st.lists(st.tuples(st.binary(max_size=9), st.binary(max_size=9)), max_size=4), st.data())
def test_annotations_of_any_bytes_raise_only_our_own_errors(bare_tree, parts, data):
    labels = b"".join(LINE % pair for pair in parts) + data.draw(st.binary(max_size=50))
    words = b"".join(SPOKEN % pair for pair in parts) + data.draw(st.binary(max_size=50))
    (bare_tree / "EmoEvaluation/Ses01F_a.txt").write_bytes(labels)
    (bare_tree / "transcriptions/Ses01F_a.txt").write_bytes(words)
    try:
        inventory = iemocap.scan(bare_tree.parent.parent, LabelChoice(("ang",)))
    except CorpusError:
        return
    for utterance in inventory.utterances:
        assert 0 <= utterance.start_s < utterance.end_s
        assert "\0" not in utterance.id + utterance.transcript
        (utterance.id + utterance.transcript).encode()
