"""Files of an object store through fsspec: lists, reads, fetches, sends and removes them.

A URL such as ``s3://bucket/place`` names a directory or a file in a store. Endpoint and credentials
are those of fsspec and of the store's own library. Leaves the meaning of files to other modules.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from fv2es_prep.errors import StoreError, UsageError

_BLOCK_BYTES = 1 << 22
_HINT = "check the address, the credentials and the network, then run the same command again"


class Stored(NamedTuple):
    """A file of a store.

    Attributes:
        size_bytes: its size.
        version: a value that changes with the content, e.g. the ETag.
        modified_s: when it was written, in seconds since 1970; 0 if unknown.
    """

    size_bytes: int
    version: str
    modified_s: float


def files_in(url: str) -> dict[str, Stored]:
    """List the files below a directory by relative path; empty if it does not exist.

    Raises:
        UsageError: the kind of store is unknown, or its library is not installed.
        StoreError: the store cannot be read, or a path leads outside the directory.
    """
    with _told("list", url):
        system, base = _open(url)
        found = system.find(base, detail=True)
    files = {}
    for path, about in found.items():
        name = path.removeprefix(f"{base}/")
        if about["type"] != "file" or name == path:
            continue
        if name.startswith("/") or {"..", "."} & {*PurePosixPath(name).parts}:
            raise StoreError(f"{url} has a file {name!r}, expected one below it", "rename it")
        files[name] = _stored(about)
    return files


def about(url: str) -> Stored:
    """Describe one file; FileNotFoundError if it does not exist, other errors as for `files_in`."""
    with _told("read", url):
        system, path = _open(url)
        found = system.info(path)
        if found["type"] != "file":
            raise FileNotFoundError(url)
        return _stored(found)


def read(url: str) -> bytes:
    """Read a file; errors as for `about`."""
    with _told("read", url):
        system, path = _open(url)
        return bytes(system.cat_file(path))


def sha256_of_url(url: str) -> str:
    """SHA-256 of a file's bytes, in hexadecimal; errors as for `about`."""
    digest = hashlib.sha256()
    with _told("read", url):
        system, path = _open(url)
        with system.open(path, "rb", block_size=_BLOCK_BYTES, cache_type="readahead") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest()


def fetch(url: str, places: Mapping[str, Path]) -> None:
    """Copy files, several at a time: relative path -> local path. Each appears when complete.

    Errors as for `about`; a local error is also a StoreError.
    """
    begun = {
        name: place.with_name(f".{place.name}.{os.getpid()}.tmp") for name, place in places.items()
    }
    with _told("read", url):
        system, base = _open(url)
        for place in places.values():
            place.parent.mkdir(parents=True, exist_ok=True)
        try:
            if places:
                system.get([f"{base}/{name}" for name in begun], [str(p) for p in begun.values()])
            for name, place in places.items():
                begun[name].replace(place)
        finally:
            for temporary in begun.values():
                temporary.unlink(missing_ok=True)


def send(directory: Path, names: Sequence[str], url: str) -> None:
    """Copy files of a directory to a store, several at a time; each appears when complete.

    Raises:
        UsageError, StoreError: as for `files_in`.
    """
    with _told("write", url):
        system, base = _open(url)
        if names:
            system.put([str(directory / name) for name in names], [f"{base}/{n}" for n in names])


def remove(url: str, names: Sequence[str]) -> None:
    """Remove files of a directory; errors as for `send`."""
    with _told("write", url):
        system, base = _open(url)
        if names:
            system.rm([f"{base}/{name}" for name in names])


def _open(url: str) -> tuple[Any, str]:
    import fsspec

    scheme, _, rest = url.partition("://")
    if scheme in ("file", "local") or rest[:1] in ("", "/"):
        raise UsageError(f"{url} names no path in an object store", "write e.g. s3://bucket/place")
    try:
        # List the store each time, since others may write to it.
        system, path = fsspec.core.url_to_fs(url, use_listings_cache=False)
    except ImportError as error:
        hint = 'pip install "fv2es[s3]"' if scheme in ("s3", "s3a") else f"install it: {error}"
        raise UsageError(f"the library for {scheme}:// is not installed", hint) from error
    except ValueError as error:
        raise UsageError(f"unknown kind of store: {url}", "write e.g. s3://bucket/place") from error
    return system, path.rstrip("/")


def _stored(found: Mapping[str, Any]) -> Stored:
    times = (found.get(name) for name in ("LastModified", "last_modified", "mtime", "created"))
    time = next((value for value in times if value is not None), 0.0)
    modified_s = float(time.timestamp() if hasattr(time, "timestamp") else time)
    tags = (found.get(name) for name in ("ETag", "etag", "md5Hash"))
    tag = next((value for value in tags if value is not None), modified_s)
    return Stored(int(found["size"]), f"{tag}".strip('"') + f"/{found['size']}", modified_s)


@contextlib.contextmanager
def _told(what: str, url: str) -> Iterator[None]:
    """Raise errors of the store as StoreError; a missing file stays a FileNotFoundError."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _cannot(what, url, error) from error
    except Exception as error:
        # Errors of the S3 library derive from this class, which is not an OSError.
        library = sys.modules.get("botocore.exceptions")
        if library is None or not isinstance(error, library.BotoCoreError):
            raise
        raise _cannot(what, url, error) from error


def _cannot(what: str, url: str, error: Exception) -> StoreError:
    return StoreError(f"cannot {what} {url}: {' '.join(str(error).split())}", _HINT)
