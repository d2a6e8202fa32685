"""The probability of given words for a sound: the base of all speech models.

Nothing is recognized: the words are given, and a model returns their probability.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Waveform

RATE_HZ = 16_000
# Whisper's window, and the length of a silence.
_LONGEST_S, _SILENCE_S = 30, 3


class Aligner(ABC):
    """A speech model; ``name`` is for messages."""

    name: str

    def fits(self, sound: Waveform, texts: Sequence[str]) -> NDArray[np.float64]:
        """Compute the natural logarithm of the probability of each text, given a sound.

        Args:
            sound: the sound, at any sampling rate.
            texts: candidate texts.

        Returns:
            float64 (len(texts),); NaN if the model cannot score a text.
        """
        import torch
        from torchaudio.functional import resample

        heard = resample(torch.from_numpy(sound.samples), sound.rate_hz, RATE_HZ).numpy()
        return np.array(self._fits(heard, texts), np.float64)

    @abstractmethod
    def alone(self, text: str) -> float:
        """The same for a text without sound: how common its words are by themselves."""

    @abstractmethod
    def _fits(
        self, samples: NDArray[np.float32], texts: Sequence[str]
    ) -> Sequence[float] | NDArray[np.float64]:
        """`fits` for samples at 16 kHz."""


class EncoderDecoder(Aligner):
    """Whisper in any runtime: an encoder with a window, and a decoder that gets the words."""

    def alone(self, text: str) -> float:
        """The log probability of the text in silence."""
        return float(self._of(*self._silence, [text])[0])

    @functools.cached_property
    def _silence(self) -> tuple[Any, Any]:
        return self._heard(np.zeros(_SILENCE_S * RATE_HZ, np.float32))

    def _fits(self, samples: NDArray[np.float32], texts: Sequence[str]) -> NDArray[np.float64]:
        if len(samples) > _LONGEST_S * RATE_HZ:
            return np.full(len(texts), np.nan)
        return self._of(*self._heard(samples), texts)

    @abstractmethod
    def _heard(self, samples: NDArray[np.float32]) -> tuple[Any, Any]:
        """Encode a sound: (1, T, D), and further inputs of the decoder."""

    @abstractmethod
    def _of(self, encoded: Any, given: Any, texts: Sequence[str]) -> NDArray[np.float64]:
        """`fits` for the result of `_heard`."""


def load_aligner(name: str) -> Aligner:
    """Load a speech model.

    Args:
        name: ``embedded``, or a directory or hub name in transformers' format, of Whisper or of a
            CTC model.

    Raises:
        WorkError: the model cannot be loaded.
    """
    from fv2es_train.predict.recognisers import EMBEDDED

    if name == EMBEDDED:
        from fv2es_train.words.whisper_aligner import WhisperAligner

        return WhisperAligner()
    from fv2es_train.words.pretrained import load_pretrained

    return load_pretrained(name)
