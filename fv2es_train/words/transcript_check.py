"""Compare the transcripts of a dataset with its sound, by a speech model.

Owns reading. Leaves the model to `Aligner` and the decision to `fv2es_prep.shards.suspects`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.shards.catalogue import Catalogue, read_catalogue
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.suspects.offsets import Candidates, Fits, make_candidates, spoken
from fv2es_prep.shards.suspects.regularities import fits_by_corpus
from fv2es_prep.shards.suspects.suspect import Suspect
from fv2es_prep.shards.suspects.traits import Traits, read_traits
from fv2es_prep.shards.suspects.words import wrong_words
from fv2es_prep.utils.phases import Phase, Report, silent
from fv2es_train.predict.recognisers import EMBEDDED, NONE, has_embedded
from fv2es_train.words.aligner import Aligner, load_aligner

if TYPE_CHECKING:
    from fv2es_prep.types import Waveform

NO_MODEL = "length and tone of the sound"


@dataclass(frozen=True)
class WordsChecked:
    """The result of `check_transcripts`.

    Attributes:
        suspects: utterances whose sound has other words than the transcript.
        by: name of the model, or the traits that were compared without one.
        mismatch: id -> probability of other words, for all compared utterances.
    """

    suspects: list[Suspect]
    by: str
    mismatch: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values, without the suspects."""
        mismatch = {name: round(value, 4) for name, value in self.mismatch.items()}
        return {"by": self.by, "compared": len(mismatch), "mismatch": mismatch}


def check_transcripts(
    directory: Path,
    asr: str | None = None,
    most: float = 0.5,
    phase: Phase = silent,
    jobs: int = 1,
    traits: Traits | None = None,
) -> WordsChecked:
    """Find transcripts that belong to another sound.

    Args:
        directory: the dataset.
        asr: ``embedded``; a directory or hub name of Whisper or a CTC model; ``none`` compares the
            words with the length and tone of the sound; None takes ``embedded`` if it is
            installed and hears speech.
        most: highest probability of a mismatch that is not suspected.
        phase: shows progress.
        jobs: processes that read the shards; used only without a model.
        traits: traits that were read before; None reads them.

    Raises:
        UsageError: the dataset does not exist.
        ShardError: a shard is missing or damaged.
        WorkError: the model cannot be loaded.
    """
    catalogue = read_catalogue(directory) if traits is None else traits.catalogue
    texts = [spoken(text) for text in catalogue.texts.to_pylist()]
    candidates = make_candidates(texts)
    if asr not in (NONE, None) or (asr is None and has_embedded()):
        aligner = load_aligner(asr or EMBEDDED)
        with phase("compare words", len(catalogue), "utterances") as report:
            fits = fits_by_model(directory, catalogue, texts, candidates, aligner, report)
        found = _checked(catalogue, fits, candidates, most, aligner.name)
        if asr is not None or found.mismatch:
            return found
    if traits is None:
        with phase("read", len(catalogue.index.shards), "shards") as report:
            traits = read_traits(directory, catalogue, report, jobs)
    fits = fits_by_corpus(traits, texts, candidates)
    return _checked(catalogue, fits, candidates, most, NO_MODEL)


def _checked(
    catalogue: Catalogue, fits: Fits, candidates: Candidates, most: float, by: str
) -> WordsChecked:
    ids = catalogue.ids.to_pylist()
    suspects, probability = wrong_words(ids, fits, candidates, most)
    known = np.flatnonzero(np.isfinite(probability)).tolist()
    return WordsChecked(suspects, by, {ids[row]: float(probability[row]) for row in known})


def fits_by_model(
    directory: Path,
    catalogue: Catalogue,
    texts: list[str],
    candidates: Candidates,
    aligner: Aligner,
    report: Report,
) -> Fits:
    """Score the words of each candidate against the sound of each utterance.

    Args:
        directory: the dataset.
        catalogue: its catalogue.
        texts: transcript of each utterance.
        candidates: utterances whose words are compared.
        aligner: the model.
        report: receives the number of utterances done since its last call.

    Raises:
        ShardError: a shard is missing or damaged.
    """
    given = np.full(candidates.rows.shape, np.nan)
    for row, sound in _sounds(directory, catalogue):
        places = np.flatnonzero(candidates.rows[row] >= 0)
        if len(places):
            words = [texts[k] for k in candidates.rows[row, places]]
            given[row, places] = aligner.fits(sound, words)
        report(1)
    usual = {text: aligner.alone(text) if text else 0.0 for text in set(texts)}
    alone = np.array([usual[text] for text in texts])
    return Fits(given, alone, np.array([len(text.split()) for text in texts]))


def _sounds(directory: Path, catalogue: Catalogue) -> Iterator[tuple[int, Waveform]]:
    """Yield row and sound of each utterance with sound, stored or estimated; opens a shard once."""
    from fv2es_train.browse.sound import estimated_sound, stored_sound

    index = catalogue.index
    for shard in np.unique(catalogue.shard).tolist():
        with ShardReader(directory / index.shards[shard].name, index=index) as reader:
            for row in np.flatnonzero(catalogue.shard == shard).tolist():
                example = reader.read(int(catalogue.row[row]))
                sound = stored_sound(example, index.settings)
                if (sound := sound or estimated_sound(example, index.settings)) is not None:
                    yield row, sound
