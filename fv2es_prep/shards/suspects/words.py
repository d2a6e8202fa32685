"""Reports transcripts that belong to another sound as suspicions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.shards.suspects.offsets import Candidates, Fits, compare
from fv2es_prep.shards.suspects.suspect import Suspect

if TYPE_CHECKING:
    from numpy.typing import NDArray


def wrong_words(
    ids: Sequence[str], fits: Fits, candidates: Candidates, most: float
) -> tuple[list[Suspect], NDArray[np.float64]]:
    """Find utterances whose spoken words differ from their transcript.

    Args:
        ids: ids of the N utterances, in the order of the corpus.
        fits: how well words fit.
        candidates: utterances whose words are compared.
        most: probability of a mismatch up to which nothing is reported.

    Returns:
        The suspicions, and the probability of a mismatch, float64 (N,), NaN if not compared.
    """
    found = compare(fits, candidates)
    return list(_suspects(ids, found.probability, found.said, most)), found.probability


def _suspects(
    ids: Sequence[str], probability: NDArray[np.float64], said: NDArray[np.int64], most: float
) -> Iterator[Suspect]:
    for row in np.flatnonzero(probability > most).tolist():
        if said[row] >= 0:
            sentence = f"the words of {ids[said[row]]} fit its sound better than its own"
        else:
            sentence = "the words of other utterances fit its sound as well as its own"
        yield Suspect("words", ids[row], float(probability[row]), sentence)
