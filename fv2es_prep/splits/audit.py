"""What the subsets of a split share, and whether the split fits the shards.

Owns the audit: which pairs, which measures, ids and classes. Leaves each measure to `shared`,
`turns` and `transcripts`, how an audit looks to `audit_report`, what is too much to `allowance`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.shards.table import CatalogueTable
from fv2es_prep.splits.manifest import SUBSETS, Split, places_of
from fv2es_prep.splits.shared import Measure, Shared, sharing_names, sharing_values
from fv2es_prep.splits.transcripts import Transcripts
from fv2es_prep.splits.turns import adjacent_turns, overlaps

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.splits.shared import Mask

# What each kind counts: utterances of the first subset that share with one of the second ...
KINDS = {
    "speaker": "the speaker",
    "session": "the session",
    "recording": "the recording (dialogue, video)",
    "adjacent_turn": "the same speaker's previous or next turn",
    "time_overlap": "a stretch of time of the recording",
    "transcript": "the transcript, normalised",
    "near_transcript": "nearly the transcript, and not the same",
    "audio": "the stored spectrum, bit for bit",
    "faces": "the stored faces, bit for bit",
}
# What is measured, and what it is looked for in.
PAIRS = (("valid", "train"), ("test", "train"), ("test", "valid"))
_NAMED = 5


@dataclass(frozen=True)
class Pair:
    """What one subset shares with another.

    Attributes:
        of: the subset whose utterances are counted.
        within: the subset with which they share.
        shared: one for each of `KINDS`.
    """

    of: str
    within: str
    shared: tuple[Shared, ...]


@dataclass(frozen=True)
class Some:
    """A number of ids, and the first few of them."""

    count: int
    named: tuple[str, ...]


@dataclass(frozen=True)
class Audit:
    """An audited split.

    Attributes:
        listed: subset -> ids in the manifest.
        pairs: what each pair of subsets shares.
        classes: subset -> class -> utterances.
        drift: valid and test -> class -> its share there minus its share in train.
        not_in_shards: subset -> ids that the shards do not have.
        in_no_subset: utterances of the shards that the split does not name.
        repeated: ids that are named more than once, in one subset or in two.
    """

    listed: dict[str, int]
    pairs: tuple[Pair, ...]
    classes: dict[str, dict[str, int]]
    drift: dict[str, dict[str, float]]
    not_in_shards: dict[str, Some]
    in_no_subset: Some
    repeated: Some

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {
            "listed": self.listed,
            "pairs": [
                {"of": p.of, "within": p.within, **{s.kind: s.to_json() for s in p.shared}}
                for p in self.pairs
            ],
            "classes": self.classes,
            "drift": self.drift,
            "not_in_shards": {name: vars(some) for name, some in self.not_in_shards.items()},
            "in_no_subset": vars(self.in_no_subset),
            "repeated": vars(self.repeated),
        }


def audit_split(table: CatalogueTable, split: Split) -> Audit:
    """Audit a split of a dataset.

    Args:
        table: the catalogue of the dataset.
        split: read with ``allow_repeats``, where repeats are to be told.

    Returns:
        The audit; ids that the shards do not have take no part in what is shared.
    """
    rows, missing, repeated = _places(table, split)
    masks = {subset: _mask(len(table), rows[subset]) for subset in SUBSETS}
    left = ~np.any([*masks.values()], axis=0)
    classes = {subset: _classes(table, mask) for subset, mask in masks.items()}
    return Audit(
        listed={subset: len(split.ids(subset)) for subset in SUBSETS},
        pairs=_pairs(table, masks),
        classes=classes,
        drift={subset: _drift(masks, classes, subset) for subset in SUBSETS[1:]},
        not_in_shards=missing,
        in_no_subset=_some(table.ids, np.flatnonzero(left)),
        repeated=repeated,
    )


def _places(
    table: CatalogueTable, split: Split
) -> tuple[dict[str, NDArray[np.int64]], dict[str, Some], Some]:
    """Rows of the ids of each subset; ids without a row; ids that come again."""
    rows, missing = {}, {}
    for subset, (ids, found) in places_of(table, split).items():
        lacking = ids.filter(found.is_null())
        missing[subset] = _some(lacking, np.arange(len(lacking)))
        rows[subset] = found.drop_null().to_numpy().astype(np.int64)
    counts = np.bincount(np.concatenate([*rows.values()]), minlength=len(table))
    again = _some(table.ids, np.flatnonzero(counts > 1))
    return rows, missing, _with(again, split, missing)


def _with(again: Some, split: Split, missing: dict[str, Some]) -> Some:
    """Beside the ids of the shards that come again, those that the shards do not have."""
    if sum(some.count for some in missing.values()) < 2:
        return again
    listed = Counter(name for subset in SUBSETS for name in split.ids(subset))
    named = [name for name, count in listed.items() if count > 1]
    return Some(len(named), tuple(named[:_NAMED]))


def _some(ids: Any, places: NDArray[np.int64]) -> Some:
    return Some(len(places), tuple(ids[int(place)].as_py() for place in places[:_NAMED]))


def _mask(count: int, rows: NDArray[np.int64]) -> Mask:
    mask = np.zeros(count, np.bool_)
    mask[rows] = True
    return mask


def _pairs(table: CatalogueTable, masks: dict[str, Mask]) -> tuple[Pair, ...]:
    pairs = [(masks[of], masks[within]) for of, within in PAIRS]
    found = list(_measured(table, pairs))
    return tuple(
        Pair(of, within, tuple(shared[place] for shared in found))
        for place, (of, within) in enumerate(PAIRS)
    )


def _measured(table: CatalogueTable, pairs: Sequence[tuple[Mask, Mask]]) -> Iterator[list[Shared]]:
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
    # Let go of before the next columns are read: of millions they are large.
    del transcripts
    for kind, part in (("audio", "mel"), ("faces", "faces")):
        codes = table.content(part)
        yield each(sharing_values(kind, codes, int(codes.max(initial=-1)) + 1))


def _classes(table: CatalogueTable, mask: Mask) -> dict[str, int]:
    sums = table.label[mask].sum(axis=0, dtype=int)
    return dict(zip(table.label_classes, map(int, sums), strict=True))


def _drift(
    masks: dict[str, Mask], classes: dict[str, dict[str, int]], subset: str
) -> dict[str, float]:
    def share(name: str, of: str) -> float:
        return classes[of][name] / max(int(np.count_nonzero(masks[of])), 1)

    return {name: round(share(name, subset) - share(name, "train"), 6) for name in classes[subset]}
