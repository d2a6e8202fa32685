"""The ratings of a video, by `fv2es predict` and by the server."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_train.predict.outputs import UtterancePrediction
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.request import Request, parse_view
from fv2es_train.predict.subtitles import parse_transcript
from tests.train.serve.conftest import Serve

pytestmark = pytest.mark.slow
WORDS = "1\n00:00:00,000 --> 00:00:03,000\nI am so happy\n\n2\n00:00:03,500 --> 00:00:07,000\nno\n"
VIEW = "left:224:0"


def predicted(run: Path, text_model: Path, talk: Path, words: str) -> list[UtterancePrediction]:
    predictor = Predictor.load(run, "cpu", str(text_model), "none")
    spans = parse_transcript(words).spans
    return list(predictor.predict(Request(talk, spans=spans, views=(parse_view(VIEW),))))


def test_a_command_and_a_server_give_the_ratings(
    rated_run: Path, text_model: Path, talk: Path, tmp_path: Path, serve: Serve
) -> None:
    expected = predicted(rated_run, text_model, talk, WORDS)
    assert [list(one.ratings) for one in expected] == [["valence", "activation"]] * 2
    for one in expected:
        assert {letter for parts in one.rating_contribution.values() for letter in parts} == {
            *"tav"
        }

    (tmp_path / "words.srt").write_text(WORDS)
    words = ["predict", str(talk), "--run", str(rated_run), "--view", VIEW, "--asr", "none"]
    words += ["--transcript", str(tmp_path / "words.srt"), "--tokenizer", str(text_model)]
    whole = json.loads(CliRunner().invoke(app, [*words, "--json"]).stdout)
    found = [one["ratings"] for one in whole["videos"][0]["utterances"]]
    assert found == [pytest.approx(one.ratings, abs=1e-6) for one in expected]
    first, second = whole["ratings"]
    assert (first["name"], first["low_means"], second["high_means"]) == (
        *("valence", "negative", "excited"),
    )
    assert 1 <= first["low"] < first["high"] <= 5
    lengths = [one.duration_s for one in expected]
    pairs = zip(expected, lengths, strict=True)
    mean = sum(one.ratings["valence"] * s for one, s in pairs) / sum(lengths)
    assert whole["videos"][0]["ratings"]["valence"] == pytest.approx(mean, abs=1e-6)
    table = CliRunner().invoke(app, words).stdout
    assert (
        "ratings: valence from " in table
        and f"valence {expected[0].ratings['valence']:.2f}" in table
    )
    assert "means of the ratings: valence" in table

    server = serve(run=rated_run)
    about = server.get("/v1/about").json()
    assert about["ratings"] == whole["ratings"]
    told = server.wait(server.post(talk, transcript=WORDS, view=VIEW))
    for one, other in zip(told["utterances"], expected, strict=True):
        assert one["ratings"] == pytest.approx(other.ratings, abs=1e-6)
    rows = list(csv.DictReader(io.StringIO(server.get(f"/v1/jobs/{told['id']}/result.csv").text)))
    shown = [float(row["rating_activation"]) for row in rows]
    assert shown == pytest.approx([one.ratings["activation"] for one in expected], abs=1e-6)
    stored = server.get(f"/v1/jobs/{told['id']}/result.json").json()
    assert stored["ratings"] == whole["ratings"]

    # Other words give the ratings of predicting anew.
    changed = WORDS.replace("I am so happy", "I am so angry")
    address = f"{server.url}/v1/jobs/{told['id']}/words"
    first_id = told["utterances"][0]["id"]
    job = server.wait(httpx.post(address, json={"words": {first_id: "I am so angry"}}))
    anew = predicted(rated_run, text_model, talk, changed)
    assert job["utterances"][0]["ratings"] == pytest.approx(anew[0].ratings, abs=1e-5)
    assert job["utterances"][0]["ratings"] != told["utterances"][0]["ratings"]
