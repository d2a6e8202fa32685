"""Two splits side by side, and what is in the subsets of one.

Owns the numbers of `fv2es splits diff` and `fv2es splits stats`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fv2es_prep.shards.table import CatalogueTable, Names
from fv2es_prep.splits.manifest import SUBSETS, Split, places_of

_NAMED = 5
# Where an id is that a split does not name.
NOWHERE = "none"


def diff_splits(a: Split, b: Split) -> dict[str, Any]:
    """Where the ids of two splits went, as plain JSON values.

    Returns:
        ``equal``; ``same``, the number of ids in the same subset of both; and ``moved``, for each
        way from a subset of the first to one of the second how many went it, and the first few.
    """
    import pyarrow as pa

    halves = []
    for split in (a, b):
        ids = [pa.array(split.ids(subset), pa.large_string()) for subset in SUBSETS]
        halves.append(
            (pa.concat_arrays(ids), np.repeat(np.arange(3, dtype=np.int8), [*map(len, ids)]))
        )
    encoded = pa.concat_arrays([half[0] for half in halves]).dictionary_encode()
    codes, names = encoded.indices.to_numpy(), encoded.dictionary
    places = np.full((2, len(names)), len(SUBSETS), np.int8)
    cut = len(halves[0][0])
    places[0, codes[:cut]] = halves[0][1]
    places[1, codes[cut:]] = halves[1][1]
    same = int(np.count_nonzero(places[0] == places[1]))
    return {"equal": same == len(names), "same": same, "moved": _moved(places, names)}


def _moved(places: Any, names: Any) -> list[dict[str, Any]]:
    words = (*SUBSETS, NOWHERE)
    found = []
    for source, origin in enumerate(words):
        for target, goal in enumerate(words):
            rows = np.flatnonzero((places[0] == source) & (places[1] == target))
            if source != target and len(rows):
                few = sorted(names[int(row)].as_py() for row in rows[:_NAMED])
                found.append({"from": origin, "to": goal, "count": len(rows), "named": few})
    return found


def diff_text(found: dict[str, Any]) -> str:
    """The same for people."""
    lines = [f"{found['same']} id(s) are in the same subset of both"]
    for way in found["moved"]:
        more = ", …" if way["count"] > len(way["named"]) else ""
        named = ", ".join(way["named"]) + more
        lines.append(f"{way['from']:5} -> {way['to']:5} {way['count']:8}  {named}")
    return "\n".join(lines)


def split_stats(table: CatalogueTable, split: Split) -> dict[str, Any]:
    """What is in each subset, as plain JSON values; ids that the shards lack are only counted."""
    told = {}
    for subset, (ids, places) in places_of(table, split).items():
        rows = places.drop_null().to_numpy()
        start, end = table.spans_us
        sums = table.label[rows].sum(axis=0, dtype=int)
        told[subset] = {
            "utterances": len(ids),
            "not_in_shards": int(places.null_count),
            "recordings": _different(table.recordings, rows),
            "speakers": _different(table.speakers, rows),
            "sessions": _different(table.sessions, rows),
            "hours": round(int((end[rows] - start[rows]).sum()) / 3.6e9, 4),
            "classes": dict(zip(table.label_classes, map(int, sums), strict=True)),
        }
    return {"recipe": split.recipe, "parameters": split.parameters, "subsets": told}


def _different(names: Names, rows: Any) -> int:
    """How many values occur; what is not known is none."""
    there = np.zeros(len(names.values) + 1, np.bool_)
    there[names.codes[rows]] = True
    return int(np.count_nonzero(there)) - int(bool(names.values[:1] == [""] and there[0]))


def stats_text(stats: dict[str, Any]) -> str:
    """The same for people."""
    subsets = stats["subsets"]
    names = [name for name in subsets["train"] if name != "classes"]
    lines = [f"{stats['recipe']}  {stats['parameters']}", _line("", list(subsets))]
    lines += [_line(name, [subset[name] for subset in subsets.values()]) for name in names]
    for name in subsets["train"]["classes"]:
        lines += [_line(f"  {name}", [subset["classes"][name] for subset in subsets.values()])]
    return "\n".join(lines)


def _line(name: str, cells: Sequence[Any]) -> str:
    return f"{name:14}" + "".join(f"{cell:>12}" for cell in cells)
