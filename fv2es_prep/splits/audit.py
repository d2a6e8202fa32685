"""Audit of a split: what its subsets share, and whether its ids fit the dataset.

Owns the pairs of subsets and the kinds. Leaves the measures to `shared`, `turns` and `transcripts`,
the text and the page to `audit_report`, limits to `audit_limits`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.shards.catalogue_table import CatalogueTable
from fv2es_prep.splits.manifest import SUBSETS, Split, class_counts, repeats, rows_of
from fv2es_prep.splits.shared import Measure, Shared, sharing_names, sharing_values
from fv2es_prep.splits.transcripts import Transcripts
from fv2es_prep.splits.turns import adjacent_turns, overlaps

if TYPE_CHECKING:
    from fv2es_prep.splits.shared import Mask

# Kind -> what utterances of one subset share with an utterance of another.
KINDS = {
    "speaker": "the speaker",
    "session": "the session",
    "recording": "the recording (dialogue, video)",
    "adjacent_turn": "an adjacent turn of the speaker",
    "time_overlap": "time in the recording",
    "transcript": "an identical transcript, normalised",
    "near_transcript": "a near-identical transcript, but no identical one",
    "audio": "an identical stored spectrum",
    "faces": "identical stored faces",
}
# The subset whose utterances are counted, and the subset that they share with.
PAIRS = (("valid", "train"), ("test", "train"), ("test", "valid"))


@dataclass(frozen=True)
class Pair:
    """What one subset shares with another.

    Attributes:
        of: the subset whose utterances are counted.
        within: the subset that they share with.
        shared: one result for each of `KINDS`.
    """

    of: str
    within: str
    shared: tuple[Shared, ...]


@dataclass(frozen=True)
class Ids:
    """A number of ids, and the first few of them."""

    count: int
    named: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """The result of an audit.

    Attributes:
        listed: subset -> ids in the manifest.
        pairs: what each pair of subsets shares.
        classes: subset -> class -> utterances.
        drift: valid and test -> class -> its fraction there minus its fraction in train.
        not_in_shards: subset -> ids that the dataset lacks.
        in_no_subset: utterances of the dataset that the split lacks.
        repeated: ids that the split lists more than once.
    """

    listed: dict[str, int]
    pairs: tuple[Pair, ...]
    classes: dict[str, dict[str, int]]
    drift: dict[str, dict[str, float]]
    not_in_shards: dict[str, Ids]
    in_no_subset: Ids
    repeated: Ids

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        pairs = [
            {"of": pair.of, "within": pair.within, **{s.kind: s.to_json() for s in pair.shared}}
            for pair in self.pairs
        ]
        return {**asdict(self), "pairs": pairs}


def audit_split(table: CatalogueTable, split: Split) -> Audit:
    """Audit a split of a dataset.

    Args:
        table: the catalogue of the dataset.
        split: read with ``allow_repeats`` to report repeated ids.

    Returns:
        The audit; ids that the dataset lacks take no part in what is shared.
    """
    found = rows_of(table, split)
    masks = {subset: _mask(len(table), rows) for subset, (_, rows) in found.items()}
    classes = {subset: class_counts(table, mask) for subset, mask in masks.items()}
    left = table.ids.filter(~np.any([*masks.values()], axis=0))
    return Audit(
        listed={subset: len(split.ids(subset)) for subset in SUBSETS},
        pairs=_pairs(table, masks),
        classes=classes,
        drift=_drift(classes, {subset: int(mask.sum()) for subset, mask in masks.items()}),
        not_in_shards={subset: _ids(missing) for subset, (missing, _) in found.items()},
        in_no_subset=Ids(len(left), tuple(left[:5].to_pylist())),
        repeated=_ids(repeats((*split.train, *split.valid, *split.test))),
    )


def _mask(rows: int, chosen: Any) -> Mask:
    mask = np.zeros(rows, np.bool_)
    mask[chosen] = True
    return mask


def _ids(ids: Sequence[str]) -> Ids:
    return Ids(len(ids), tuple(ids[:5]))


def _pairs(table: CatalogueTable, masks: dict[str, Mask]) -> tuple[Pair, ...]:
    results = _measure(table, [(masks[of], masks[within]) for of, within in PAIRS])
    columns = zip(*results, strict=True)
    return tuple(Pair(*pair, shared) for pair, shared in zip(PAIRS, columns, strict=True))


def _measure(table: CatalogueTable, pairs: Sequence[tuple[Mask, Mask]]) -> Iterator[list[Shared]]:
    """For each of `KINDS`, in order, what each pair shares."""

    def each(measure: Measure) -> list[Shared]:
        return [measure(*pair) for pair in pairs]

    yield each(sharing_names("speaker", table.speakers))
    yield each(sharing_names("session", table.sessions))
    yield each(sharing_names("recording", table.recordings))
    yield each(adjacent_turns(table))
    yield each(overlaps(table))
    transcripts = Transcripts(table.texts)
    yield each(transcripts.identical)
    yield transcripts.near(pairs)
    # Free them before the next columns are read: they take gigabytes at ten million rows.
    del transcripts
    for kind, part in (("audio", "mel"), ("faces", "faces")):
        codes = table.content(part)
        yield each(sharing_values(kind, codes, int(codes.max(initial=-1)) + 1))


def _drift(
    classes: dict[str, dict[str, int]], sizes: dict[str, int]
) -> dict[str, dict[str, float]]:
    def fraction(subset: str, name: str) -> float:
        return classes[subset][name] / max(sizes[subset], 1)

    return {
        subset: {
            name: round(fraction(subset, name) - fraction("train", name), 6)
            for name in classes[subset]
        }
        for subset in SUBSETS[1:]
    }
