"""How probable given words are for a sound; what models of speech have in common for it.

Nothing is recognised: the words are given, and a model states their probability.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Waveform

RATE_HZ = 16_000


class Aligner(ABC):
    """A model of speech; ``name`` is for messages."""

    name: str

    def fits(self, sound: Waveform, texts: Sequence[str]) -> NDArray[np.float64]:
        """The natural logarithm of the probability of each text, given a sound.

        Args:
            sound: at any rate.
            texts: what may be said in it.

        Returns:
            float64 (len(texts),); NaN where the model cannot say.
        """
        import torch
        from torchaudio.functional import resample

        heard = resample(torch.from_numpy(sound.samples), sound.rate_hz, RATE_HZ).numpy()
        return np.array(self._fits(heard, texts), np.float64)

    @abstractmethod
    def alone(self, text: str) -> float:
        """The same of a text without a sound: how usual such words are in themselves."""

    @abstractmethod
    def _fits(
        self, samples: NDArray[np.float32], texts: Sequence[str]
    ) -> Sequence[float] | NDArray[np.float64]:
        """As `fits`, at 16 kHz."""


def load_aligner(name: str) -> Aligner:
    """Load a model.

    Args:
        name: ``embedded``, or a directory or hub name in transformers' format, of Whisper or of a
            CTC model.

    Raises:
        WorkError: it cannot be loaded.
    """
    from fv2es_train.predict.recognisers import EMBEDDED

    if name == EMBEDDED:
        from fv2es_train.words.whisper_aligner import WhisperAligner

        return WhisperAligner()
    from fv2es_train.words.pretrained import load_pretrained

    return load_pretrained(name)
