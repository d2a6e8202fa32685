"""Lists of ids that become a manifest: what they are, and what of them the shards have.

Owns fitting the ids to the shards; what is left out on the way is kept in the answer. Leaves
recognition to `published`, how the answer looks to `import_report`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.splits.lists import Lists
from fv2es_prep.splits.manifest import SUBSETS, Split, split_of_rows
from fv2es_prep.splits.published import Recognised, recognise

if TYPE_CHECKING:
    from fv2es_prep.shards.table import CatalogueTable


@dataclass(frozen=True)
class Imported:
    """What became of lists.

    Attributes:
        lists: as they were read.
        recognised: the published split that they are, or come from.
        unit: ``utterance``, ``recording``, or empty where there were no shards to ask.
        split: the manifest; None where there were no shards and the ids are recordings.
        not_in_shards: subset -> ids that the shards do not have; they are kept out.
    """

    lists: Lists
    recognised: Recognised | None
    unit: str
    split: Split | None
    not_in_shards: dict[str, tuple[str, ...]]


def import_lists(lists: Lists, table: CatalogueTable | None) -> Imported:
    """Make a manifest of lists, and say what they are.

    Args:
        lists: see `read_lists`.
        table: the catalogue; without it ids are taken as they are, if they are of utterances.

    Raises:
        SplitError: the shards have none of the ids.
    """
    known: list[str] = []
    if table is not None:
        known = [*table.ids.to_pylist(), *table.recordings.values]
    found = recognise(lists.ids, known)
    if table is None:
        unit = found.published.unit if found else ""
        split = None
        if unit != "recording":
            train, valid, test = (tuple(lists.ids[subset]) for subset in SUBSETS)
            parameters = _parameters(lists, found, {}, unit)
            split = Split("import", parameters, train, valid, test, class_counts={})
        return Imported(lists, found, unit, split, {})
    unit, rows, missing = _fit(lists.ids, table)
    parameters = _parameters(lists, found, missing, unit)
    split = split_of_rows(table, "import", parameters, rows)
    return Imported(lists, found, unit, split, missing)


def _fit(
    lists: Mapping[str, Sequence[str]], table: CatalogueTable
) -> tuple[str, list[Any], dict[str, tuple[str, ...]]]:
    """Whether ids are of utterances or recordings, their rows, and those that have none."""
    import pyarrow as pa
    import pyarrow.compute as pc

    recordings = pa.array(table.recordings.values, pa.large_string())
    ids = {subset: pa.array(lists[subset], pa.large_string()) for subset in SUBSETS}

    def places(unit: str) -> dict[str, Any]:
        values = table.ids if unit == "utterance" else recordings
        return {subset: pc.index_in(ids[subset], value_set=values) for subset in SUBSETS}

    def hits(unit: str) -> int:
        return sum(len(found) - found.null_count for found in places(unit).values())

    unit = max(("utterance", "recording"), key=hits)
    found = places(unit)
    if not hits(unit):
        raise SplitError(
            f"the shards have none of the ids, neither as utterance nor as recording; the first is "
            f"{ids['train'][0].as_py()!r}, theirs is {table.ids[0].as_py()!r}",
            "are these lists of another corpus?",
        )
    missing = {s: tuple(ids[s].filter(found[s].is_null()).to_pylist()) for s in SUBSETS}
    chosen = [found[s].drop_null().to_numpy().astype(np.int64) for s in SUBSETS]
    if unit == "recording":
        chosen = [np.flatnonzero(np.isin(table.recordings.codes, codes)) for codes in chosen]
    return unit, chosen, missing


def _parameters(
    lists: Lists, found: Recognised | None, missing: Mapping[str, Sequence[str]], unit: str
) -> dict[str, Any]:
    """What the manifest says of where it comes from, and of what is not as it was published."""
    told: dict[str, Any] = {"unit": unit}
    if found is not None:
        told |= {"published": found.published.name, "source": found.published.source}
        told |= {"licence": found.published.licence, "exact": found.exact}
        told["differs"] = {subset: vars(change) for subset, change in found.changes.items()}
    told["repeated"], told["shared"] = list(lists.repeated), list(lists.shared)
    told["not_in_shards"] = {subset: len(ids) for subset, ids in missing.items()}
    return told
