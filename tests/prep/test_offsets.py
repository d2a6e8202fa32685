"""Transcripts against sound: what is decided from how well words fit."""

from __future__ import annotations

import numpy as np
import pytest

from fv2es_prep.shards.suspects.offsets import (
    REACH,
    Candidates,
    Fits,
    compare,
    make_candidates,
    spoken,
)
from fv2es_prep.shards.suspects.words import wrong_words

COUNT = 120
TEXTS = [f"the number {row} is w{row * 7 % 31} and w{row * 5 % 17}" for row in range(COUNT)]


def _fits(truth: list[str], candidates: Candidates, texts: list[str], rng) -> Fits:
    """Each word that is said has -1, each other one -6, with noise."""
    given = np.full(candidates.rows.shape, np.nan)
    for row, place in zip(*np.nonzero(candidates.rows >= 0), strict=True):
        words, said = texts[candidates.rows[row, place]].split(), truth[row].split()
        given[row, place] = sum(-1 if word in said else -6 for word in words) + rng.normal(0, 1)
    alone = np.array([-6.0 * len(text.split()) for text in texts])
    return Fits(given, alone, np.array([len(text.split()) for text in texts]))


@pytest.mark.parametrize("by", [1, -1, REACH])
def test_a_run_of_shifted_transcripts_is_found_and_nothing_else(by):
    texts = list(TEXTS)
    texts[40:80] = TEXTS[40 + by : 80 + by]
    candidates = make_candidates(texts)
    fits = _fits(TEXTS, candidates, texts, np.random.default_rng(0))
    suspects, probability = wrong_words(TEXTS, fits, candidates, 0.5)
    assert {suspect.utterance for suspect in suspects} == {*TEXTS[40:80]}
    assert len(probability) == COUNT and probability[:40].max() < 0.01
    said = compare(fits, candidates).said
    assert (said[45:75] == np.arange(45, 75) - by).all()


def test_words_that_nobody_says_are_found_among_similar_ones():
    texts = [*TEXTS]
    for row in range(10, 110, 20):
        texts[row] = "the number 500 is w40 and w41"
    candidates = make_candidates(texts)
    found = compare(_fits(TEXTS, candidates, texts, np.random.default_rng(1)), candidates)
    assert np.flatnonzero(found.probability > 0.5).tolist() == [10, 30, 50, 70, 90]
    assert (found.said[[10, 30, 50, 70, 90]] == -1).all()


def test_sound_that_says_nothing_of_words_is_not_compared():
    candidates = make_candidates(TEXTS)
    noise = np.random.default_rng(2).normal(-20, 2, candidates.rows.shape)
    lengths = np.array([len(text.split()) for text in TEXTS])
    assert np.isnan(compare(Fits(noise, np.zeros(COUNT), lengths), candidates).probability).all()


def test_what_has_no_words_or_no_sound_is_not_compared():
    texts = [*TEXTS[:50], "", *TEXTS[51:]]
    candidates = make_candidates(texts)
    assert (candidates.rows[50] == -1).all() and not (candidates.rows == 50).any()
    fits = _fits(TEXTS, candidates, texts, np.random.default_rng(3))
    fits.given[60] = np.nan
    unknown = np.isnan(compare(fits, candidates).probability)
    assert np.flatnonzero(unknown).tolist() == [50, 60]


def test_equal_words_are_no_mismatch():
    texts = ["dogs sit by the door", "kids talk by the door"] * 30
    texts[20:30] = [texts[20]] * 10
    candidates = make_candidates(texts)
    found = compare(_fits(texts, candidates, texts, np.random.default_rng(4)), candidates)
    assert not (found.probability > 0.5).any()
    assert make_candidates([]).rows.shape == candidates.rows[:0].shape
    assert np.isnan(
        compare(Fits(np.full((1, 9), np.nan), np.zeros(1)), make_candidates(["a"])).probability
    )


def test_directions_are_not_said():
    assert spoken("[LAUGHTER] You (sighs) know <noise>  it.") == "You know it."
