"""Words against sound by the embedded Whisper, whose decoder is given the words."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_train.predict.recognisers import Embedded
from fv2es_train.words.aligner import RATE_HZ, Aligner

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Whisper's window; it takes a shorter one as it is, which saves most of the time.
_LONGEST_S = 30
_SILENCE_S = 3
_LEAST = 1e-10


class WhisperAligner(Aligner):
    """Whisper tiny.en: English only, at most 30 s, of 448 tokens."""

    name = Embedded.name

    def __init__(self) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self._model = Embedded().model
        tokenizer = Tokenizer(self._model.hf_tokenizer, False)
        self._start = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        self._tokenizer = tokenizer
        self._most = self._model.max_length - len(self._start) - 1

    def alone(self, text: str) -> float:
        """Its probability in silence."""
        return self._of(*self._silence, text)

    @functools.cached_property
    def _silence(self) -> tuple[Any, int]:
        return self._encoded(np.zeros(_SILENCE_S * RATE_HZ, np.float32))

    def _fits(self, samples: NDArray[np.float32], texts: Sequence[str]) -> Sequence[float]:
        if len(samples) > _LONGEST_S * RATE_HZ:
            return [np.nan] * len(texts)
        encoded = self._encoded(samples)
        return [self._of(*encoded, text) for text in texts]

    def _encoded(self, samples: NDArray[np.float32]) -> tuple[Any, int]:
        from faster_whisper.transcribe import get_ctranslate2_storage

        features = self._model.feature_extractor(samples)
        encoded = self._model.model.encode(get_ctranslate2_storage(features[None]))
        return encoded, features.shape[1]

    def _of(self, encoded: Any, frames: int, text: str) -> float:
        tokens = self._tokenizer.encode(f" {text}")
        if len(tokens) > self._most:
            return float("nan")
        (result,) = self._model.model.align(encoded, self._start, [tokens], frames)
        probabilities = np.maximum(np.array(result.text_token_probs), _LEAST)
        return float(np.log(probabilities).sum())
