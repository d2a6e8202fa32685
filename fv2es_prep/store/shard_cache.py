"""Datasets of an object store as local directories, whose shards are fetched on first use.

A directory mirrors one version of a dataset: `CACHE/datasets/NAME-DIGEST/`, with a digest of the
URL and of index.json. Small files are fetched at the start. The total size of the shards of all
mirrors is limited; the oldest shards are removed to make room.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import shutil
import time
import uuid
from dataclasses import asdict, dataclass
from pathlib import Path

from fv2es_prep.errors import REBUILD_HINT, SettingsError, ShardError, UsageError
from fv2es_prep.store import object_store
from fv2es_prep.utils.claims import Claim
from fv2es_prep.utils.files import (
    TEMPORARY_SUFFIX,
    make_directory,
    sha256_of,
    url_of,
    whole_file,
    write_json,
)

CACHE_VARIABLE, BYTES_VARIABLE = "FV2ES_CACHE", "FV2ES_CACHE_GB"
SHARD_SUFFIX = ".h5"
_DEFAULT_GB = 50.0
_MARK, _CLAIMS, _INDEX = ".store.json", ".claims", "index.json"
# Not mirrored: large, for people only, or specific to the machine that made the dataset.
_NOT_MIRRORED = ("report.html",)
_POLL_S = 0.05


@dataclass(frozen=True)
class _Mirror:
    """Files of a mirror by name: size and, if the index has it, SHA-256."""

    url: str
    sizes: dict[str, int]
    sha256: dict[str, str]


def cache_directory() -> Path:
    """Directory of copies of stored files: ``FV2ES_CACHE``, or ``~/.cache/fv2es``."""
    named = os.environ.get(CACHE_VARIABLE)
    return Path(named).absolute() if named else Path.home() / ".cache" / "fv2es"


def cache_bytes() -> int:
    """Limit on cached shards in bytes: ``FV2ES_CACHE_GB`` (10^9 bytes), or 50 GB.

    Raises:
        SettingsError: the variable is not a positive number.
    """
    text = os.environ.get(BYTES_VARIABLE, str(_DEFAULT_GB))
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise SettingsError(f"{BYTES_VARIABLE} is {text!r}, expected a number of GB above 0")
    return int(number * 1e9)


def local_name(url: str, *parts: bytes) -> str:
    """The name of a local copy: the last part of the URL and a digest."""
    digest = hashlib.sha256(b"\n".join((url.encode(), *parts))).hexdigest()
    return f"{url.rstrip('/').rpartition('/')[2]}-{digest[:24]}"


def dataset_directory(place: Path) -> Path:
    """Local directory of a dataset; for a URL its mirror, which is created if needed.

    Raises:
        UsageError: the URL holds no finished dataset, or is of an unknown kind.
        StoreError: the store cannot be read.
        OutputError: the cache cannot be written.
    """
    if (url := url_of(place)) is None:
        return place
    try:
        index = object_store.read(f"{url}/{_INDEX}")
    except FileNotFoundError as error:
        raise UsageError(
            f"{url} holds no {_INDEX}: it is not a finished dataset",
            "run the `fv2es prep` command that made it again; it continues where it stopped",
        ) from error
    directory = cache_directory() / "datasets" / local_name(url, index)
    if not directory.is_dir():
        _make(url, index, directory)
    return directory


def here(path: Path) -> Path:
    """Return the path of a shard; fetch it first if its directory is a mirror without it.

    One process fetches it while others wait. Its SHA-256 is checked against the index.

    Raises:
        ShardError: it is not in the store, or its bytes differ from the index.
        StoreError: the store cannot be read.
    """
    while not path.exists():
        mirror = _mirror(path.parent)
        if mirror is None or path.name not in mirror.sizes:
            break
        if claim := Claim.take(path.parent / _CLAIMS, path.name):
            with claim:
                # Another process may have fetched it in the meantime.
                if not path.exists():
                    _fetch(path, mirror)
        else:
            time.sleep(_POLL_S)
    return path


def stored_size(path: Path) -> int | None:
    """Size in bytes of a shard in the store of a mirror; None for any other path."""
    mirror = _mirror(path.parent)
    return mirror.sizes.get(path.name) if mirror else None


def shards_of_mirror(directory: Path) -> set[str]:
    """Names of the shards in the store of a mirror; empty for any other directory."""
    mirror = _mirror(directory)
    return {*mirror.sizes} if mirror else set()


def most_open(directory: Path, size_bytes: int) -> int | None:
    """Number of shards of a size that a process may hold open; None if it is not a mirror.

    An open shard uses disk space even after the cache has removed it.
    """
    return max(1, cache_bytes() // max(size_bytes, 1)) if _mirror(directory) else None


def _mirror(directory: Path) -> _Mirror | None:
    return _read_mark(directory) if (directory / _MARK).is_file() else None


@functools.lru_cache(maxsize=8)
def _read_mark(directory: Path) -> _Mirror:
    # A mirror never changes: another version of the dataset has another mirror.
    return _Mirror(**json.loads((directory / _MARK).read_text(encoding="utf-8")))


def _make(url: str, index: bytes, directory: Path) -> None:
    make_directory(directory.parent)
    begun = directory.with_name(f".{uuid.uuid4().hex}{TEMPORARY_SUFFIX}")
    found = object_store.files_in(url)
    shards = {name: of.size_bytes for name, of in found.items() if _is_shard(name)}
    small = [
        name
        for name in found
        if not (_is_shard(name) or name.startswith(".") or name in (_INDEX, *_NOT_MIRRORED))
        and name.count("/") <= 1
    ]
    try:
        (begun / _CLAIMS).mkdir(parents=True)
        object_store.fetch(url, {name: begun / name for name in small})
        with whole_file(begun / _INDEX) as temporary:
            temporary.write_bytes(index)
        write_json(begun / _MARK, asdict(_Mirror(url, shards, _digests(index))))
        # Another process may have made it in the meantime.
        with contextlib.suppress(FileExistsError, NotADirectoryError):
            if not directory.is_dir():
                begun.rename(directory)
    finally:
        shutil.rmtree(begun, ignore_errors=True)


def _is_shard(name: str) -> bool:
    return name.endswith(SHARD_SUFFIX) and "/" not in name


def _digests(index: bytes) -> dict[str, str]:
    """Name of a shard -> SHA-256; empty for a damaged index, which readers refuse."""
    try:
        return {str(one["name"]): str(one["sha256"]) for one in json.loads(index)["shards"]}
    except (ValueError, LookupError, TypeError):
        return {}


def _fetch(path: Path, mirror: _Mirror) -> None:
    _make_room(mirror.sizes[path.name])
    url = f"{mirror.url}/{path.name}"
    with whole_file(path) as temporary:
        try:
            object_store.fetch(mirror.url, {path.name: temporary})
        except FileNotFoundError as error:
            raise ShardError(f"{url} does not exist", REBUILD_HINT) from error
        wanted, found = mirror.sha256.get(path.name), sha256_of(temporary)
        if wanted not in (None, found):
            raise ShardError(
                f"{url} has other bytes than its index says: its SHA-256 begins {found[:12]}, "
                f"expected {wanted[:12]}",
                REBUILD_HINT,
            )


def _make_room(size_bytes: int) -> None:
    """Remove the oldest shards of all mirrors until this many bytes fit."""
    shards = (cache_directory() / "datasets").glob(f"*/*{SHARD_SUFFIX}")
    # A leftover of a process that died.
    begun = (cache_directory() / "datasets").glob(f"*/.*{TEMPORARY_SUFFIX}")
    found = []
    for path in (*shards, *begun):
        # Another process may remove it first.
        with contextlib.suppress(FileNotFoundError):
            status = path.stat()
            found.append((status.st_mtime_ns, status.st_size, path))
    left = sum(size for _, size, _ in found) + size_bytes - cache_bytes()
    for _, size, path in sorted(found):
        if left <= 0:
            break
        path.unlink(missing_ok=True)
        left -= size
