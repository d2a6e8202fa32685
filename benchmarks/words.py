"""Recall of `fv2es shards check --words` on planted shifts: python -m benchmarks.words SHARDS.

Replaces 40 transcripts of a dataset by those of the next utterance, in one run or in four runs of
ten, at places that are drawn twenty times. The original transcripts are assumed to be correct.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.suspects.offsets import Candidates, Fits, compare, make_candidates, spoken
from fv2es_prep.shards.suspects.regularities import fits_by_corpus
from fv2es_prep.shards.suspects.traits import read_traits
from fv2es_train.words.aligner import load_aligner
from fv2es_train.words.transcript_check import fits_by_model

SHIFTED, DRAWS = 40, 20


def planted(texts: list[str], runs: int, rng: np.random.Generator) -> list[str]:
    """Shift the texts to the next one in ``runs`` runs."""
    source, part, length = (
        np.arange(len(texts)),
        len(texts) // max(runs, 1),
        SHIFTED // max(runs, 1),
    )
    for run in range(runs):
        begin = run * part + rng.integers(part - length)
        source[begin : begin + length] += 1
    return [texts[row] for row in source]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("--asr", default="none")
    chosen = parser.parse_args()
    catalogue = read_catalogue(chosen.shards)
    texts = [spoken(text) for text in catalogue.texts.to_pylist()]
    begin = time.perf_counter()
    if chosen.asr == "none":
        traits = read_traits(chosen.shards, catalogue)

        def fits_of(said: list[str], candidates: Candidates) -> Fits:
            return fits_by_corpus(traits, said, candidates)
    else:
        # Score each text with each sound once; the draws select from these scores.
        kinds = sorted({*texts} - {""})
        rows = np.tile([texts.index(kind) for kind in kinds], (len(texts), 1))
        every = Candidates(rows, np.zeros(rows.shape, np.bool_))
        whole = fits_by_model(
            chosen.shards, catalogue, texts, every, load_aligner(chosen.asr), lambda _: None
        )
        alone = dict(zip(texts, whole.alone, strict=True))

        def fits_of(said: list[str], candidates: Candidates) -> Fits:
            columns = np.array([kinds.index(text) if text else 0 for text in said])
            given = np.take_along_axis(whole.given, columns[candidates.rows], 1)
            lengths = np.array([len(text.split()) for text in said])
            return Fits(given, np.array([alone[text] for text in said]), lengths)

    print(f"{len(texts)} utterances read in {time.perf_counter() - begin:.1f} s")
    for runs in (0, 1, 4):
        found = []
        for seed in range(DRAWS if runs else 1):
            said = planted(texts, runs, np.random.default_rng(seed))
            candidates = make_candidates(said)
            named = compare(fits_of(said, candidates), candidates).probability > 0.5
            wrong = np.array([one != other for one, other in zip(said, texts, strict=True)])
            found.append((named[wrong].mean() if wrong.any() else 1, named[~wrong].mean()))
        recall, alarms = np.transpose(found)
        print(
            f"{runs} run(s): recall {recall.mean():.1%} (lowest {recall.min():.1%}), "
            f"false alarms {alarms.mean():.2%} (highest {alarms.max():.1%})"
        )


if __name__ == "__main__":
    main()
