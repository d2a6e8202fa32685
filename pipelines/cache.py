"""What earlier runs left in a dataset directory, and what of it the present plan can keep.

Owns looking through old shards and moving them aside while they are still needed. Leaves copying
out of them to `build`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fv2es_prep.errors import Fv2esError, ShardError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.stages.fingerprint import Origin
from fv2es_prep.types import Dropped, Utterance
from fv2es_prep.utils.files import sha256_of

ASIDE_NAME = ".previous"
PARTS = ("faces", "mel", "tokens")


@dataclass(frozen=True)
class Kept:
    """Parts of one example that an earlier run made from the very same.

    Attributes:
        path: the shard that holds them, where it will be while the run works.
        row: the row in it.
        parts: which of faces, mel and tokens are the same.
    """

    path: Path
    row: int
    parts: tuple[str, ...]


@dataclass(frozen=True)
class OldShard:
    """A readable shard of an earlier run.

    Attributes:
        path: where it is.
        aside: where it is put when its place is needed.
        sha256: digest of its bytes.
        size_bytes: size of the file.
        task_digest: what it was made from.
        settings: the settings that made it, as JSON values.
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
class Previous:
    """Everything that earlier runs left.

    Attributes:
        shards: by path.
        origins: utterance id -> (shard, row, origin) of each example there is.
        drops: utterance id -> its entry.
    """

    shards: dict[Path, OldShard] = field(default_factory=dict)
    origins: dict[str, list[tuple[Path, int, Origin]]] = field(default_factory=dict)
    drops: dict[str, list[Dropped]] = field(default_factory=dict)

    def kept(self, utterance: Utterance, origin: Origin) -> Kept | None:
        """The best that is there for an utterance: the most parts of one example."""
        best: Kept | None = None
        for path, row, found in self.origins.get(utterance.id, ()):
            parts = tuple(part for part in PARTS if getattr(found, part) == getattr(origin, part))
            if parts and (best is None or len(parts) > len(best.parts)):
                best = Kept(self.shards[path].aside, row, parts)
        return best

    def drop(self, utterance: Utterance, origin: Origin) -> Dropped | None:
        """The entry of an utterance that was dropped when it was made from the very same."""
        entries = self.drops.get(utterance.id, ())
        return next((entry for entry in entries if entry.origin == origin.media), None)


def holds_shards(out: Path, corpus: str) -> bool:
    """Whether a directory has any shard of earlier work."""
    return bool(_shards_in(out, corpus))


def read_previous(out: Path, corpus: str) -> Previous:
    """Look through the shards of a directory.

    What cannot be read, or is not what the index says, is damaged: it is no help and left out.
    """
    previous, listed = Previous(), _listed(out)
    for path in _shards_in(out, corpus):
        try:
            digest = sha256_of(path)
            if _is_aside(path) or listed.get(path.name, digest) == digest:
                _take(path, digest, previous)
        except (ShardError, FileNotFoundError):
            continue
    return previous


def _shards_in(out: Path, corpus: str) -> list[Path]:
    here = sorted(out.glob(f"{corpus}-[0-9][0-9][0-9][0-9][0-9].h5"))
    return [*here, *sorted((out / ASIDE_NAME).glob("*.h5"))]


def _is_aside(path: Path) -> bool:
    return path.parent.name == ASIDE_NAME


def _listed(out: Path) -> dict[str, str]:
    """Name of a shard -> the SHA-256 that the index has for it."""
    try:
        return {entry.name: entry.sha256 for entry in read_index(out).shards}
    except Fv2esError:
        return {}


def _take(path: Path, sha256: str, previous: Previous) -> None:
    with ShardReader(path) as reader:
        digest, dropped = reader.attribute("task_digest"), tuple(reader.dropped())
        rows = [(reader.column("id")[row], reader.origin(row)) for row in range(len(reader))]
        settings = reader.settings.to_json()
    aside = path if _is_aside(path) else path.parent / ASIDE_NAME / _aside_name(path, digest)
    previous.shards[path] = OldShard(
        path, aside, sha256, path.stat().st_size, digest, settings, len(rows), dropped
    )
    for row, (name, origin) in enumerate(rows):
        previous.origins.setdefault(name, []).append((path, row, origin))
    for entry in dropped:
        previous.drops.setdefault(entry.id, []).append(entry)


def _aside_name(path: Path, digest: str) -> str:
    return f"{path.stem}-{digest[:16]}.h5"
