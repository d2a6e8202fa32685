"""The splits that others have published: what is known of each, and whether a list is one of them.

Owns reading manifests/published.json, which has facts and no lists, and recognition. Leaves the
facts of a list to `sketch`, files of ids to `lists`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fv2es_prep.splits.manifest import SUBSETS
from fv2es_prep.splits.sketch import Sketch, differences, hash_of, likeness, sketch_of

# A list that has less than this in common with a published one is none of its kind.
_LEAST_LIKENESS = 0.5


@dataclass(frozen=True)
class Published:
    """A published split.

    Attributes:
        name: by which it is called here.
        title: in words.
        source: where it was published, with the commit.
        licence: under which it was published.
        unit: what its ids are: ``utterance`` or ``recording``.
        subsets: the facts of each subset.
    """

    name: str
    title: str
    source: str
    licence: str
    unit: str
    subsets: dict[str, Sketch]


@dataclass(frozen=True)
class Change:
    """How the lists differ from the published ones in one subset.

    Attributes:
        added: ids that only the given list has.
        lacking: ids that only the published list has, as far as they can be named.
        unnamed: how many more it lacks whose names nobody here knows.
        told: whether all differences could be told; else there are too many.
    """

    added: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    unnamed: int = 0
    told: bool = True


@dataclass(frozen=True)
class Recognised:
    """What lists were recognised as.

    Attributes:
        published: the published split that is nearest.
        exact: whether they are the very same.
        likeness: what they have in common, 0 to 1; an estimate where not all changes are told.
        changes: subset -> how it differs; those that are equal are not in it.
    """

    published: Published
    exact: bool
    likeness: float
    changes: dict[str, Change]


def facts_file(name: str) -> Path:
    """A file of manifests/: beside this one in an installed package, else in the checkout."""
    here = Path(__file__).with_name(name)
    return here if here.is_file() else Path(__file__).parents[2] / "manifests" / name


def published_splits() -> list[Published]:
    """All that are known."""
    value = json.loads(facts_file("published.json").read_text(encoding="utf-8"))
    return [_published(entry) for entry in value["splits"]]


def _published(entry: dict[str, Any]) -> Published:
    subsets = {name: Sketch.from_json(value) for name, value in entry["subsets"].items()}
    words = {name: entry[name] for name in ("name", "title", "source", "licence", "unit")}
    return Published(**words, subsets=subsets)


def recognise(lists: Mapping[str, Sequence[str]], known: Iterable[str] = ()) -> Recognised | None:
    """The published split that lists of ids are, or come from.

    Args:
        lists: subset -> ids.
        known: further ids by which what is lacking can be named, such as those of the shards.

    Returns:
        None where they are like none of them.
    """
    ours = {subset: sketch_of(lists[subset]) for subset in SUBSETS}
    found = [(_likeness(ours, split), split) for split in published_splits()]
    best, published = max(found, key=lambda pair: pair[0])
    if best < _LEAST_LIKENESS:
        return None
    unequal = [s for s in SUBSETS if ours[s].sha256 != published.subsets[s].sha256]
    names: dict[int, str] = {}
    if unequal:
        names = {hash_of(i): i for ids in (*lists.values(), known) for i in ids}
    changes = {s: _change(ours[s], published.subsets[s], names) for s in unequal}
    if all(change.told for change in changes.values()):
        best = _same(ours, published, changes)
    return Recognised(published, not unequal, best, changes)


def _same(ours: Mapping[str, Sketch], published: Published, changes: Mapping[str, Change]) -> float:
    """The likeness of all lists where every difference is known: no estimate."""
    both = sum(sketch.count for sketch in ours.values())
    both -= sum(len(change.added) for change in changes.values())
    either = sum(sketch.count for sketch in published.subsets.values())
    return both / (either + sum(len(change.added) for change in changes.values()))


def _likeness(ours: Mapping[str, Sketch], published: Published) -> float:
    total = sum(sketch.count for sketch in ours.values())
    weights = {s: ours[s].count / max(total, 1) for s in SUBSETS}
    return sum(weights[s] * likeness(ours[s], published.subsets[s]) for s in SUBSETS)


def _change(ours: Sketch, theirs: Sketch, names: Mapping[int, str]) -> Change:
    found = differences(ours, theirs)
    if found is None:
        return Change(told=False)
    added, lacking = ([names[key] for key in sorted(keys) if key in names] for keys in found)
    return Change(tuple(sorted(added)), tuple(sorted(lacking)), len(found[1]) - len(lacking))
