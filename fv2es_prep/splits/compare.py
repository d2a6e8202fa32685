"""Comparison of two splits, and statistics of one."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.splits.manifest import SUBSETS, Split, class_counts, rows_of
from fv2es_prep.splits.shared import count, present
from fv2es_prep.utils.tables import Form, Table, shown, wrapped

_NAMED = 5


def diff_splits(a: Split, b: Split) -> dict[str, Any]:
    """Compare the ids of two splits.

    Returns:
        ``equal``; ``same``, the number of ids in the same subset of both; and ``moved``, for each
        subset of the first and other subset of the second, the number of ids and the first few.
    """
    import pyarrow as pa

    ids = [pa.array((*s.train, *s.valid, *s.test), pa.large_string()) for s in (a, b)]
    encoded = pa.concat_arrays(ids).dictionary_encode()
    # int8 (2, distinct ids): index of the subset in `order`, for each split.
    order = (*SUBSETS, "none")
    places = np.full((2, len(encoded.dictionary)), len(SUBSETS), np.int8)
    halves = np.split(encoded.indices.to_numpy(), [len(ids[0])])
    for row, split, codes in zip(places, (a, b), halves, strict=True):
        row[codes] = np.repeat(np.arange(len(SUBSETS)), [len(split.ids(s)) for s in SUBSETS])
    moved = []
    for one, other in itertools.permutations(range(len(order)), 2):
        rows = np.flatnonzero((places[0] == one) & (places[1] == other))
        if len(rows):
            named = sorted(encoded.dictionary.take(pa.array(rows[:_NAMED])).to_pylist())
            move = {"from": order[one], "to": order[other], "count": len(rows), "named": named}
            moved.append(move)
    return {"equal": not moved, "same": count(places[0] == places[1]), "moved": moved}


def diff_text(diff: dict[str, Any]) -> str:
    """A comparison for the terminal."""
    lines = [f"{diff['same']} id(s) are in the same subset of both"]
    for move in diff["moved"]:
        more = ", …" if move["count"] > len(move["named"]) else ""
        named = ", ".join(move["named"]) + more
        lines.append(f"{move['from']:5} -> {move['to']:5} {move['count']:8}  {named}")
    return "\n".join(wrapped(line, indent=" " * 24) for line in lines)


def split_stats(table: Catalogue, split: Split) -> dict[str, Any]:
    """Statistics of each subset, as plain JSON values."""
    start, end = table.spans_us
    names = {name: getattr(table, name) for name in ("recordings", "speakers", "sessions")}
    absent = {f"no {MODALITY_NAMES[key]}": codes.known for key, codes in table.missing.items()}
    subsets = {}
    for subset, (missing, rows) in rows_of(table, split).items():
        subsets[subset] = {
            "utterances": len(split.ids(subset)),
            "not_in_shards": len(missing),
            **{
                name: count(present(found.codes, len(found.values), rows[found.known[rows]]))
                for name, found in names.items()
            },
            **{name: count(mask[rows]) for name, mask in absent.items() if mask.any()},
            "hours": round(int((end[rows] - start[rows]).sum()) / 3.6e9, 4),
            "classes": class_counts(table, rows),
        }
    return {"recipe": split.recipe, "parameters": split.parameters, "subsets": subsets}


def stats_text(stats: dict[str, Any], form: Form = "table") -> str:
    """Statistics as a table."""
    subsets = list(stats["subsets"].values())
    first = subsets[0]
    rows = [[name, *(s[name] for s in subsets)] for name in first if name != "classes"]
    rows += [[f"  {name}", *(s["classes"][name] for s in subsets)] for name in first["classes"]]
    table = Table(["quantity", *stats["subsets"]], rows)
    return shown([f"{stats['recipe']}  {stats['parameters']}", table], form)
