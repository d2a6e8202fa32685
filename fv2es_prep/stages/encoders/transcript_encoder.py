"""Rows of text encoders: a row for each token, including those that mark begin and end."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from fv2es_prep.stages.encoders.encoder_loading import by_length, exact, hidden_state
from fv2es_prep.stages.encoders.encoder_settings import EncoderSettings
from fv2es_prep.stages.tokens import load_tokenizer

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

# Tokens in a batch, padding included.
_TOKENS = 1024


class TranscriptEncoder:
    """From transcripts to rows, float32 (L, D) each."""

    def __init__(
        self, directory: Path, network: Any, settings: EncoderSettings, batch: int = 0
    ) -> None:
        self._network, self._settings, self._batch = network, settings, batch or _TOKENS
        self._device = next(network.parameters()).device
        self._tokenizer = load_tokenizer(str(directory))

    def __call__(self, transcripts: Sequence[str]) -> list[NDArray[np.float32]]:
        most = self._settings.max_tokens
        ids = self._tokenizer(list(transcripts), truncation=True, max_length=most)["input_ids"]
        lengths = [len(one) for one in ids]
        found: dict[int, NDArray[np.float32]] = {}
        with exact():
            for batch in by_length(lengths, self._batch):
                longest = max(lengths[place] for place in batch)
                tokens = torch.full((len(batch), longest), self._tokenizer.pad_token_id or 0)
                mask = torch.zeros_like(tokens)
                for row, place in enumerate(batch):
                    tokens[row, : lengths[place]] = torch.tensor(ids[place])
                    mask[row, : lengths[place]] = 1
                inputs = {"input_ids": tokens, "attention_mask": mask}
                inputs = {name: values.to(self._device) for name, values in inputs.items()}
                states = hidden_state(
                    self._network,
                    self._settings.layer,
                    self._settings,
                    lambda inputs=inputs: self._network(**inputs).last_hidden_state,
                )
                for place, rows in zip(batch, states.cpu().numpy(), strict=True):
                    found[place] = rows[: lengths[place]]
        return [found[place] for place in range(len(ids))]
