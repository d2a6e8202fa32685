"""Id lists as a split manifest: what they equal, and which of their ids the dataset has.

Owns the import and its summary. Leaves reading to `lists` and recognition to `published`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.splits.lists import Lists
from fv2es_prep.splits.manifest import SUBSETS, Split, few, split_of_rows
from fv2es_prep.splits.published import Match, match_published

if TYPE_CHECKING:
    from fv2es_prep.shards.table import CatalogueTable


@dataclass(frozen=True)
class Imported:
    """The result of an import.

    Attributes:
        lists: the lists as read.
        match: the published split that they equal, in whole or in part.
        unit: ``utterance``, ``recording``, or empty if unknown.
        split: the manifest; None for ids of recordings without a dataset.
        not_in_shards: subset -> ids that the dataset lacks; the manifest omits them.
    """

    lists: Lists
    match: Match | None
    unit: str
    split: Split | None
    not_in_shards: dict[str, tuple[str, ...]]

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        match, split = self.match, self.split
        return {
            "listed": {subset: len(ids) for subset, ids in self.lists.ids.items()},
            "recognised": match.published.name if match else None,
            "exact": bool(match and match.exact),
            "changed": _changed(self.lists, match),
            "repeated": self.lists.repeated,
            "shared": self.lists.shared,
            "unit": self.unit,
            "not_in_shards": self.not_in_shards,
            "utterances": {s: len(split.ids(s)) for s in SUBSETS} if split else None,
            "digest": split.digest() if split else None,
        }


def import_lists(lists: Lists, table: CatalogueTable | None) -> Imported:
    """Make a manifest from id lists.

    Args:
        lists: see `read_lists`.
        table: the catalogue; if None, ids are taken as utterance ids unless they are known to
            name recordings.

    Raises:
        SplitError: the dataset has none of the ids.
    """
    match = match_published(lists.ids)
    if table is not None:
        unit, rows, missing = _find(lists.ids, table)
        parameters = _parameters(lists, match, missing, unit)
        split = split_of_rows(table, "import", parameters, rows)
        return Imported(lists, match, unit, split, missing)
    unit = match.published.unit if match else ""
    if unit == "recording":
        return Imported(lists, match, unit, None, {})
    train, valid, test = (tuple(lists.ids[subset]) for subset in SUBSETS)
    parameters = _parameters(lists, match, {}, unit)
    return Imported(lists, match, unit, Split("import", parameters, train, valid, test, {}), {})


def _find(
    lists: Mapping[str, Sequence[str]], table: CatalogueTable
) -> tuple[str, list[Any], dict[str, tuple[str, ...]]]:
    """The unit of the ids, their rows, and the ids that the dataset lacks."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = {subset: pa.array(lists[subset], pa.large_string()) for subset in SUBSETS}
    units = {
        "utterance": table.ids,
        "recording": pa.array(table.recordings.values, pa.large_string()),
    }
    places = {
        unit: {subset: pc.index_in(ids[subset], value_set=values) for subset in SUBSETS}
        for unit, values in units.items()
    }
    hits = {
        unit: sum(len(found) - found.null_count for found in places[unit].values())
        for unit in units
    }
    unit = max(units, key=hits.__getitem__)
    if not hits[unit]:
        raise SplitError(
            f"the dataset has none of the listed ids, neither as utterance nor as recording; "
            f"first listed: {ids['train'][0].as_py()!r}, first in the dataset: "
            f"{table.ids[0].as_py()!r}",
            "check that the lists belong to this corpus",
        )
    found = places[unit]
    missing = {s: tuple(ids[s].filter(found[s].is_null()).to_pylist()) for s in SUBSETS}
    rows = [found[s].drop_null().to_numpy().astype(np.int64) for s in SUBSETS]
    if unit == "recording":
        rows = [np.flatnonzero(np.isin(table.recordings.codes, codes)) for codes in rows]
    return unit, rows, missing


def _parameters(
    lists: Lists, match: Match | None, missing: Mapping[str, Sequence[str]], unit: str
) -> dict[str, Any]:
    """The manifest's parameters: its source, and how it differs from it."""
    parameters: dict[str, Any] = {"unit": unit}
    if match is not None:
        parameters |= {"published": match.published.name, "source": match.published.source}
        parameters |= {"licence": match.published.licence, "exact": match.exact}
        parameters["changed"] = _changed(lists, match)
    parameters["repeated"], parameters["shared"] = list(lists.repeated), list(lists.shared)
    parameters["not_in_shards"] = {subset: len(ids) for subset, ids in missing.items()}
    return parameters


def _changed(lists: Lists, match: Match | None) -> dict[str, dict[str, int]]:
    """Each changed subset with its number of listed and of published ids."""
    return {
        subset: {"listed": len(lists.ids[subset]), "published": match.published.counts[subset]}
        for subset in (match.changed if match else ())
        if match
    }


def import_text(imported: Imported) -> str:
    """A summary of an import for the terminal."""
    return "\n".join(f"{name:11} {words}" for name, words in _lines(imported))


def _lines(imported: Imported) -> Iterator[tuple[str, str]]:
    lists, match, split = imported.lists, imported.match, imported.split
    yield "recognised", _recognised(match)
    for subset, counts in _changed(lists, match).items():
        listed, published = counts["listed"], counts["published"]
        yield subset, f"differs from the published list: {listed} ids, {published} published"
    if lists.repeated:
        yield "repeated", f"twice in one list: {few(lists.repeated)}"
    if lists.shared:
        yield "shared", f"in two lists: {few(lists.shared)}"
    for subset, ids in imported.not_in_shards.items():
        if ids:
            yield subset, f"not in the dataset, omitted: {few(ids)}"
    if imported.unit:
        yield "unit", imported.unit
    for subset in SUBSETS if split else ():
        yield subset, f"{len(split.ids(subset)) if split else 0} utterances"


def _recognised(match: Match | None) -> str:
    if match is None:
        return "no published split has a subset with these ids"
    published = match.published
    words = f"{published.title} ({published.name}, {published.licence})"
    if match.exact:
        return f"{words}, exact"
    moved = "; the ids of all subsets together are equal" if match.same_ids else ""
    return f"{words}, changed{moved}; name the changes with `fv2es splits diff LISTS PUBLISHED`"
