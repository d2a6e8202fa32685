"""Check the shards of a training against the SHA-256 in their index.

Each shard is hashed once; RUN/shards.json keeps the result until the file changes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.errors import REBUILD_HINT, ShardError, words_of
from fv2es_prep.store.shard_cache import stored_size
from fv2es_prep.utils.files import sha256_of, write_json

if TYPE_CHECKING:
    from fv2es_prep.shards.index import ShardEntry
    from fv2es_train.config import TrainConfig
    from fv2es_train.data.dataset import ShardDataset
    from fv2es_train.training.distributed import World

NAME = "shards.json"
# Several readers use a disk better than one does; hashing releases Python's global lock.
_THREADS = 4
# Name of a shard -> its SHA-256, device, inode, bytes, times of change of content and of inode.
Hashes = dict[str, list[str | int]]


def check(subsets: Sequence[ShardDataset | None], config: TrainConfig, world: World) -> Hashes:
    """Hash the shards that the subsets need; each process hashes a part of them.

    Returns:
        The hashes for `remember`.

    Raises:
        ShardError: a shard does not match the SHA-256 in its index, or cannot be read.
    """
    chosen = [subset for subset in subsets if subset is not None]
    index, directory = chosen[0].index, chosen[0].directory
    numbers = np.unique(np.concatenate([subset.shard for subset in chosen]))
    entries = [index.shards[number] for number in numbers][world.rank :: world.size]
    known = _read(config.out) if config.resume else {}
    with ThreadPoolExecutor(_THREADS) as pool:
        states = pool.map(lambda entry: _checked(directory / entry.name, entry, known), entries)
        mine = dict(zip((entry.name for entry in entries), states, strict=True))
    return {name: state for part in world.gather(mine) for name, state in part.items()}


def remember(run: Path, hashes: Hashes) -> None:
    """Write RUN/shards.json; OutputError if it cannot be written."""
    write_json(run / NAME, hashes)


def _checked(path: Path, entry: ShardEntry, known: Hashes) -> list[str | int]:
    if stored_size(path) is not None:
        # A remote shard is checked when it is fetched.
        return [entry.sha256]
    try:
        found = path.stat()
        times = found.st_mtime_ns, found.st_ctime_ns
        state: list[str | int] = [entry.sha256, found.st_dev, found.st_ino, found.st_size]
        state += times
        if known.get(entry.name) != state and (digest := sha256_of(path)) != entry.sha256:
            raise ShardError(
                f"{path} has other bytes than its index says: its SHA-256 begins with "
                f"{digest[:12]}, expected {entry.sha256[:12]}",
                REBUILD_HINT,
            )
    except OSError as error:
        raise ShardError(f"{path} cannot be read: {words_of(error)}", REBUILD_HINT) from error
    return state


def _read(run: Path) -> Hashes:
    try:
        found = json.loads((run / NAME).read_text(encoding="utf-8"))
        return {name: list(state) for name, state in found.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        # Missing or damaged: hash all shards again.
        return {}
