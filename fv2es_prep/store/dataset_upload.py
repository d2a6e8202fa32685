"""Writes a dataset to an object store: makes it in a local directory, then sends it whole.

index.json is removed from the store before any file changes, and sent last. A file that the store
already has with the same bytes is not sent again.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from fv2es_prep.store import object_store
from fv2es_prep.store.object_store import Stored
from fv2es_prep.store.shard_cache import cache_directory, local_name
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.console import say
from fv2es_prep.utils.files import cannot_write, make_directory, sha256_of, url_of

_INDEX = "index.json"
# One line for each file sent or fetched: name, version in the store, SHA-256.
_RECORD = ".sent.jsonl"
_BATCH = 16
# Hashes of raw files, so that another machine does not read them again.
_HASHES = ".sources.json"


def local_dataset(out: Path) -> Path:
    """Local directory in which a dataset is written: itself, or the working copy of a URL."""
    url = url_of(out)
    return out if url is None else cache_directory() / "out" / local_name(url)


@contextlib.contextmanager
def sent_dataset(out: Path, dry_run: bool = False) -> Iterator[Path]:
    """Yield the directory in which a dataset is made; send it to the store if the block succeeds.

    A new working copy starts from the files in the store, so a run can continue on another machine.
    A dry run fetches and sends nothing.

    Raises:
        UsageError: the URL is of an unknown kind.
        StoreError: the store cannot be read or written.
        OutputError: the working copy cannot be written.
    """
    url, directory = url_of(out), local_dataset(out)
    if url is None or dry_run:
        yield directory
        return
    make_directory(directory)
    if not (directory / _RECORD).exists():
        with locked(directory):
            _fetch(directory, url)
    yield directory
    with locked(directory):
        send_dataset(directory, url)


def send_dataset(directory: Path, url: str) -> list[str]:
    """Make the store's files equal to local ones; an unfinished dataset has no index there.

    Returns:
        The names of the files that were sent.

    Raises:
        StoreError: the store cannot be read or written.
    """
    there, known = object_store.files_in(url), _read_record(directory)
    names = _names(directory)
    hashes = {name: sha256_of(directory / name) for name in names}
    same = {n for n in names if n in there and known.get(n) == (there[n].version, hashes[n])}
    # Never remove files of others.
    gone = [name for name in known if name in there and name not in hashes]
    new = [name for name in names if name not in same]
    if not new and not gone:
        return []
    if _INDEX in there:
        object_store.remove(url, [_INDEX])
    object_store.remove(url, [name for name in gone if name != _INDEX])
    first = [name for name in new if name != _INDEX]
    if first:
        say(f"send {len(first)} file(s) to {url}")
    for begin in range(0, len(first), _BATCH):
        _send(directory, first[begin : begin + _BATCH], url, hashes)
    if _INDEX in hashes:
        _send(directory, [_INDEX], url, hashes)
        first.append(_INDEX)
    return first


def _send(directory: Path, names: Sequence[str], url: str, hashes: dict[str, str]) -> None:
    object_store.send(directory, names, url)
    sent = {name: object_store.about(f"{url}/{name}") for name in names}
    _record(directory, sent, hashes)


def _fetch(directory: Path, url: str) -> None:
    """Fetch an unfinished dataset; the record comes last and marks the copy as complete."""
    found = {n: of for n, of in object_store.files_in(url).items() if _is_part(n)}
    names = [name for name in found if not (directory / name).exists()]
    if names:
        say(f"fetch {len(names)} file(s) of {url}")
    for begin in range(0, len(names), _BATCH):
        batch = names[begin : begin + _BATCH]
        object_store.fetch(url, {name: directory / name for name in batch})
    _record(directory, {n: found[n] for n in names}, {n: sha256_of(directory / n) for n in names})


def _names(directory: Path) -> list[str]:
    paths = sorted(path for path in directory.rglob("*") if path.is_file())
    names = (path.relative_to(directory).as_posix() for path in paths)
    return [name for name in names if _is_part(name)]


def _is_part(name: str) -> bool:
    """Whether a file belongs to the dataset; files of a run have names that start with a dot."""
    return name == _HASHES or not any(part.startswith(".") for part in name.split("/"))


def _read_record(directory: Path) -> dict[str, tuple[str, str]]:
    try:
        lines = (directory / _RECORD).read_text(encoding="utf-8").splitlines()
        entries = [json.loads(line) for line in lines]
        return {str(name): (str(version), str(sha256)) for name, version, sha256 in entries}
    except (OSError, ValueError, TypeError):
        # Without the record all files are sent again.
        return {}


def _record(directory: Path, files: dict[str, Stored], hashes: dict[str, str]) -> None:
    lines = [json.dumps([name, of.version, hashes[name]]) for name, of in files.items()]
    try:
        with (directory / _RECORD).open("a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in lines)
    except OSError as error:
        raise cannot_write(directory / _RECORD, error) from error
