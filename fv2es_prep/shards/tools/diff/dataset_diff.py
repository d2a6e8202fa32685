"""Compares two datasets: settings, media, utterances, their parts, and what was left out.

Reads both catalogues, and digests from the shards that only one of them has (`stored_parts`).
Leaves text and page to `diff_page`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.shards.catalogue import Catalogue, read_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import Index
from fv2es_prep.shards.tools.diff.diff_values import Changed, Diff, Moved, Remade
from fv2es_prep.shards.tools.diff.stored_parts import StoredParts, read_stored_parts
from fv2es_prep.shards.tools.diff.utterance_pairs import (
    Pairs,
    Part,
    classes_of,
    small_parts,
    stage_differs,
    stage_parts,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Mask = NDArray[np.bool_]

_PREPARED = "prepared"
_NO_SUBSET = "none"
_NAMED = 5


def diff_datasets(
    a: Path,
    b: Path,
    subsets: Mapping[str, Sequence[str]] = {},
    report: Callable[[int], None] = lambda _: None,
    jobs: int = 1,
) -> Diff:
    """Compare two datasets.

    Args:
        a: the first dataset.
        b: the second dataset.
        subsets: name of a subset -> utterance ids.
        report: called with the number of shards done, of both datasets.
        jobs: number of processes that read shards.

    Raises:
        UsageError: a directory holds no finished dataset.
        ShardError: a shard, an index or dropped.jsonl is missing or damaged.
        WorkError: a process was killed.
    """
    pairs = Pairs(read_catalogue(a), read_catalogue(b))
    stored = _stored(a, b, pairs, report, jobs)
    parts = [*small_parts(pairs), *stage_parts(pairs, stored)]
    differs = np.logical_or.reduce([part.differs for part in parts])
    found, before, now = _Subsets(subsets), _reasons(a), _reasons(b)
    new = _moved(pairs.b, pairs.new, found, lambda name: (before.get(name, ""), _PREPARED))
    gone = _moved(pairs.a, pairs.gone, found, lambda name: (_PREPARED, now.get(name, "")))
    sides = (
        (pairs.a, pairs.gone, pairs.rows_a[differs]),
        (pairs.b, pairs.new, pairs.rows_b[differs]),
    )
    same = len(differs) - int(np.count_nonzero(differs))
    return Diff(
        utterances={"before": len(pairs.a), "now": len(pairs.b), "same": same},
        settings=_settings(pairs.a.index, pairs.b.index),
        media=_media(*stored),
        added=new,
        removed=gone,
        changed=tuple(_changed(pairs, parts, differs, found)),
        dropped=tuple(_dropped(before, now, {moved.id for moved in (*gone, *new)})),
        remade=_remade(pairs, stored),
        classes=_tallies(pairs.classes, [(pairs.labels(s), *rows) for s, *rows in sides]),
        subsets=_tallies(found.names, [(found.masks(s.ids), *rows) for s, *rows in sides]),
    )


def _stored(
    a: Path, b: Path, pairs: Pairs, report: Callable[[int], None], jobs: int
) -> tuple[StoredParts, StoredParts]:
    one, other = pairs.a.index, pairs.b.index
    both = {entry.sha256 for entry in one.shards} & {entry.sha256 for entry in other.shards}
    first = read_stored_parts(a, one, pairs.stages, both, report, jobs)
    return first, read_stored_parts(b, other, pairs.stages, both, report, jobs)


def _remade(pairs: Pairs, stored: tuple[StoredParts, StoredParts]) -> dict[str, Remade]:
    masks = {stage: stage_differs(pairs, stored, stage)[1] for stage in pairs.stages}
    rows = {stage: pairs.rows_a[mask] for stage, mask in masks.items() if mask.any()}
    return {
        stage: Remade(len(found), tuple(pairs.a.ids.take(found[:_NAMED]).to_pylist()))
        for stage, found in rows.items()
    }


def _media(a: StoredParts, b: StoredParts) -> dict[str, tuple[str, ...]]:
    found = {}
    for recording in sorted(a.media_hashes.keys() & b.media_hashes.keys()):
        pairs = zip(a.media_hashes[recording], b.media_hashes[recording], strict=True)
        files = zip(("video", "audio"), pairs, strict=True)
        if differing := tuple(name for name, (one, other) in files if one != other):
            found[recording] = differing
    return found


def _settings(a: Index, b: Index) -> dict[str, tuple[Any, Any]]:
    """Settings and other properties of the datasets that differ."""

    def properties(index: Index) -> dict[str, Any]:
        return {
            "corpus": index.corpus,
            "format_version": index.format_version,
            "provenance": [source.sentence for source in index.provenance],
            "label_classes": list(index.label_classes),
            "rating_names": list(index.rating_names),
            "stages": list(index.settings.stages),
            "require": index.settings.require,
        }

    one, other = properties(a), properties(b)
    found = {name: (one[name], other[name]) for name in one if one[name] != other[name]}
    # Compared above: they are stored only if they are not the default.
    told = "stages.names", "require.modalities"
    differing = a.settings.differences(b.settings).items()
    return found | {path: pair for path, pair in differing if path not in told}


class _Subsets:
    """The subset of each utterance."""

    def __init__(self, subsets: Mapping[str, Sequence[str]]) -> None:
        self.names = (*subsets, _NO_SUBSET) if subsets else ()
        self._subset = {name: subset for subset, names in subsets.items() for name in names}

    def of(self, name: str) -> str:
        return self._subset.get(name, _NO_SUBSET) if self.names else ""

    def masks(self, ids: Any) -> Mask:
        """Bool (N, names)."""
        places = {name: place for place, name in enumerate(self.names)}
        masks = np.zeros((len(ids), len(self.names)), np.bool_)
        if self.names:
            masks[np.arange(len(ids)), [places[self.of(name)] for name in ids.to_pylist()]] = True
        return masks


def _moved(
    side: Catalogue,
    rows: NDArray[np.int64],
    subsets: _Subsets,
    states: Callable[[str], tuple[str, str]],
) -> tuple[Moved, ...]:
    names = zip(rows.tolist(), side.ids.take(rows).to_pylist(), strict=True)
    return tuple(
        Moved(name, *states(name), tuple(classes_of(side, row)), subsets.of(name))
        for row, name in names
    )


def _changed(
    pairs: Pairs, parts: Sequence[Part], differs: Mask, subsets: _Subsets
) -> Iterator[Changed]:
    for place in np.flatnonzero(differs).tolist():
        one, other = int(pairs.rows_a[place]), int(pairs.rows_b[place])
        found = {
            part.name: (part.value(pairs.a, one), part.value(pairs.b, other))
            if part.value
            else None
            for part in parts
            if part.differs[place]
        }
        name = pairs.a.ids[one].as_py()
        yield Changed(name, found, tuple(classes_of(pairs.b, other)), subsets.of(name))


def _reasons(directory: Path) -> dict[str, str]:
    """Id, or file name without an id -> codes of the reasons why it was left out, with counts."""
    found: dict[str, Counter[str]] = {}
    for entry in read_dropped(directory):
        name = str(entry.get("id") or entry.get("file") or entry.get("recording_id") or "")
        found.setdefault(name, Counter())[entry["reason"]] += 1
    return {
        name: ", ".join(f"{code} ({n})" if n > 1 else code for code, n in sorted(codes.items()))
        for name, codes in found.items()
    }


def _dropped(a: dict[str, str], b: dict[str, str], told: set[str]) -> Iterator[Moved]:
    """What only one dataset left out, or both for different reasons, except ``told`` ids."""
    for name in (name for name in {**a, **b} if name not in told):
        if a.get(name) != b.get(name):
            yield Moved(name, a.get(name, ""), b.get(name, ""))


def _tallies(
    names: Sequence[str], sides: Sequence[tuple[Mask, NDArray[np.int64], NDArray[np.int64]]]
) -> dict[str, dict[str, int]]:
    """Count utterances by name; sides: masks (N, names), rows of one side, changed."""
    (a, gone, one), (b, new, other) = sides
    counts = {
        "before": a.sum(axis=0),
        "now": b.sum(axis=0),
        "added": b[new].sum(axis=0),
        "removed": a[gone].sum(axis=0),
        "changed": (a[one] | b[other]).sum(axis=0),
    }
    return {
        name: {what: int(sums[place]) for what, sums in counts.items()}
        for place, name in enumerate(names)
    }
