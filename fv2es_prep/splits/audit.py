"""Audit of a split: what its subsets share, and limits on that.

Leaves the measures to `shared` and `transcripts`, and text and page to `audit_page`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.splits.manifest import SUBSETS, Split, class_counts, repeats, rows_of
from fv2es_prep.splits.shared import (
    Mask,
    Measure,
    Shared,
    adjacent_turns,
    overlaps,
    sharing_names,
    sharing_values,
)
from fv2es_prep.splits.transcripts import Transcripts
from fv2es_prep.utils.near import meant

# Kind -> what an utterance of one subset shares with an utterance of another.
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
# The subset whose utterances are counted, and the subset that they are compared with.
PAIRS = (("valid", "train"), ("test", "train"), ("test", "valid"))


@dataclass(frozen=True)
class Pair:
    """What the subset ``of`` shares with ``within``, one result for each of `KINDS`."""

    of: str
    within: str
    shared: tuple[Shared, ...]


@dataclass(frozen=True)
class Ids:
    """How many ids, and the first few of them."""

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
        not_in_shards: subset -> ids that are not in the dataset.
        in_no_subset: utterances of the dataset that are in no subset.
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
        """Return plain JSON values."""
        pairs = [
            {"of": pair.of, "within": pair.within, **{s.kind: s.to_json() for s in pair.shared}}
            for pair in self.pairs
        ]
        return {**asdict(self), "pairs": pairs}


def audit_split(table: Catalogue, split: Split) -> Audit:
    """Audit a split of a dataset.

    Args:
        table: the catalogue of the dataset.
        split: read with ``allow_repeats`` to report repeated ids.

    Returns:
        The audit; ids that are not in the dataset are ignored in what is shared.
    """
    found = rows_of(table, split)
    masks = {subset: np.zeros(len(table), np.bool_) for subset in SUBSETS}
    for subset, (_, rows) in found.items():
        masks[subset][rows] = True
    classes = {subset: class_counts(table, mask) for subset, mask in masks.items()}
    measures = _measure(table, [(masks[of], masks[within]) for of, within in PAIRS])
    shared = zip(*measures, strict=True)
    left = table.ids.filter(~np.any([*masks.values()], axis=0))
    return Audit(
        listed={subset: len(split.ids(subset)) for subset in SUBSETS},
        pairs=tuple(Pair(*pair, each) for pair, each in zip(PAIRS, shared, strict=True)),
        classes=classes,
        drift=_drift(classes, {subset: int(mask.sum()) for subset, mask in masks.items()}),
        not_in_shards={subset: _ids(missing) for subset, (missing, _) in found.items()},
        in_no_subset=Ids(len(left), tuple(left[:5].to_pylist())),
        repeated=_ids(repeats((*split.train, *split.valid, *split.test))),
    )


def _ids(ids: Sequence[str]) -> Ids:
    return Ids(len(ids), tuple(ids[:5]))


def _measure(table: Catalogue, pairs: Sequence[tuple[Mask, Mask]]) -> Iterator[list[Shared]]:
    """For each of `KINDS`, what each pair shares."""

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
    # They take gigabytes at ten million rows.
    del transcripts
    for kind, part, letter in (("audio", "mel", "a"), ("faces", "faces", "v")):
        codes, there = table.content(part), ~table.missing[letter].known
        yield each(sharing_values(kind, codes, int(codes.max(initial=-1)) + 1, there))


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


@dataclass(frozen=True)
class Limit:
    """Limit on what one subset shares with another, in utterances or percent of the first."""

    kind: str
    most: float
    percent: bool

    def __str__(self) -> str:
        return f"{self.kind}={self.most:g}{'%' if self.percent else ''}"


def parse_limits(texts: Iterable[str]) -> list[Limit]:
    """Parse limits ``KIND=NUMBER`` and ``KIND=PERCENT%``.

    Raises:
        SplitError: a limit has an unknown kind or is not a number.
    """
    limits = []
    for text in texts:
        kind, _, most = text.partition("=")
        if kind not in KINDS:
            raise SplitError(f"unknown kind {kind!r}", meant(kind, KINDS))
        if not re.fullmatch(r"(\d+\.?\d*|\.\d+)%?", most):
            raise SplitError(f"invalid limit {text!r}", f"write {kind}=0, or {kind}=1%")
        limits.append(Limit(kind, float(most.removesuffix("%")), most.endswith("%")))
    return limits


def exceeded(audit: Audit, limits: Iterable[Limit]) -> Iterator[str]:
    """A sentence for each limit that a pair of subsets exceeds."""
    limits = list(limits)
    for pair in audit.pairs:
        shared = {found.kind: found for found in pair.shared}
        for limit in limits:
            found = shared[limit.kind]
            if (100 * found.share if limit.percent else found.count) > limit.most:
                yield (
                    f"{found.count} of {found.of} {pair.of} utterance(s) ({found.share:.2%}) share "
                    f"{KINDS[found.kind]} with {pair.within}; the limit is {limit}"
                )
