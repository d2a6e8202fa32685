"""The plain sentences of the page, from utterances as the API gives them."""

from __future__ import annotations

from typing import Any

import pytest
from playwright.sync_api import expect

from tests.train.serve.page.visit import Visit

pytestmark = pytest.mark.browser

CALL = """async ([name, one, about]) => {
    const names = await import("/page/names.js");
    names.setNames({ ang: "anger", sad: "sadness", neu: "neutral" });
    const phrases = await import("/page/phrases.js");
    return phrases[name](one, about);
}"""
ABOUT = {"rule": "thresholds", "modalities": "tva", "thresholds": {"ang": 0.4, "sad": 0.3}}
# Letter -> term, of anger.
VOICE = {"t": 0.1, "v": 0.5, "a": 3.0}


def utterance(
    terms: dict[str, float], probability: dict[str, float], decided: tuple[str, ...], **more: Any
) -> dict[str, Any]:
    return {
        "used": "".join(terms),
        "probability": probability,
        "decided": decided,
        "undecided": "",
        "unfamiliar": {},
        "missing": {},
        "contribution": {"ang": terms, "sad": dict.fromkeys(terms, 0.0)},
        "top": max(probability, key=lambda name: probability[name], default=""),
        **more,
    }


def call(page: Visit, name: str, one: dict[str, Any], about: dict[str, Any] = ABOUT) -> Any:
    expect(page.at("start")).to_be_visible()
    return page.page.evaluate(CALL, [name, one, about])


@pytest.mark.parametrize(
    ("terms", "probability", "decided", "said"),
    [
        (
            VOICE,
            {"ang": 0.72, "sad": 0.1},
            ("ang",),
            "Probably anger (72 %), mostly because of the voice.",
        ),
        (
            {"t": -1.0, "v": 1.0, "a": 1.1},
            {"ang": 0.45, "sad": 0.1},
            ("ang",),
            "Perhaps anger (45 %), because of the voice and the face. The words speak against it.",
        ),
        (
            {"a": 1.0},
            {"ang": 0.996, "sad": 0.35},
            ("ang", "sad"),
            "Probably anger (over 99 %) and also sadness (35 %), judged by the voice alone.",
        ),
        (
            VOICE,
            {"ang": 0.3, "sad": 0.1},
            (),
            "Not decided. The most probable emotion is anger (30 %).",
        ),
    ],
)
def test_a_sentence_says_what_how_sure_and_why(
    page: Visit,
    terms: dict[str, float],
    probability: dict[str, float],
    decided: tuple[str, ...],
    said: str,
) -> None:
    assert call(page, "sentence", utterance(terms, probability, decided)) == said


def test_if_the_most_probable_is_decided_only_differences_are_evidence(page: Visit) -> None:
    one = utterance(VOICE, {"ang": 0.6, "sad": 0.4}, ("ang",))
    one["contribution"]["sad"] = {"t": 0.1, "v": 3.0, "a": 3.1}
    script = CALL.replace("(one, about)", '(one, "ang", about)')
    expect(page.at("start")).to_be_visible()
    found = page.page.evaluate(script, ["evidence", one, ABOUT | {"rule": "largest"}])
    assert [each["kind"] for each in found] == ["none", "strongly against", "none"]


def test_why_nothing_is_decided_and_what_to_do(page: Visit) -> None:
    def told(one: dict[str, Any]) -> tuple[str, str]:
        found = call(page, "undecided", one)
        assert len(found["what"]) == 3
        return " ".join(found["why"]), " ".join(found["what"])

    assert call(page, "undecided", utterance(VOICE, {"ang": 0.7}, ("ang",))) is None
    why, what = told(utterance(VOICE, {"ang": 0.38, "sad": 0.1}, ()))
    assert "it has 38.0 % and needs more than 40.0 %" in why and "treat" in what
    nothing = {"v": "no face was found", "a": "no sound", "t": "the words are not known"}
    why, what = told(utterance({}, {}, (), missing=nothing, undecided="no face was found"))
    assert "none of them" in why and "face: no face was found." in why and "Type the words" in what
    strange = {"undecided": "out-of-distribution", "unfamiliar": {"v": 2.4, "a": 3.21}}
    why, what = told(utterance(VOICE, {"ang": 0.7, "sad": 0.1}, (), **strange))
    assert "the face and the voice differ" in why and "3.2 times" in why and "view" in what


def test_two_emotions_that_are_about_as_probable_are_called_unclear(page: Visit) -> None:
    near = utterance(VOICE, {"ang": 0.41, "sad": 0.38}, ("ang",))
    assert "anger (41 %) and sadness (38 %)" in call(page, "nearTie", near)
    assert call(page, "nearTie", utterance(VOICE, {"ang": 0.5, "sad": 0.4}, ("ang",))) == ""
