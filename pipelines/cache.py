"""The cache: shards of earlier runs in a dataset directory, and which values can be kept."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fv2es_prep.errors import Fv2esError, ShardError
from fv2es_prep.shards.index import NAME_DIGITS, read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.types import Dropped, ShardReceipt, Utterance
from fv2es_prep.utils.files import cannot_write, sha256_of

ASIDE_NAME = ".previous"
_PARTIAL = "-partial-"


@dataclass(frozen=True)
class Kept:
    """Values of one example that an earlier run made from identical inputs.

    ``path`` is the path of their shard during the run; ``row`` is the row in it.
    """

    path: Path
    row: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class OldShard:
    """A readable shard of an earlier run.

    Attributes:
        path: where it is.
        aside: where it is moved if its path is needed.
        receipt: its receipt as the worker wrote it.
        settings: the settings that made it, see `PrepSettings.flat`.
    """

    path: Path
    aside: Path
    receipt: ShardReceipt
    settings: dict[str, Any]


@dataclass
class Cache:
    """Everything that earlier runs left.

    Attributes:
        shards: path -> shard.
        fingerprints: utterance id -> (shard, row, stage -> fingerprint) of each example.
        drops: utterance id -> its entries.
    """

    shards: dict[Path, OldShard] = field(default_factory=dict)
    fingerprints: dict[str, list[tuple[Path, int, dict[str, bytes]]]] = field(default_factory=dict)
    drops: dict[str, list[Dropped]] = field(default_factory=dict)

    def kept(self, utterance: Utterance, wanted: Mapping[str, bytes]) -> Kept | None:
        """Find the example of an utterance with the most values of the fingerprints ``wanted``."""
        best: Kept | None = None
        for path, row, found in self.fingerprints.get(utterance.id, ()):
            same = tuple(stage for stage in wanted if found.get(stage) == wanted[stage])
            if same and (best is None or len(same) > len(best.stages)):
                best = Kept(self.shards[path].aside, row, same)
        return best

    def drop(self, utterance: Utterance, fingerprint: str) -> Dropped | None:
        """Find the entry of an utterance that was dropped with the same inputs."""
        entries = self.drops.get(utterance.id, ())
        return next((entry for entry in entries if entry.origin == fingerprint), None)


def partial_path(shard: Path, nonce: str) -> Path:
    """Path where a stopped worker leaves its part of a shard, beside replaced shards."""
    return shard.parent / ASIDE_NAME / f"{shard.stem}{_PARTIAL}{nonce}{shard.suffix}"


def shard_of(name: str) -> str:
    """Name of the shard that a partial one belongs to; for any other file its own name."""
    return f"{name.partition(_PARTIAL)[0]}.h5" if _PARTIAL in name else name


def partial_count(out: Path) -> int:
    """Number of shards and partial shards that stopped workers left in a dataset directory."""
    return sum(1 for _ in (out / ASIDE_NAME).glob(f"*{_PARTIAL}*"))


def read_partial(shard: Path) -> Cache:
    """Read what stopped workers have left of a shard."""
    cache = Cache()
    for path in sorted(partial_path(shard, "").parent.glob(partial_path(shard, "*").name)):
        with contextlib.suppress(ShardError, FileNotFoundError):
            _take(path, "", cache)
    return cache


def receipt_at(path: Path) -> ShardReceipt | None:
    """The receipt of the shard at a path; None if there is no shard that can be read."""
    cache = Cache()
    with contextlib.suppress(ShardError, OSError):
        _take(path, sha256_of(path), cache)
    return cache.shards[path].receipt if cache.shards else None


def remove_damaged(out: Path, paths: Iterable[Path]) -> None:
    """Remove those of some shards that differ from the index; do nothing without an index.

    Raises:
        OutputError: a shard cannot be removed.
    """
    there = [path for path in paths if path.exists()]
    listed = _listed(out) if there else {}
    for path in there if listed else ():
        try:
            if sha256_of(path) != listed.get(path.name):
                path.unlink()
        except OSError as error:
            raise cannot_write(path, error) from error


def read_cache(out: Path, corpus: str, report: Callable[[int], None] = lambda _: None) -> Cache:
    """Read the shards of a directory; leave out damaged ones.

    ``report`` is called with the number of shards read since the last call.
    """
    cache, listed = Cache(), _listed(out)
    for path in earlier_shards(out, corpus):
        report(1)
        try:
            digest = sha256_of(path)
            if _is_aside(path) or listed.get(path.name, digest) == digest:
                _take(path, digest, cache)
        except (ShardError, FileNotFoundError):
            continue
    return cache


def shards_of(out: Path, corpus: str) -> list[Path]:
    """The shards of a corpus in a dataset directory, whether in the index or not."""
    patterns = [f"{corpus}-{'[0-9]' * width}.h5" for width in NAME_DIGITS]
    return sorted(path for pattern in patterns for path in out.glob(pattern))


def earlier_shards(out: Path, corpus: str) -> list[Path]:
    """The shards of earlier work in a dataset directory, in place or moved aside."""
    return [*shards_of(out, corpus), *sorted((out / ASIDE_NAME).glob("*.h5"))]


def _is_aside(path: Path) -> bool:
    return path.parent.name == ASIDE_NAME


def _listed(out: Path) -> dict[str, str]:
    """Name of a shard -> its SHA-256 in the index."""
    try:
        return {entry.name: entry.sha256 for entry in read_index(out).shards}
    except Fv2esError:
        return {}


def _take(path: Path, sha256: str, cache: Cache) -> None:
    with ShardReader(path) as reader:
        digest, dropped = reader.attribute("task_digest"), tuple(reader.dropped())
        rows = [(reader.column("id")[row], reader.fingerprints(row)) for row in range(len(reader))]
        settings = reader.settings.flat()
    name = f"{path.stem}-{digest[:16]}.h5"
    aside = path if _is_aside(path) else path.parent / ASIDE_NAME / name
    size = path.stat().st_size
    receipt = ShardReceipt(path.name, sha256, size, len(rows), digest, dropped)
    cache.shards[path] = OldShard(path, aside, receipt, settings)
    for row, (id_, found) in enumerate(rows):
        cache.fingerprints.setdefault(id_, []).append((path, row, found))
    for entry in dropped:
        cache.drops.setdefault(entry.id, []).append(entry)
