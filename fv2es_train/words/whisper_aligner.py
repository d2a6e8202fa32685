"""Score words against sound by the embedded Whisper, whose decoder gets the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fv2es_train.predict.recognisers import Embedded
from fv2es_train.words.aligner import EncoderDecoder

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LEAST = 1e-10


class WhisperAligner(EncoderDecoder):
    """Whisper tiny.en: English only, at most 30 s and 448 tokens."""

    name = Embedded.name

    def __init__(self) -> None:
        from faster_whisper.tokenizer import Tokenizer

        self._model = Embedded().model
        tokenizer = Tokenizer(self._model.hf_tokenizer, False)
        self._start = [*tokenizer.sot_sequence, tokenizer.no_timestamps]
        self._tokenizer = tokenizer
        self._most = self._model.max_length - len(self._start) - 1

    def _heard(self, samples: NDArray[np.float32]) -> tuple[NDArray[np.float32], int]:
        """See `EncoderDecoder`; the further input is the number of frames of the spectrum."""
        from faster_whisper.transcribe import get_ctranslate2_storage

        # The sound is not padded to the whole window, which saves most of the time.
        features = self._model.feature_extractor(samples)
        encoded = self._model.model.encode(get_ctranslate2_storage(features[None]), to_cpu=True)
        return np.asarray(encoded), features.shape[1]

    def _of(
        self, encoded: NDArray[np.float32], given: int, texts: Sequence[str]
    ) -> NDArray[np.float64]:
        from faster_whisper.transcribe import get_ctranslate2_storage

        tokens = [self._tokenizer.encode(f" {text}") for text in texts]
        short = [place for place, each in enumerate(tokens) if len(each) <= self._most]
        found = np.full(len(texts), np.nan)
        if short:
            # A batch with one row per text: one call takes half the time of several.
            same = get_ctranslate2_storage(np.repeat(encoded, len(short), 0))
            chosen = [tokens[place] for place in short]
            results = self._model.model.align(same, self._start, chosen, given)
            least = [np.maximum(np.array(r.text_token_probs), _LEAST) for r in results]
            found[short] = [np.log(probabilities).sum() for probabilities in least]
        return found
