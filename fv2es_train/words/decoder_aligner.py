"""Score words against sound by a Whisper in transformers' format, whose decoder gets the words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from fv2es_train.words.aligner import RATE_HZ, EncoderDecoder

if TYPE_CHECKING:
    from numpy.typing import NDArray


class DecoderAligner(EncoderDecoder):
    """A Whisper of any size; a multilingual one detects the language of each sound."""

    def __init__(self, name: str, processor: Any, model: Any) -> None:
        self.name, self._processor, self._model = name, processor, model
        self._most = model.config.max_target_positions - 4

    @torch.no_grad()
    def _heard(self, samples: NDArray[np.float32]) -> tuple[torch.Tensor, list[int]]:
        """See `EncoderDecoder`; the further input is the tokens before the text."""
        given = self._processor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        features, rules = given.input_features, self._model.generation_config
        start = [self._model.config.decoder_start_token_id]
        if getattr(rules, "is_multilingual", False):
            start.append(int(self._model.detect_language(features)[0]))
            start.append(rules.task_to_id["transcribe"])
        if (plain := getattr(rules, "no_timestamps_token_id", None)) is not None:
            start.append(plain)
        return self._model.get_encoder()(features).last_hidden_state, start

    @torch.no_grad()
    def _of(
        self, encoded: torch.Tensor, given: list[int], texts: Sequence[str]
    ) -> NDArray[np.float64]:
        tokenizer = self._processor.tokenizer
        tokens = [tokenizer(f" {text}", add_special_tokens=False).input_ids for text in texts]
        found = np.full(len(texts), np.nan)
        for place, each in enumerate(tokens):
            if 0 < len(each) <= self._most:
                ids = torch.tensor([[*given, *each]])
                logits = self._model(decoder_input_ids=ids, encoder_outputs=(encoded,)).logits
                steps = logits[0, len(given) - 1 : -1].log_softmax(-1)
                found[place] = float(steps[torch.arange(len(each)), each].sum())
        return found
