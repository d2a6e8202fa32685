"""Checks that transcripts belong to their sound: compares with words of neighbours and strangers.

Faults come in runs: one extra line shifts all following transcripts. A hidden Markov model over the
order of the corpus has a state for each shift, one for words of another utterance, and one for no
fault. Callers measure how well words fit a sound.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Largest shift in utterances; number of strangers, and number drawn to choose them from.
REACH, STRANGERS = 2, 4
_DRAWN = 64
_SHIFTS = (0, *(sign * by for by in range(1, REACH + 1) for sign in (-1, 1)))
# Prior probability of a fault, and probabilities that a run of each state ends.
_FAULT = 0.05
_END_OF_NONE, _END_OF_SHIFT, _END_OF_FOREIGN = 0.25, 0.03, 0.6
# Limit on the evidence for foreign words from the own fit alone, as log odds.
_MOST_FOREIGN = 15.0
# Least advantage of a neighbour's words to be named, as log odds.
_BETTER = 3.0
# Deviations above the mean fit of wrong words at which nearby words count as right.
_CLEAR = 3.0
# Least share of utterances with clear words for the speech model to be usable.
_HEARD = 0.5
_NOT_SAID = re.compile(r"\[[^]]*\]|\([^)]*\)|<[^>]*>")


def spoken(text: str) -> str:
    """The spoken words: text without brackets and their content, with single spaces."""
    return " ".join(_NOT_SAID.sub(" ", text).split())


@dataclass(frozen=True)
class Candidates:
    """The utterances whose words are compared with each sound.

    Attributes:
        rows: int64 (N, 1 + 2 * `REACH` + `STRANGERS`), -1 where there is none: the utterance
            itself, its neighbours in the order of the corpus, nearest first, and strangers.
        same: bool of the same shape: the words are those of the utterance itself.
    """

    rows: NDArray[np.int64]
    same: NDArray[np.bool_]


def make_candidates(texts: Sequence[str], seed: int = 0) -> Candidates:
    """Choose candidates; an utterance without words has none and is none.

    Args:
        texts: spoken words of each utterance, in the order of the corpus.
        seed: random seed for the choice of strangers.
    """
    count, numbers = len(texts), np.arange(len(texts))
    words = np.unique([text.casefold() for text in texts], return_inverse=True)[1]
    said = np.array([bool(text) for text in texts], bool)
    near = numbers[:, None] + np.array(_SHIFTS)
    near = np.where((near >= 0) & (near < count), near, -1)
    rows = np.hstack([near, _strangers(texts, words, seed)])
    rows = np.where((rows >= 0) & said[rows] & said[:, None], rows, -1)
    return Candidates(rows, (rows >= 0) & (words[rows] == words[:, None]))


def _strangers(texts: Sequence[str], words: NDArray[np.int64], seed: int) -> NDArray[np.int64]:
    """Draw utterances at random; take those that share the most words with each utterance."""
    rng, sets = np.random.default_rng(seed), [frozenset(text.casefold().split()) for text in texts]
    said = np.flatnonzero([bool(words) for words in sets])
    chosen = np.full((len(texts), STRANGERS), -1)
    for row in said:
        drawn = np.unique(rng.choice(said, _DRAWN))
        drawn = drawn[words[drawn] != words[row]]
        shared = [len(sets[row] & sets[k]) / len(sets[row] | sets[k]) for k in drawn]
        best = drawn[np.argsort(np.negative(shared), kind="stable")[:STRANGERS]]
        chosen[row, : len(best)] = best
    return chosen


@dataclass(frozen=True)
class Fits:
    """How well words fit sounds, as natural logarithms.

    Attributes:
        given: float64 (N, K), the probability of the words of each candidate given the sound, or
            of the sound given the words; NaN where it is unknown.
        alone: float64 (N,), the probability of the words of each utterance without sound.
        lengths: (N,), the words of each utterance; None if values of ``given`` are comparable
            within a row only.
    """

    given: NDArray[np.float64]
    alone: NDArray[np.float64]
    lengths: NDArray[np.int64] | None = None


@dataclass(frozen=True)
class Mismatch:
    """Result of the comparison, for N utterances.

    Attributes:
        probability: float64 (N,), probability that the spoken words differ from the transcript; NaN
            where there is nothing to compare.
        said: int64 (N,), row of the neighbour whose words are probably spoken; -1 if there is none.
    """

    probability: NDArray[np.float64]
    said: NDArray[np.int64]


def compare(fits: Fits, candidates: Candidates) -> Mismatch:
    """Decide, from the fits, for all utterances of a corpus together."""
    rows = candidates.rows
    given = np.where((rows >= 0) & np.isfinite(fits.given), fits.given, -np.inf)
    gains = given - fits.alone[rows]
    shifts, strangers = gains[:, : len(_SHIFTS)], gains[:, len(_SHIFTS) :]
    own, counts = shifts[:, 0], np.isfinite(strangers).sum(1)
    others = np.logaddexp.reduce(strangers, axis=1) - np.log(np.maximum(counts, 1))
    unknown = others
    if fits.lengths is not None:
        if (foreign := _foreign(given, fits.lengths[rows])) is None:
            return Mismatch(np.full(len(rows), np.nan), np.full(len(rows), -1))
        unknown = np.logaddexp(others, own + foreign)
    emissions = np.column_stack([shifts, unknown])
    known = np.isfinite(own) & (np.isfinite(emissions).sum(1) > 1)
    posterior = _posterior(np.where(known[:, None], emissions, 0.0))
    same = candidates.same[:, : len(_SHIFTS)] | (np.arange(len(_SHIFTS)) == 0)
    # Name the neighbour of the utterance's run, otherwise one whose words fit clearly better.
    near, runs = np.where(same, -np.inf, shifts), np.where(same, 0, posterior[:, :-1])
    place, row = np.where(runs.max(1) > 0.5, runs.argmax(1), near.argmax(1)), np.arange(len(rows))
    clear = near[row, place] > np.maximum(own, others) + _BETTER
    shown = known & (clear | (runs[row, place] > 0.5))
    probability = np.where(known, 1 - (posterior[:, :-1] * same).sum(1), np.nan)
    return Mismatch(probability, np.where(shown, rows[row, place], -1))


def _foreign(given: NDArray[np.float64], lengths: NDArray[np.int64]) -> NDArray[np.float64] | None:
    """Log odds that the own fit is that of wrong words rather than right ones.

    The best nearby words are mostly right, even if most transcripts are shifted; words of strangers
    are wrong. A fit and its variance grow with the number of words. None if nearby words mostly fit
    no better: then the model does not recognise the sound as speech.
    """
    size = np.sqrt(np.maximum(lengths, 1))
    scaled = given / size
    best = scaled[:, : len(_SHIFTS)].argmax(1)[:, None]
    wrong = _scales(scaled[:, len(_SHIFTS) :], size[:, len(_SHIFTS) :])
    nearby, sizes = (np.take_along_axis(values, best, 1) for values in (scaled, size))
    clear = nearby > wrong[0] * sizes + _CLEAR * wrong[1]
    if np.count_nonzero(clear) < _HEARD * np.count_nonzero(np.isfinite(nearby)):
        return None
    right = _scales(np.where(clear, nearby, -np.inf), sizes)
    # One variance for both, otherwise a tail of right words counts as wrong.
    middle, distance = (right[0] + wrong[0]) / 2 * size[:, 0], (right[0] - wrong[0]) * size[:, 0]
    ratio = (middle - scaled[:, 0]) * distance / (right[1] * wrong[1])
    return np.where(np.isfinite(scaled[:, 0]), np.minimum(ratio, _MOST_FOREIGN), -np.inf)


def _scales(scaled: NDArray[np.float64], size: NDArray[np.float64]) -> tuple[float, float]:
    """Mean per word and deviation per root of a word, both robust."""
    known = np.isfinite(scaled)
    if not known.any():
        return 0.0, 1.0
    mean = float(np.median(scaled[known] / size[known]))
    away = np.abs(scaled[known] - mean * size[known])
    return mean, max(1.4826 * float(np.median(away)), 1e-3)


def _posterior(emissions: NDArray[np.float64]) -> NDArray[np.float64]:
    """The probability of each state (N, S), by the forward-backward algorithm."""
    states = emissions.shape[1]
    # The prior: half of all faults are shifts.
    start = np.full(states, _FAULT / 2 / (states - 2))
    start[0], start[-1] = 1 - _FAULT, _FAULT / 2
    end = np.full((states, 1), _END_OF_SHIFT)
    end[0], end[-1] = _END_OF_NONE, _END_OF_FOREIGN
    change = (1 - end) * np.eye(states) + end * start
    likelihood = np.exp(emissions - emissions.max(1, keepdims=True))
    forward, backward = np.ones_like(likelihood), np.ones_like(likelihood)
    ahead = start
    for place, row in enumerate(likelihood):
        forward[place] = ahead * row / (ahead @ row)
        ahead = forward[place] @ change
    for place in range(len(likelihood) - 2, -1, -1):
        behind = change @ (likelihood[place + 1] * backward[place + 1])
        backward[place] = behind / behind.sum()
    posterior = forward * backward
    result: NDArray[np.float64] = posterior / posterior.sum(1, keepdims=True)
    return result
