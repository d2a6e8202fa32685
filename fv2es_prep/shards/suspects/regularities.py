"""Measures how well words fit a sound from the corpus itself, without a speech model.

More syllables take longer, and words of an emotion sound like it. A linear map from words to sound,
learned from the other recordings, predicts the sound of a text. The evidence of one utterance is
weak, but it adds up if many transcripts are shifted.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.shards.suspects.offsets import Candidates, Fits
from fv2es_prep.shards.suspects.traits import Traits

if TYPE_CHECKING:
    from numpy.typing import NDArray

_FOLDS, _RIDGE = 10, 20.0
# Number of sound components kept, and their least share of explained variance.
_COMPONENTS, _EXPLAINED, _CHANCE = 8, 0.05, 1.5
# Most words with a feature of their own, and their least number of occurrences.
_WORDS, _OFTEN = 400, 3
# Weight of the length, in words.
_LENGTH = 3.0


def fits_by_corpus(traits: Traits, texts: Sequence[str], candidates: Candidates) -> Fits:
    """Compute how probable each sound is given the words of each candidate.

    Args:
        traits: traits of the dataset.
        texts: spoken words of each utterance.
        candidates: utterances whose words are compared.
    """
    given, alone = np.full(candidates.rows.shape, np.nan), np.zeros(len(texts))
    heard = np.isfinite(traits.numbers["sound_s"]) & np.array([bool(text) for text in texts])
    if heard.sum() < 2 * _FOLDS:
        return Fits(given, alone)
    rows, words, sounds = np.flatnonzero(heard), _words(texts), _sounds(traits, heard)
    # Neighbours are in one fold, like the shifts.
    folds = np.arange(len(rows)) * _FOLDS // len(rows)
    expected = np.stack([_map(words[rows], sounds, folds != fold) for fold in range(_FOLDS)])
    expected = words @ expected
    own = sounds - expected[folds, rows]
    # Sounds of equal length carry no evidence, and few utterances explain some by chance.
    least = max(_EXPLAINED, _CHANCE / np.sqrt(len(rows)))
    kept = (sounds.std(0) > 0.5) & (1 - own.var(0) > least)
    if kept.any():
        away = (sounds[:, None] - expected[folds[:, None], candidates.rows[rows]])[:, :, kept]
        precision = np.linalg.inv(np.cov(own[:, kept].T).reshape(kept.sum(), -1))
        given[rows] = -0.5 * np.einsum("nki,ij,nkj->nk", away, precision, away)
    return Fits(given, alone)


def _map(
    words: NDArray[np.float64], sounds: NDArray[np.float64], known: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Map from words to sound (D, E), by ridge regression."""
    given, wanted = words[known], sounds[known]
    inner = given.T @ given + _RIDGE * np.eye(given.shape[1])
    return np.linalg.solve(inner, given.T @ wanted).astype(np.float64)


def _words(texts: Sequence[str]) -> NDArray[np.float64]:
    """Length and words of each text, float64 (N, D), each column of mean 0."""
    words = [re.findall(r"[^\W_]+", text.casefold()) for text in texts]
    counts = Counter(word for each in words for word in set(each))
    often = [word for word, count in counts.most_common(_WORDS) if count >= _OFTEN]
    place = {word: k for k, word in enumerate(often)}
    present = np.zeros((len(texts), len(often)))
    for row, each in enumerate(words):
        present[row, [place[word] for word in each if word in place]] = 1
    syllables = [sum(len(re.findall("[aeiouy]+", word)) or 1 for word in each) for each in words]
    sizes = [[len(each), sum(map(len, each))] for each in words]
    lengths = np.log1p(np.column_stack([sizes, syllables]))
    features = np.hstack([_LENGTH * lengths / np.maximum(lengths.std(0), 1e-6), present])
    centred: NDArray[np.float64] = features - features.mean(0)
    return centred


def _sounds(traits: Traits, heard: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Length and tone of the sounds (N', E), each column of mean 0 and deviation 1."""
    seconds = np.log(np.maximum(traits.numbers["sound_s"][heard], 1e-3))
    codes = np.unique(traits.catalogue.speakers.codes[heard], return_inverse=True)[1]
    tone = traits.vectors["tone"][heard].astype(np.float64)
    means = np.zeros((codes.max() + 1, tone.shape[1]))
    np.add.at(means, codes, tone)
    tone -= (means / np.bincount(codes)[:, None])[codes]
    left = np.linalg.svd(tone / np.maximum(tone.std(0), 1e-6), full_matrices=False)[0]
    sounds = np.column_stack([seconds, left[:, :_COMPONENTS]])
    sounds -= sounds.mean(0)
    scaled: NDArray[np.float64] = sounds / np.maximum(sounds.std(0), 1e-9)
    return scaled
