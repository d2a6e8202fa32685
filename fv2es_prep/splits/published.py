"""Published splits: their metadata, and whether id lists equal one of them.

Owns reading manifests/published.json, which stores counts and digests instead of the lists.
"""

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
        source: where it was published, with the commit.
        licence: the licence it was published under.
        unit: what its ids name: ``utterance`` or ``recording``.
        sha256: digest of the ids of all subsets, see `list_digest`.
        counts: subset -> number of ids.
        digests: subset -> digest of its ids.
    """

    name: str
    title: str
    source: str
    licence: str
    unit: str
    sha256: str
    counts: dict[str, int]
    digests: dict[str, str]


@dataclass(frozen=True)
class Match:
    """A published split that id lists equal, in whole or in part.

    Attributes:
        published: the published split.
        changed: subsets whose ids differ from the published ones.
        same_ids: whether the ids of all subsets together are the published ones.
    """

    published: Published
    changed: tuple[str, ...]
    same_ids: bool

    @property
    def exact(self) -> bool:
        """Whether every subset equals the published one."""
        return not self.changed


def metadata_file(name: str) -> Path:
    """Path of a file of manifests/: beside this module if installed, else in the checkout."""
    here = Path(__file__).with_name(name)
    return here if here.is_file() else Path(__file__).parents[2] / "manifests" / name


def published_splits() -> list[Published]:
    """All published splits that fv2es knows."""
    value = json.loads(metadata_file("published.json").read_text(encoding="utf-8"))
    names = ("name", "title", "source", "licence", "unit", "sha256")
    return [
        Published(
            **{name: entry[name] for name in names},
            counts={subset: found["count"] for subset, found in entry["subsets"].items()},
            digests={subset: found["sha256"] for subset, found in entry["subsets"].items()},
        )
        for entry in value["splits"]
    ]


def list_digest(ids: Iterable[str]) -> str:
    """SHA-256 of the sorted distinct ids joined by newlines, in hexadecimal."""
    return hashlib.sha256("\n".join(sorted(set(ids))).encode()).hexdigest()


def match_published(lists: Mapping[str, Sequence[str]]) -> Match | None:
    """The published split that has the most ids of the lists in an equal subset.

    Args:
        lists: subset -> ids.

    Returns:
        None if neither a subset nor the ids of all subsets equal those of a published split.
    """
    digests = {subset: list_digest(lists[subset]) for subset in SUBSETS}
    sha256 = list_digest(name for subset in SUBSETS for name in lists[subset])
    matches = [_match(digests, sha256, published) for published in published_splits()]
    found = [match for match in matches if match.same_ids or len(match.changed) < len(SUBSETS)]
    return max(found, key=_equal_ids, default=None)


def _match(digests: Mapping[str, str], sha256: str, published: Published) -> Match:
    changed = tuple(s for s in SUBSETS if digests[s] != published.digests[s])
    return Match(published, changed, sha256 == published.sha256)


def _equal_ids(match: Match) -> int:
    counts = match.published.counts
    return sum(counts[subset] for subset in SUBSETS if subset not in match.changed)
