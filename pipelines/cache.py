"""The cache: shards that earlier runs left in a dataset directory, and which values can be kept.

Owns reading old shards and where they are put while they are still needed. Leaves copying out of
them to `build`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fv2es_prep.errors import Fv2esError, ShardError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.types import Dropped, Utterance
from fv2es_prep.utils.files import sha256_of

ASIDE_NAME = ".previous"


@dataclass(frozen=True)
class Kept:
    """Values of one example that an earlier run made from identical inputs.

    Attributes:
        path: the shard that holds them, where it will be while the run works.
        row: the row in it.
        stages: names of the stages whose values are kept.
    """

    path: Path
    row: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class OldShard:
    """A readable shard of an earlier run.

    Attributes:
        path: where it is.
        aside: where it is put when its place is needed.
        sha256: digest of its bytes.
        size_bytes: size of the file.
        task_digest: what it was made from.
        settings: the settings that made it, see `PrepSettings.flat`.
        examples: number of its examples.
        dropped: its dropped utterances.
    """

    path: Path
    aside: Path
    sha256: str
    size_bytes: int
    task_digest: str
    settings: dict[str, Any]
    examples: int
    dropped: tuple[Dropped, ...]


@dataclass
class Cache:
    """Everything that earlier runs left.

    Attributes:
        shards: by path.
        fingerprints: utterance id -> (shard, row, stage -> fingerprint) of each example.
        drops: utterance id -> its entries.
    """

    shards: dict[Path, OldShard] = field(default_factory=dict)
    fingerprints: dict[str, list[tuple[Path, int, dict[str, bytes]]]] = field(default_factory=dict)
    drops: dict[str, list[Dropped]] = field(default_factory=dict)

    def kept(self, utterance: Utterance, wanted: Mapping[str, bytes]) -> Kept | None:
        """The example of an utterance of which the most values can be kept.

        Args:
            utterance: as the inventory has it.
            wanted: stage -> fingerprint of the value that is needed.
        """
        best: Kept | None = None
        for path, row, found in self.fingerprints.get(utterance.id, ()):
            same = tuple(stage for stage in wanted if found.get(stage) == wanted[stage])
            if same and (best is None or len(same) > len(best.stages)):
                best = Kept(self.shards[path].aside, row, same)
        return best

    def drop(self, utterance: Utterance, fingerprint: str) -> Dropped | None:
        """The entry of an utterance that was dropped when it was made from identical inputs."""
        entries = self.drops.get(utterance.id, ())
        return next((entry for entry in entries if entry.origin == fingerprint), None)


def holds_shards(out: Path, corpus: str) -> bool:
    """Whether a directory has any shard of earlier work."""
    return bool(_shards_in(out, corpus))


def read_cache(out: Path, corpus: str) -> Cache:
    """Read the shards of a directory; a shard that is damaged is left out."""
    cache, listed = Cache(), _listed(out)
    for path in _shards_in(out, corpus):
        try:
            digest = sha256_of(path)
            if _is_aside(path) or listed.get(path.name, digest) == digest:
                _take(path, digest, cache)
        except (ShardError, FileNotFoundError):
            continue
    return cache


def shards_of(out: Path, corpus: str) -> list[Path]:
    """The shards of a corpus that lie in a dataset directory, whatever its index lists."""
    return sorted(out.glob(f"{corpus}-[0-9][0-9][0-9][0-9][0-9].h5"))


def _shards_in(out: Path, corpus: str) -> list[Path]:
    return [*shards_of(out, corpus), *sorted((out / ASIDE_NAME).glob("*.h5"))]


def _is_aside(path: Path) -> bool:
    return path.parent.name == ASIDE_NAME


def _listed(out: Path) -> dict[str, str]:
    """Name of a shard -> the SHA-256 that the index has for it."""
    try:
        return {entry.name: entry.sha256 for entry in read_index(out).shards}
    except Fv2esError:
        return {}


def _take(path: Path, sha256: str, cache: Cache) -> None:
    with ShardReader(path) as reader:
        digest, dropped = reader.attribute("task_digest"), tuple(reader.dropped())
        rows = [(reader.column("id")[row], reader.fingerprints(row)) for row in range(len(reader))]
        settings = reader.settings.flat()
    aside = path if _is_aside(path) else path.parent / ASIDE_NAME / _aside_name(path, digest)
    cache.shards[path] = OldShard(
        path, aside, sha256, path.stat().st_size, digest, settings, len(rows), dropped
    )
    for row, (name, found) in enumerate(rows):
        cache.fingerprints.setdefault(name, []).append((path, row, found))
    for entry in dropped:
        cache.drops.setdefault(entry.id, []).append(entry)


def _aside_name(path: Path, digest: str) -> str:
    return f"{path.stem}-{digest[:16]}.h5"
