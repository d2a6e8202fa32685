"""From a media file to one speaker's sound.

Owns decoding, channels and resampling.
"""

from __future__ import annotations

import contextlib
import math
import struct
from collections.abc import Generator
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.config import DEFAULT_MEDIA, MediaSettings
from fv2es_prep.errors import DropReason, UtteranceError
from fv2es_prep.media.ffmpeg import input_of
from fv2es_prep.media.process import Process
from fv2es_prep.types import Waveform

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Sun's AU format, the smallest header that names rate and channels: magic, offset of the data,
# size, encoding (6 = 32-bit float), rate, channels; all big-endian.
_AU_HEADER = struct.Struct(">4s5I")
_BLOCK_S = 4
_BLOCK_BYTES = 4 << 20
_MAX_RATE_HZ = 768_000
# torchaudio's resampling kernel has p * q cells for rates p : q in lowest terms.
_MAX_KERNEL = 4_000_000
_MAX_DENOMINATOR = 640


def sample_index(seconds: float, rate_hz: int) -> int:
    """The index of the audio sample at a time: floor(seconds * rate)."""
    return math.floor(seconds * rate_hz)


class SoundReader:
    """The sound of one file, decoded once from front to back; request spans in order of start.

    Attributes:
        opened: whether a decoder was started.
        ended: whether the end was reached; ``reached_s`` is then the end of the sound.
        reached_s: seconds read so far.
        damaged: after the end, whether ffmpeg reported errors and continued.
    """

    def __init__(self, path: Path, media: MediaSettings = DEFAULT_MEDIA) -> None:
        self.reached_s, self.opened, self.ended, self.damaged = 0.0, False, False, False
        self._path, self._media = path, media
        self._blocks = self._read()
        self._rate_hz = 0
        self._until_s = 0.0
        self._held: NDArray[np.float32] | None = None
        self._held_from = 0

    def span(self, start_s: float, end_s: float, channel: int | None) -> Waveform:
        """Read one span: float32 samples at the file's rate, cut at the end of the file.

        Args:
            start_s: start in seconds, not before that of the previous span.
            end_s: end in seconds.
            channel: index of the channel; None averages all.

        Raises:
            MediaError: the file holds no sound, cannot be decoded, or exceeds a limit.
            UtteranceError: the file does not have that channel.
        """
        # Never read beyond the longest recording, whatever the span.
        longest_s = self._media.max_duration_s + 1
        start_s, end_s = min(start_s, longest_s), min(end_s, longest_s)
        self._until_s = end_s
        if self._held is None:
            self._held = next(self._blocks)
        begin, end = (sample_index(t, self._rate_hz) for t in (start_s, end_s))
        while self._held_from + len(self._held) < end:
            block = next(self._blocks, None)
            if block is None:
                break
            self._forget(begin)
            self._held = np.concatenate([self._held, block])
        self._forget(begin)
        cut = self._held[max(begin - self._held_from, 0) : max(end - self._held_from, 0)]
        return Waveform(self._one_channel(cut, channel), self._rate_hz)

    def close(self) -> None:
        """Stop reading."""
        self._blocks.close()

    def _forget(self, begin: int) -> None:
        assert self._held is not None
        gone = min(max(begin - self._held_from, 0), len(self._held))
        self._held = self._held[gone:]
        self._held_from += gone

    def _one_channel(self, cut: NDArray[np.float32], channel: int | None) -> NDArray[np.float32]:
        if channel is None:
            return np.ascontiguousarray(cut.mean(axis=1, dtype=np.float32))
        if channel >= cut.shape[1]:
            raise UtteranceError(
                f"{self._path.name} has {cut.shape[1]} audio channel(s), expected at least "
                f"{channel + 1}",
                DropReason.CHANNEL_MISSING,
                "restore the original file, which has one channel for each speaker",
            )
        return np.ascontiguousarray(cut[:, channel])

    def _read(self) -> Generator[NDArray[np.float32]]:
        """float32 (S, channels) blocks; sets the rate before the first one."""
        # aresample fills gaps in the time stamps with silence and starts at the file's beginning,
        # so that the sound stays in step with the picture; without gaps it changes no sample.
        resample = "aresample=async=1:first_pts=0"
        stream = input_of("sound", self._media).output(
            "pipe:", format="au", acodec="pcm_f32be", map="0:a:0", af=resample
        )
        with contextlib.closing(Process(self._path, "sound", stream, self._media)) as process:
            self.opened = True
            process.check_announced()
            channels = self._read_header(process)
            frame, samples = 4 * channels, 0
            block = min(frame * self._rate_hz * _BLOCK_S, _BLOCK_BYTES) // frame * frame
            while data := self._wait_for(process, block):
                whole = data[: len(data) // frame * frame]
                samples += len(whole) // frame
                self.reached_s = samples / self._rate_hz
                if self.reached_s > (limit_s := self._media.max_duration_s):
                    process.refuse(DropReason.TOO_LONG, f"is longer than {limit_s:g} s")
                    break
                yield np.frombuffer(whole, ">f4").astype(np.float32).reshape(-1, channels)
            self.damaged = process.finish(self._until_s, anything=samples > 0)
            self.ended = True

    def _read_header(self, process: Process) -> int:
        header = self._wait_for(process, _AU_HEADER.size)
        if len(header) < _AU_HEADER.size:
            process.finish(self._until_s, anything=False)
        _, offset, _, _, self._rate_hz, channels = _AU_HEADER.unpack(header)
        self._wait_for(process, offset - _AU_HEADER.size)
        if not 0 < self._rate_hz <= _MAX_RATE_HZ:
            process.refuse(
                DropReason.UNDECODABLE_AUDIO,
                f"states {self._rate_hz} audio samples per second, expected 1 to {_MAX_RATE_HZ}",
            )
            process.finish(self._until_s, anything=False)
        return int(channels)

    def _wait_for(self, process: Process, count: int) -> bytes:
        with process.waiting(self._until_s):
            return process.stdout.read(count)


def resampled(waveform: Waveform, rate_hz: int) -> Waveform:
    """The same sound at another rate, by torchaudio's windowed sinc."""
    if waveform.rate_hz == rate_hz or not len(waveform.samples):
        return waveform
    import torch
    import torchaudio

    ratio, samples = _ratio(waveform.rate_hz, rate_hz), torch.from_numpy(waveform.samples)
    new = torchaudio.functional.resample(samples, ratio.numerator, ratio.denominator)
    return Waveform(new.numpy(), rate_hz)


def _ratio(rate_hz: int, wanted_hz: int) -> Fraction:
    """The ratio of two rates, reduced until torchaudio's kernel fits in memory.

    Exact rates such as 44 101 Hz to 16 000 Hz would take gigabytes; the reduced rate is off by less
    than 1 in 10 000. All usual rates are exact.
    """
    ratio = Fraction(rate_hz, wanted_hz)
    cells = ratio.numerator * ratio.denominator
    return ratio if cells <= _MAX_KERNEL else ratio.limit_denominator(_MAX_DENOMINATOR)
