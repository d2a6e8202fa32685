"""What became of imported lists, in words and as JSON values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from fv2es_prep.splits.imported import Imported
from fv2es_prep.splits.manifest import SUBSETS
from fv2es_prep.splits.published import Change, Recognised

_NAMED = 5


def import_values(imported: Imported) -> dict[str, Any]:
    """What became of lists, as plain JSON values."""
    found, lists, split = imported.recognised, imported.lists, imported.split
    return {
        "listed": {subset: len(ids) for subset, ids in lists.ids.items()},
        "recognised": found.published.name if found else None,
        "exact": found.exact if found else False,
        "likeness": round(found.likeness, 4) if found else 0.0,
        "differs": {s: vars(change) for s, change in found.changes.items()} if found else {},
        "repeated": lists.repeated,
        "shared": lists.shared,
        "unit": imported.unit,
        "not_in_shards": imported.not_in_shards,
        "utterances": {s: len(split.ids(s)) for s in SUBSETS} if split else None,
        "digest": split.digest() if split else None,
    }


def import_text(imported: Imported) -> str:
    """The same for people."""
    lists, found = imported.lists, imported.recognised
    lines = [("recognised", _recognised(found))]
    for subset, change in found.changes.items() if found else ():
        lines += [(subset, words) for words in _changed(change)]
    for what, ids in (("in one list twice", lists.repeated), ("in two lists", lists.shared)):
        lines += [("listed", f"{what}: {_few(ids)}")] if ids else []
    for subset, ids in imported.not_in_shards.items():
        lines += [(subset, f"not in the shards, left out: {_few(ids)}")] if ids else []
    lines += [("ids", f"of {imported.unit}s")] if imported.unit else []
    if imported.split is not None:
        lines += [(subset, f"{len(imported.split.ids(subset))} utterances") for subset in SUBSETS]
    return "\n".join(f"{name:11} {words}" for name, words in lines)


def _recognised(found: Recognised | None) -> str:
    if found is None:
        return "none of the published splits"
    published = found.published
    words = f"{published.title} ({published.name}, {published.licence})"
    if found.exact:
        return f"{words}, exactly"
    return f"{words}, but changed: {int(1e4 * found.likeness) / 100:g} % is the same"


def _changed(change: Change) -> Iterator[str]:
    if not change.told:
        yield "differs in more lines than can be told one by one"
    for name in change.added:
        yield f"{name} was not published in this subset"
    for name in change.lacking:
        yield f"{name} was published in this subset, and is not listed"
    if change.unnamed:
        more = "more " if change.lacking else ""
        yield f"{change.unnamed} {more}published line(s) are not listed; --shards may name them"


def _few(ids: Sequence[str]) -> str:
    more = f", … ({len(ids)})" if len(ids) > _NAMED else ""
    return ", ".join(ids[:_NAMED]) + more
