"""Speech detection with silero-vad in audio of any length, and cutting into utterances.

The silero-vad package contains the weights.
"""

from __future__ import annotations

import contextlib
import copy
import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import MediaSettings
from fv2es_prep.media.audio import SoundReader, resampled
from fv2es_train.predict.request import SpanRules

if TYPE_CHECKING:
    from numpy.typing import NDArray

RATE_HZ = 16_000
# The network takes windows of this many audio samples.
_WINDOW = 512
WINDOW_S = _WINDOW / RATE_HZ
# Audio in memory at a time; a whole number of windows.
_BLOCK_S = 32
# 15 dB, as a factor of the amplitude.
_CROSS_TALK = 10 ** (15 / 20)
# Speech begins above the first probability and continues until below the second, as in silero-vad.
_SPEECH, _SILENCE = 0.5, 0.35
# Number of windows over which the probability is averaged to find where to cut speech.
_SMOOTH = 5


@dataclass(frozen=True)
class Speech:
    """Speech probabilities of the audio of a file, in W windows of `WINDOW_S`.

    Attributes:
        length_s: length of the audio in seconds.
        probability: for each channel float32 (W,), the probability of speech.
        level: for each channel float32 (W,), root of the mean square.
    """

    length_s: float
    probability: tuple[NDArray[np.float32], ...]
    level: tuple[NDArray[np.float32], ...]

    def without_cross_talk(self, place: int) -> NDArray[np.float32]:
        """The probabilities of one channel; 0 in windows where another channel is 15 dB louder.

        A microphone also records the other speaker, and the network detects faint speech.
        """
        own = self.level[place] * _CROSS_TALK >= np.max(self.level, axis=0)
        return np.where(own, self.probability[place], 0).astype(np.float32)


def detect_speech(path: Path, channels: Sequence[int | None], media: MediaSettings) -> Speech:
    """Read the audio of a file once, one block at a time; a channel of None is the mean of all.

    Raises:
        MediaError: the file has no audio, or none that can be decoded.
        UtteranceError: the audio lacks a channel.
    """
    found: list[list[float]] = [[] for _ in channels]
    level: list[list[float]] = [[] for _ in channels]
    with contextlib.closing(SoundReader(path, media)) as reader:
        # Copy, so that only the memory of one channel is kept.
        networks = [copy.deepcopy(_network()) for _ in channels]
        start_s = 0.0
        while not (reader.ended and start_s >= reader.reached_s):
            for place, channel in enumerate(channels):
                block = resampled(reader.span(start_s, start_s + _BLOCK_S, channel), RATE_HZ)
                filled = np.pad(block.samples, (0, -len(block.samples) % _WINDOW))
                found[place] += _probabilities(networks[place], filled)
                level[place] += np.sqrt(np.square(filled).reshape(-1, _WINDOW).mean(1)).tolist()
            start_s += _BLOCK_S
        length_s = reader.reached_s
    probability, levels = (tuple(np.array(v, np.float32) for v in two) for two in (found, level))
    return Speech(length_s, probability, levels)


def load() -> None:
    """Load the network and run it on a window of silence."""
    list(_probabilities(copy.deepcopy(_network()), np.zeros(_WINDOW, np.float32)))


def _probabilities(network: Any, samples: NDArray[np.float32]) -> Iterator[float]:
    """Yield the probability of speech in each window; the samples fill whole windows."""
    import torch

    with torch.no_grad():
        for window in torch.from_numpy(samples).view(-1, _WINDOW):
            yield network(window, RATE_HZ).item()


@functools.cache
def _network() -> Any:
    import torch

    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        # The weights are TorchScript, which torch 2.14 reads but deprecates.
        warnings.filterwarnings("ignore", message="`torch.jit.load`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit.load`", category=DeprecationWarning)
        from silero_vad import load_silero_vad

        network = load_silero_vad()
    # Importing the package sets torch to one thread for the whole process.
    torch.set_num_threads(threads)
    return network


def cut_speech(
    probability: NDArray[np.float32], window_s: float, rules: SpanRules
) -> list[tuple[float, float]]:
    """Cut speech into utterances by its probability (W,) in each window.

    Returns:
        (start, end) in seconds, in order, without overlap and within the W windows.
    """
    stretches: list[tuple[int, int]] = []
    most = int(rules.longest_s / window_s)
    for begin, end in _stretches(probability, rules.silence_s / window_s):
        if (end - begin) * window_s >= rules.shortest_s:
            stretches += _cut(probability, begin, end, most)
    spans: list[tuple[float, float]] = []
    limit_s = len(probability) * window_s
    for place, (begin, end) in enumerate(stretches):
        before_s = spans[-1][1] if spans else 0.0
        after_s = stretches[place + 1][0] * window_s if place + 1 < len(stretches) else limit_s
        start_s = max(begin * window_s - rules.pad_s, before_s)
        spans.append((round(start_s, 3), round(min(end * window_s + rules.pad_s, after_s), 3)))
    return spans


def _stretches(probability: NDArray[np.float32], silence: float) -> list[tuple[int, int]]:
    """(first window, window after the last) of each stretch of speech."""
    found: list[tuple[int, int]] = []
    begin, last = -1, -1
    for window, value in enumerate(probability.tolist()):
        if begin < 0 and value >= _SPEECH:
            begin, last = window, window
        elif begin >= 0 and value >= _SILENCE:
            last = window
        elif begin >= 0 and window - last > silence:
            found.append((begin, last + 1))
            begin = -1
    return [*found, (begin, last + 1)] if begin >= 0 else found


def _cut(
    probability: NDArray[np.float32], begin: int, end: int, most: int
) -> list[tuple[int, int]]:
    """Cut a stretch into parts of at most ``most`` windows, where speech is least probable."""
    smooth = np.convolve(probability, np.ones(_SMOOTH) / _SMOOTH, mode="same")
    parts = []
    while end - begin > most:
        middle = begin + max(most // 2, 1)
        at = middle + int(smooth[middle : begin + most + 1].argmin())
        parts.append((begin, at))
        begin = at
    return [*parts, (begin, end)]
