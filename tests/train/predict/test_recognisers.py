"""Recognisers: one in transformers' directory format, and what happens where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from fv2es_prep.errors import WorkError
from fv2es_prep.types import Waveform
from fv2es_train.predict import recognisers
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, Span
from tests.train.media import LEFT


def test_a_whisper_directory_hears_something(whisper: Path) -> None:
    hearer = recognisers.load_recogniser(str(whisper))
    assert hearer is not None and hearer.name == whisper.name
    noise = np.random.default_rng(0).normal(0, 0.1, 24_000).astype(np.float32)
    assert isinstance(hearer.recognise(Waveform(noise, 24_000)), str)


def test_what_is_heard_is_used_as_text(
    whisper: Path, trained: object, text_model: Path, talk: Path
) -> None:
    run = trained("tav")  # type: ignore[operator]
    predictor = Predictor.load(run, "cpu", str(text_model), str(whisper))
    told: list[str] = []
    spans = (Span(1, 3, view=LEFT), Span(3, 5, "given words", view=LEFT))
    heard, given = predictor.predict(Request(talk, spans=spans), told.append)
    assert (given.text, given.text_from, set(given.used)) == ("given words", "transcript", {*"tav"})
    assert (heard.text_from, set(heard.used)) in [("asr", {*"tav"}), ("", {*"av"})]
    assert whisper.name in " ".join(told)


def test_without_a_recogniser_nothing_is_heard(whisper: Path, tmp_path: Path) -> None:
    assert recognisers.load_recogniser("none") is None
    with pytest.raises(WorkError, match="the speech model"):
        recognisers.load_recogniser(str(tmp_path))
    with pytest.raises(WorkError, match="did not provide it"):
        recognisers.load_recogniser("nobody/nothing")
    if not recognisers.has_embedded():
        assert recognisers.load_recogniser(None) is None
        with pytest.raises(WorkError, match="needs the packages"):
            recognisers.load_recogniser("embedded")


@pytest.mark.skipif(not recognisers.has_embedded(), reason="the extra asr is not installed")
@pytest.mark.corpus
def test_the_embedded_recogniser_understands_english() -> None:
    from fv2es_prep.media.audio import SoundReader

    path = Path(__file__).parents[4] / "shared" / "data" / "audio" / "whisper_jfk.flac"
    if not path.is_file():
        pytest.skip("there is no real speech here")
    hearer = recognisers.load_recogniser("embedded")
    assert hearer is not None
    heard = hearer.recognise(SoundReader(path).span(0, 11, None)).lower()
    assert "my fellow americans" in heard and "what you can do for your country" in heard
