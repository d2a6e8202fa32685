"""Texts run in groups: the outputs are those of each text alone; the first does not wait."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from fv2es_prep.types import Utterance
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span
from fv2es_train.predict.texts_ahead import TEXTS_AT_ONCE, TextsAhead

TEXTS = ("no", "how dare you", "", "that is wonderful, thank you so much", "why", "I am sad")


def utterances() -> list[Utterance]:
    return [Utterance(f"u{n}", "r", n, n + 1, text, ()) for n, text in enumerate(TEXTS)]


def test_outputs_of_a_group_are_those_of_each_text_alone(predictor: Predictor) -> None:
    together, alone = TextsAhead(predictor, utterances()), TextsAhead(predictor, [])
    for one in utterances():
        (example, outputs), (other, expected) = together.take(one), alone.take(one)
        assert example.tokens.tolist() == other.tokens.tolist()
        assert torch.allclose(outputs, expected, atol=1e-6)


def test_the_first_text_runs_alone_and_the_others_in_groups(
    predictor: Predictor, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups: list[int] = []
    run = predictor.scorer.text_outputs

    def counted(examples: list) -> tuple[torch.Tensor, ...]:  # type: ignore[type-arg]
        groups.append(len(examples))
        return run(examples)

    monkeypatch.setattr(predictor.scorer, "text_outputs", counted)
    texts = TextsAhead(predictor, utterances())
    texts.take(utterances()[0])
    assert groups == [1]
    for one in utterances()[1:]:
        texts.take(one)
    assert groups == [1, TEXTS_AT_ONCE, len(TEXTS) - 1 - TEXTS_AT_ONCE]


def test_a_text_does_not_depend_on_those_beside_it(predictor: Predictor, talk: Path) -> None:
    spans = [Span(n, n + 0.8, text) for n, text in enumerate(TEXTS[:4])]
    # Without a text, a span is no part of a group.
    spans[1] = replace(spans[1], text=None)
    together = predictor.predict(Request(talk, spans=tuple(spans)))
    for one, span in zip(together, spans, strict=True):
        (alone,) = predictor.predict(Request(talk, spans=(span,)))
        assert one.text == alone.text and one.missing == alone.missing
        assert one.probability == pytest.approx(alone.probability, abs=1e-6)
