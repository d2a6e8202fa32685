"""Other words for a scored utterance: the numbers of predicting it anew, without its video."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from fv2es_train.predict.outputs import UtterancePrediction
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import FaceChoice, Request, Span
from tests.train.media import changed

TEXTS = (None, "", "how dare you", "that is wonderful, thank you so much")
BLACK = ("-vf", "drawbox=c=black:t=fill")
SILENT = ("-af", "volume=0")


def assert_same(one: UtterancePrediction, other: UtterancePrediction) -> None:
    """Equal but for wall times, and numbers within 1e-6."""
    bare = {"probability": {}, "contribution": {}, "seconds": {}}
    assert replace(one, **bare) == replace(other, **bare)
    assert one.probability == pytest.approx(other.probability, abs=1e-6)
    assert list(one.contribution) == list(other.contribution)
    for name, terms in one.contribution.items():
        assert list(terms) == list(other.contribution[name])
        assert terms == pytest.approx(other.contribution[name], abs=1e-6)


@pytest.mark.parametrize(
    ("modalities", "how", "faces", "used"),
    [
        ("tav", (), "largest", "va"),
        ("tav", (), "all", "va"),
        ("tav", ("-an",), "largest", "v"),
        ("tav", (*BLACK,), "largest", "a"),
        ("tav", (*BLACK, *SILENT), "largest", ""),
        ("t", (), "largest", ""),
        ("tv", SILENT, "largest", "v"),
        ("av", (), "largest", "va"),
    ],
)
def test_other_words_give_what_predicting_anew_gives(
    modalities: str,
    how: Sequence[str],
    faces: FaceChoice,
    used: str,
    trained: Callable[[str], Path],
    text_model: Path,
    talk: Path,
    tmp_path: Path,
) -> None:
    predictor = Predictor.load(trained(modalities), "cpu", str(text_model), "none")
    video = changed(tmp_path, talk, "-t", "4", *how)
    # The second one keeps a run of words alone from having none at all.
    fresh = {
        text: list(
            predictor.predict(
                Request(video, spans=(Span(1, 2.5, text), Span(3, 4, "you")), faces=faces)
            )
        )[: -1 if faces == "largest" else -2]
        for text in TEXTS
    }
    assert {one.used for one in fresh[None]} == {used}
    assert len(fresh[None]) == (2 if faces == "all" else 1)
    for before, after in itertools.product(TEXTS, TEXTS):
        for one, other in zip(fresh[before], fresh[after], strict=True):
            assert_same(predictor.reword(one, after), other)
