from __future__ import annotations

import wave
from pathlib import Path

import ffmpeg
import numpy as np
import pytest
import torch
import torchaudio

from fv2es_prep.config import MelSettings
from fv2es_prep.errors import DropReason, MediaError, UtteranceError
from fv2es_prep.media.audio import SoundReader, sample_index
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.stages.mel import mel_spectrum
from fv2es_prep.types import Waveform

SETTINGS = MelSettings()


def make_wav(path: Path, seconds: float = 20, rate: int = 16_000, channels: int = 2) -> np.ndarray:
    """A wav of noise that grows; returns what a reader should give, float32 (S, channels)."""
    rng = np.random.default_rng(1)
    count = int(seconds * rate)
    data = rng.normal(0, np.linspace(50, 6000, count)[:, None], (count, channels))
    samples = data.clip(-32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(samples.tobytes())
    return samples.astype(np.float32) / 32768


def torchaudio_power(samples: np.ndarray) -> np.ndarray:
    with pytest.warns(UserWarning, match="all zero values"):
        transform = torchaudio.transforms.MelSpectrogram(16_000, n_fft=400, hop_length=200)
    return transform(torch.from_numpy(samples)).T.numpy()


def test_spans_are_the_samples_of_the_file(tmp_path):
    samples = make_wav(tmp_path / "a.wav")
    reader = SoundReader(tmp_path / "a.wav")
    for start_s, end_s in [(0.0, 1.0), (0.5, 9.3137), (0.7, 0.9), (15.0, 19.99), (19.5, 25.0)]:
        begin, end = sample_index(start_s, 16_000), sample_index(end_s, 16_000)
        for channel in (0, 1):
            found = reader.span(start_s, end_s, channel)
            assert found.rate_hz == 16_000
            assert np.array_equal(found.samples, samples[begin:end, channel])
    assert len(reader.span(30.0, 31.0, 0).samples) == 0
    reader.close()


def test_no_channel_means_their_average_and_a_missing_one_is_told(tmp_path):
    samples = make_wav(tmp_path / "a.wav", seconds=1)
    reader = SoundReader(tmp_path / "a.wav")
    both = reader.span(0, 1, None).samples
    assert np.allclose(both, samples.mean(axis=1), atol=1e-7)
    with pytest.raises(
        UtteranceError, match=r"a.wav has 2 audio channel\(s\), expected at least 3"
    ):
        reader.span(0, 1, 2)
    reader.close()


def test_sound_in_a_container_starts_where_its_time_stamps_say(tmp_path):
    path = tmp_path / "late.mkv"
    picture = ffmpeg.input("testsrc2=s=64x48:r=25:d=3", f="lavfi")
    sound = ffmpeg.input("sine=f=440:r=16000:d=2", f="lavfi", itsoffset=0.5)
    ffmpeg.output(
        picture, sound, str(path), vcodec="ffv1", acodec="pcm_s16le", loglevel="error"
    ).run(cmd=ffmpeg_path())
    reader = SoundReader(path)
    samples = reader.span(0, 2.5, None).samples
    reader.close()
    assert not samples[: int(0.49 * 16_000)].any()
    assert np.abs(samples[int(0.51 * 16_000) : int(0.6 * 16_000)]).max() > 0.05


def test_files_without_sound_are_told_apart(tmp_path):
    silent = tmp_path / "silent.avi"
    ffmpeg.input("testsrc2=s=64x48:d=1", f="lavfi").output(
        str(silent), vcodec="mpeg4", loglevel="error"
    ).run(cmd=ffmpeg_path())
    with pytest.raises(MediaError, match=r"silent.avi holds no sound") as none:
        SoundReader(silent).span(0, 1, 0)
    assert none.value.reason is DropReason.NO_AUDIO_STREAM
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF not really")
    with pytest.raises(MediaError, match=r"broken.wav cannot be decoded") as bad:
        SoundReader(broken).span(0, 1, 0)
    assert bad.value.reason is DropReason.UNDECODABLE_AUDIO


def test_linear_power_comes_back_within_half_a_percent(tmp_path):
    samples = make_wav(tmp_path / "a.wav", seconds=4)[:, 0]
    mel = mel_spectrum(Waveform(np.ascontiguousarray(samples), 16_000), SETTINGS)
    reference = torchaudio_power(np.ascontiguousarray(samples))
    assert mel.log_power.dtype == np.float16
    assert mel.log_power.shape == reference.shape == (1 + len(samples) // 200, 128)
    assert mel.hop_s == 0.0125
    high = reference > 1.2e-7
    assert high.mean() > 0.8
    error = np.abs(mel.power[high] / reference[high] - 1)
    assert error.max() < 0.005
    # Bands without a bin hold nothing: they come back as the floor.
    assert mel.power[~high].max() < 1.3e-7


@pytest.mark.parametrize("loud", [1.0, 1e-3])
def test_the_loudest_and_the_quietest_sounds_are_within_it_too(loud):
    time_s = np.arange(32_000) / 16_000
    samples = (loud * np.sign(np.sin(2 * np.pi * 220 * time_s))).astype(np.float32)
    mel = mel_spectrum(Waveform(samples, 16_000), SETTINGS)
    reference = torchaudio_power(samples)
    high = reference > 1.2e-7
    assert np.isfinite(mel.log_power).all()
    assert np.abs(mel.power[high] / reference[high] - 1).max() < 0.005


def test_other_rates_are_resampled_by_torchaudio():
    samples = np.random.default_rng(0).normal(0, 0.1, 44_100).astype(np.float32)
    mel = mel_spectrum(Waveform(samples, 44_100), SETTINGS)
    resampled = torchaudio.functional.resample(torch.from_numpy(samples), 44_100, 16_000).numpy()
    reference = torchaudio_power(resampled)
    high = reference > 1.2e-7
    assert np.abs(mel.power[high] / reference[high] - 1).max() < 0.005


@pytest.mark.parametrize("count", [0, 1, 200])
def test_too_little_sound_is_a_reason(count):
    with pytest.raises(UtteranceError, match=f"{count} audio samples") as error:
        mel_spectrum(Waveform(np.zeros(count, np.float32), 16_000), SETTINGS)
    assert error.value.reason is DropReason.NO_AUDIO_IN_SPAN
    mel_spectrum(Waveform(np.zeros(201, np.float32), 16_000), SETTINGS)


def test_samples_that_are_no_numbers_are_a_reason():
    samples = np.zeros(4000, np.float32)
    samples[100] = np.nan
    with pytest.raises(UtteranceError, match="no finite numbers"):
        mel_spectrum(Waveform(samples, 16_000), SETTINGS)
