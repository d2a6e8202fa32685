"""The text branch for several utterances at once, ahead of their pictures and sound.

Given texts are known before anything is decoded. Recognized texts are not: they run one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from fv2es_train.predict.utterances import text_example

if TYPE_CHECKING:
    from torch import Tensor

    from fv2es_prep.types import Example, Utterance
    from fv2es_train.predict.predictor import Predictor

# Texts in a group: a text costs half as much as alone (docs/model-speed.md).
TEXTS_AT_ONCE = 4


class TextsAhead:
    """Runs the text branch of a video in groups, in order of time.

    The first group has one text, so that the first result is not delayed. Memory is that of one
    group.

    Args:
        predictor: the trained run, which reads text.
        utterances: the utterances whose text is given, in order of time.
    """

    def __init__(self, predictor: Predictor, utterances: Sequence[Utterance]) -> None:
        self.predictor = predictor
        self._left, self._size = list(utterances), 1
        self._known: dict[str, tuple[Example, Tensor]] = {}

    def take(self, utterance: Utterance) -> tuple[Example, Tensor]:
        """The text of an utterance as an example, and its outputs, see `Scorer.text_outputs`.

        Args:
            utterance: the next one in order of time; its transcript is given or recognized.

        Raises:
            TokenizerError: the tokenizer differs from that of the run.
        """
        if self._left and self._left[0].id == utterance.id:
            group, self._left = self._left[: self._size], self._left[self._size :]
            self._size = TEXTS_AT_ONCE
            self._known = self._run(group)
        elif utterance.id not in self._known:
            return self._run([utterance])[utterance.id]
        return self._known.pop(utterance.id)

    def _run(self, group: Sequence[Utterance]) -> dict[str, tuple[Example, Tensor]]:
        examples = [text_example(one, self.predictor.stages, with_text=True) for one in group]
        outputs = self.predictor.scorer.text_outputs(examples)
        return {one.utterance.id: (one, out) for one, out in zip(examples, outputs, strict=True)}
