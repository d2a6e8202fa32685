"""Published splits: reads manifests/published.json, and recognises lists that equal one."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.splits.manifest import SUBSETS


@dataclass(frozen=True)
class Published:
    """A published split.

    Attributes:
        name: its name in fv2es.
        title: its title.
        source: its URL, with the commit.
        licence: licence of the lists.
        unit: what its ids name: ``utterance`` or ``recording``.
        counts: subset -> number of ids.
        digests: subset -> digest of its ids, see `list_digest`.
    """

    name: str
    title: str
    source: str
    licence: str
    unit: str
    counts: dict[str, int]
    digests: dict[str, str]


def metadata_file(name: str) -> Path:
    """Path of a file of manifests/: in the installed package, otherwise in the checkout."""
    here = Path(__file__).with_name(name)
    return here if here.is_file() else Path(__file__).parents[2] / "manifests" / name


def published_splits() -> list[Published]:
    """All published splits that fv2es knows."""
    value = json.loads(metadata_file("published.json").read_text(encoding="utf-8"))
    return [
        Published(
            **{name: entry[name] for name in ("name", "title", "source", "licence", "unit")},
            counts={subset: found["count"] for subset, found in entry["subsets"].items()},
            digests={subset: found["sha256"] for subset, found in entry["subsets"].items()},
        )
        for entry in value["splits"]
    ]


def list_digest(ids: Iterable[str]) -> str:
    """SHA-256 of the sorted distinct ids joined by newlines, in hexadecimal."""
    return hashlib.sha256("\n".join(sorted(set(ids))).encode()).hexdigest()


def recognise(lists: Mapping[str, Sequence[str]]) -> tuple[Published, list[str]] | None:
    """Find the published split with the most ids in subsets that equal those of the lists.

    Returns:
        The split and the subsets that differ from it; None if all subsets differ.
    """
    digests = {subset: list_digest(ids) for subset, ids in lists.items()}

    def equal_ids(published: Published) -> int:
        equal = (s for s in SUBSETS if digests[s] == published.digests[s])
        return sum(published.counts[subset] for subset in equal)

    best = max(published_splits(), key=equal_ids)
    changed = [s for s in SUBSETS if digests[s] != best.digests[s]]
    return (best, changed) if len(changed) < len(SUBSETS) else None
