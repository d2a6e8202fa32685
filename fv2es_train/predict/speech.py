"""Where somebody speaks: silero-vad, whose weights travel in its package, over sound of any length.

Owns running the network window by window. Leaves cutting speech into utterances to `spans`.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import MediaSettings
from fv2es_prep.media.audio import SoundReader, resampled

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

RATE_HZ = 16_000
# The network takes windows of this many audio samples.
_WINDOW = 512
WINDOW_S = _WINDOW / RATE_HZ
# Sound that is held at a time; a whole number of windows.
_BLOCK_S = 32
# 15 dB, as a factor of the amplitude.
_CROSS_TALK = 10 ** (15 / 20)


@dataclass(frozen=True)
class Heard:
    """What was found in the sound of a file.

    Attributes:
        length_s: of the sound, in seconds.
        probability: for each channel that was asked for float32 (W,), that there is speech in each
            window of `WINDOW_S`.
        level: of the same windows, float32 (W,), root of the mean square.
    """

    length_s: float
    probability: tuple[NDArray[np.float32], ...]
    level: tuple[NDArray[np.float32], ...]

    def of_own(self, place: int) -> NDArray[np.float32]:
        """The probability that one channel's own speaker speaks.

        Microphones hear the other speaker too, and the network hears what is faint as well as what
        is loud: a window counts for nothing where another channel is 15 dB louder.
        """
        import numpy as np

        loudest = np.max(self.level, axis=0)
        own = self.level[place] * _CROSS_TALK >= loudest
        return np.where(own, self.probability[place], 0).astype(np.float32)


def listen(path: Path, channels: Sequence[int | None], media: MediaSettings) -> Heard:
    """Go through the sound of a file once; memory holds one block of it.

    Args:
        path: a local media file.
        channels: of the sound; None is the mean of all.
        media: the limits.

    Raises:
        MediaError: the file holds no sound, or none that can be decoded.
        UtteranceError: there is no such channel.
    """
    import numpy as np

    found: list[list[float]] = [[] for _ in channels]
    level: list[list[float]] = [[] for _ in channels]
    with contextlib.closing(SoundReader(path, media)) as reader:
        listeners = [_Listener() for _ in channels]
        start_s = 0.0
        while not (reader.ended and start_s >= reader.reached_s):
            for place, channel in enumerate(channels):
                block = resampled(reader.span(start_s, start_s + _BLOCK_S, channel), RATE_HZ)
                filled = np.pad(block.samples, (0, -len(block.samples) % _WINDOW))
                found[place] += listeners[place].hear(filled)
                level[place] += np.sqrt(np.square(filled).reshape(-1, _WINDOW).mean(1)).tolist()
            start_s += _BLOCK_S
        length_s = reader.reached_s
    return Heard(length_s, *(tuple(np.array(v, np.float32) for v in two) for two in (found, level)))


class _Listener:
    """The network with the memory of one channel."""

    def __init__(self) -> None:
        self._network = _network()

    def hear(self, samples: NDArray[np.float32]) -> Iterator[float]:
        """The probability of speech in each window of whole ones."""
        import torch

        with torch.no_grad():
            for window in torch.from_numpy(samples).view(-1, _WINDOW):
                yield self._network(window, RATE_HZ).item()


def load() -> None:
    """Load the network and let it hear a window of silence, so that it is quick the first time."""
    import numpy as np

    list(_Listener().hear(np.zeros(_WINDOW, np.float32)))


def _network() -> Any:
    """A fresh copy: what it remembers belongs to one sound."""
    import copy

    return copy.deepcopy(_loaded())


@functools.cache
def _loaded() -> Any:
    import torch

    threads = torch.get_num_threads()
    with warnings.catch_warnings():
        # Its weights are TorchScript, which torch 2.14 reads and says it will not for ever.
        warnings.filterwarnings("ignore", message="`torch.jit.load`", category=FutureWarning)
        warnings.filterwarnings("ignore", message="`torch.jit.load`", category=DeprecationWarning)
        from silero_vad import load_silero_vad

        network = load_silero_vad()
    # The package sets one thread for the whole process when it is imported.
    torch.set_num_threads(threads)
    return network
