"""Score words against sound by a character model trained with CTC (Graves et al. 2006)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch.nn.functional import ctc_loss

from fv2es_train.words.aligner import RATE_HZ, Aligner

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


class CtcAligner(Aligner):
    """A model in transformers' format, for any language; unknown characters are dropped.

    The probability is the sum over all alignments (`torch.nn.functional.ctc_loss`). There is no
    language model, so no words are more common than others.
    """

    def __init__(self, name: str, processor: Any, model: Any) -> None:
        self.name, self._processor, self._model = name, processor, model
        tokenizer = processor.tokenizer
        self._upper = "A" in tokenizer.get_vocab()
        self._unknown, self._blank = tokenizer.unk_token_id, model.config.pad_token_id

    def alone(self, text: str) -> float:  # noqa: ARG002
        """0: there is no language model."""
        return 0.0

    def _fits(self, samples: NDArray[np.float32], texts: Sequence[str]) -> Sequence[float]:
        inputs = self._processor(samples, sampling_rate=RATE_HZ, return_tensors="pt")
        with torch.no_grad():
            steps = self._model(**inputs).logits[0].log_softmax(-1)
        return [self._of(steps, text) for text in texts]

    def _of(self, steps: torch.Tensor, text: str) -> float:
        """Score one text; ``steps`` are log probabilities (T, V)."""
        cased = text.upper() if self._upper else text.lower()
        ids = self._processor.tokenizer(cased, add_special_tokens=False).input_ids
        known = torch.tensor([k for k in ids if k not in (self._unknown, self._blank)])
        if not len(known):
            return float("nan")
        lengths = torch.tensor([len(steps)]), torch.tensor([len(known)])
        loss = ctc_loss(steps[:, None], known[None], *lengths, blank=self._blank, reduction="sum")
        # A text with more characters than steps has no alignment.
        return -float(loss) if torch.isfinite(loss) else float("nan")
