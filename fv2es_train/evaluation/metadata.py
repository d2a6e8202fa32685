"""Metadata of a subset's utterances: speakers, sessions, durations, missing modalities.

Owns the metadata that groups and describes results. Leaves reading it to fv2es_prep.shards and
grouping to `breakdown`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from fv2es_prep.shards.catalogue import Catalogue


@dataclass(frozen=True)
class Metadata:
    """Metadata of N utterances, each in the order of ``ids``.

    Attributes:
        ids: the utterances.
        recordings: their recordings.
        speakers: their speakers, empty where not known.
        sessions: their sessions, empty where there are none.
        seconds: how long each is.
        faceless: whether no face was found in any frame.
        wordless: whether the transcript is empty.
    """

    ids: tuple[str, ...]
    recordings: tuple[str, ...]
    speakers: tuple[str, ...]
    sessions: tuple[str, ...]
    seconds: tuple[float, ...]
    faceless: tuple[bool, ...]
    wordless: tuple[bool, ...]

    @property
    def hours(self) -> float:
        """Length of all utterances together."""
        return sum(self.seconds) / 3600


def metadata_of(catalogue: Catalogue, ids: Sequence[str]) -> Metadata:
    """The facts of some utterances.

    Args:
        catalogue: the small columns of the dataset.
        ids: utterances that it has.
    """
    rows = catalogue.rows_of(ids)
    texts = catalogue.texts.take(rows).to_pylist()
    return Metadata(
        ids=tuple(ids),
        recordings=tuple(catalogue.recordings.at(rows)),
        speakers=tuple(catalogue.speakers.at(rows)),
        sessions=tuple(catalogue.sessions.at(rows)),
        seconds=tuple(catalogue.seconds[rows].tolist()),
        faceless=tuple((catalogue.count("faces/found") == 0)[rows].tolist()),
        wordless=tuple(not text.strip() for text in texts),
    )
