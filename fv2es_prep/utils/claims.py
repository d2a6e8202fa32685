"""Exclusive claims on a task or a directory, without a lock of the operating system.

A claim is a directory `NAME.NUMBER` with one file, its record, which is named by the holder's nonce
and touched while the holder lives. The directory is renamed into place, which fails if that number
already has a record, so a number has one holder. A record is removed by its name, and a directory
only when it is empty, so a late process cannot remove another holder's claim. A dead holder's claim
is taken over by creating the next number.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import platform
import shutil
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.files import TEMPORARY_SUFFIX, cannot_write, is_running, refuse_url

LOCK_NAME = ".lock"
BEAT_S = 10.0
STALE_S = 120.0
"""Seconds without a touch until a claim is stale. Clocks of hosts must differ by less."""
_TAKEN = (errno.EEXIST, errno.ENOTEMPTY)


@dataclass
class Claim:
    """A claim that this process holds; leaving its ``with`` block releases it.

    ``number`` is 1, or one more than the number of the dead holder before it.
    """

    path: Path
    number: int
    _nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    _released: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def take(cls, directory: Path, name: str) -> Self | None:
        """Take a claim; None if another process holds it.

        Raises:
            OSError: the directory does not exist or cannot be written.
        """
        others = records(directory, name)
        if any(map(is_live, others)):
            return None
        if not all(record.exists() for record in others):
            # The holder released it after it was listed and is not dead: its number is free again.
            return cls.take(directory, name)
        number = 1 + max((int(record.parent.suffix[1:]) for record in others), default=0)
        claim = cls(directory / f"{name}.{number}", number)
        if not claim._create():
            return None
        # A process that listed other claims may have taken another number in the meantime.
        if any(is_live(record) for record in records(directory, name) if record != claim.record):
            claim.release()
            return None
        return claim

    @property
    def record(self) -> Path:
        """The file that says who holds the claim."""
        return self.path / self._nonce

    @property
    def held(self) -> bool:
        """Whether this process still holds the claim, and no other has taken it over."""
        following = self.path.with_suffix(f".{self.number + 1}")
        return self.record.exists() and not following.exists()

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Stop the heartbeat, and remove the claim if it is still this holder's."""
        self._released.set()
        remove(self.record)

    def _create(self) -> bool:
        begun = self.path.with_name(f".{self._nonce}{TEMPORARY_SUFFIX}")
        begun.mkdir()
        try:
            holder = json.dumps({"process": os.getpid(), **_host()})
            (begun / self._nonce).write_text(holder, encoding="utf-8")
            with contextlib.suppress(OSError):
                # An empty directory: its holder died during release. Some file systems cannot
                # rename onto it.
                self.path.rmdir()
            begun.rename(self.path)
        except OSError as error:
            if error.errno not in _TAKEN:
                raise
            return False
        finally:
            shutil.rmtree(begun, ignore_errors=True)
        return True

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.record)


def records(directory: Path, name: str | None = None) -> list[Path]:
    """List the records of the claims in a directory, or only those on ``name``.

    Raises:
        OSError: the directory does not exist.
    """
    claims = [p for p in directory.iterdir() if name in (None, p.stem) and p.suffix[1:].isdecimal()]
    found: list[Path] = []
    for claim in claims:
        # Released in the meantime.
        with contextlib.suppress(FileNotFoundError):
            found += claim.iterdir()
    return found


def remove(record: Path) -> None:
    """Remove a claim if it still exists; keep one of another holder with the same number."""
    with contextlib.suppress(OSError):
        record.unlink()
        record.parent.rmdir()


def holder_of(record: Path) -> dict[str, Any]:
    """Process and host of a claim; empty if the claim is gone."""
    try:
        return dict(json.loads(record.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def is_live(record: Path) -> bool:
    """Whether the holder lives: by its process on this host, by its heartbeat on another."""
    try:
        age_s = time.time() - record.stat().st_mtime
    except OSError:
        return False
    holder = holder_of(record)
    here = _host().items() <= holder.items()
    return age_s < STALE_S and (not here or is_running(holder["process"]))


@contextlib.contextmanager
def locked(directory: Path, outlive: bool = False) -> Iterator[Claim]:
    """Lock a directory while the block writes it.

    With ``outlive``, wait until the lock of a dead holder on another host expires.

    Raises:
        UsageError: another process holds it (the message names the process and its host), or it is
            a URL.
        OutputError: the lock cannot be written.
    """
    refuse_url(directory)
    until = time.monotonic() + (STALE_S + BEAT_S if outlive else 0)
    try:
        while (claim := Claim.take(directory, LOCK_NAME)) is None and time.monotonic() < until:
            time.sleep(1)
        found = records(directory, LOCK_NAME)
    except OSError as error:
        raise cannot_write(directory / LOCK_NAME, error) from error
    others = [record for record in found if claim is None or record != claim.record]
    if claim is None:
        live = (holder_of(record) for record in others if is_live(record))
        holder = {"process": "?", "host": "?", **next(live, {})}
        raise UsageError(
            f"{directory} is being written by process {holder['process']} on {holder['host']}",
            f"wait until it ends, or choose another --out; the lock of a dead process expires "
            f"after {STALE_S:.0f} s",
        )
    with claim:
        for other in others:
            # A live claim belongs to a process that is about to withdraw.
            if not is_live(other):
                remove(other)
        yield claim


def _host() -> dict[str, str]:
    """This host and, on Linux, its process namespace: containers may share a name."""
    namespace = Path("/proc/self/ns/pid")
    seen = str(namespace.readlink()) if namespace.is_symlink() else ""
    return {"host": platform.node(), "namespace": seen}
