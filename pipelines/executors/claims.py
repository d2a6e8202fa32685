"""Exclusive claims on a task or a directory, as files; NFS and Lustre need no locks for them.

A claim is a file `NAME.NUMBER` that is created exclusively and touched while its holder lives. A
dead holder's claim is taken over by creating the next number, so only one of two takers wins.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.files import cannot_write, is_running

LOCK_NAME = ".lock"
BEAT_S = 10.0
STALE_S = 120.0
"""A claim that was not touched for so long is stale. The clocks of all hosts must agree better."""


@dataclass
class Claim:
    """A claim that this process holds; leaving its ``with`` block releases it.

    ``number`` is 1, or one more than that of the dead holder it was taken over from.
    """

    path: Path
    number: int
    _nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    _released: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def take(cls, directory: Path, name: str) -> Self | None:
        """Take a claim; None if somebody else holds it.

        Raises:
            OSError: the directory does not exist or cannot be written.
        """
        others = _claims(directory, name)
        if any(map(is_live, others)):
            return None
        if not all(path.exists() for path in others):
            # Released since it was listed, not dead: its number may be taken again.
            return cls.take(directory, name)
        number = 1 + max((int(path.suffix[1:]) for path in others), default=0)
        claim = cls(directory / f"{name}.{number}", number)
        try:
            with claim.path.open("x", encoding="utf-8") as file:
                json.dump({"process": os.getpid(), **_host(), "nonce": claim._nonce}, file)
        except FileExistsError:
            return None
        # Somebody who saw other claims may have taken another number meanwhile.
        if any(is_live(path) for path in _claims(directory, name) if path != claim.path):
            claim.release()
            return None
        return claim

    @property
    def held(self) -> bool:
        """Whether the claim is still this holder's, and nobody has taken it over."""
        following = self.path.with_suffix(f".{self.number + 1}")
        return holder_of(self.path).get("nonce") == self._nonce and not following.exists()

    def __enter__(self) -> Self:
        threading.Thread(target=self._beat, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.release()

    def release(self) -> None:
        """Stop the heartbeat, and remove the file if it is still this holder's."""
        self._released.set()
        if holder_of(self.path).get("nonce") == self._nonce:
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def holder_of(path: Path) -> dict[str, Any]:
    """Process, host and nonce of a claim; empty where it is gone or just being written."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return {}


def is_live(path: Path) -> bool:
    """Whether the holder of a claim lives: its process on this host, its heartbeat elsewhere."""
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError:
        return False
    holder = holder_of(path)
    here = _host().items() <= holder.items()
    return age_s < STALE_S and (not here or is_running(holder["process"]))


@contextlib.contextmanager
def locked(out: Path) -> Iterator[Claim]:
    """Hold a dataset directory for the length of the block.

    Raises:
        UsageError: another run holds it; its process and host are named.
        OutputError: the lock cannot be written.
    """
    try:
        claim = Claim.take(out, LOCK_NAME)
        others = [path for path in _claims(out, LOCK_NAME) if not claim or path != claim.path]
    except OSError as error:
        raise cannot_write(out / LOCK_NAME, error) from error
    if claim is None:
        found = (holder_of(path) for path in others if is_live(path))
        holder = {"process": "?", "host": "?", **next(found, {})}
        raise UsageError(
            f"{out} is being written by process {holder['process']} on {holder['host']}",
            f"wait until it ends, or choose another --out; a dead process's lock ends after "
            f"{STALE_S:.0f} s",
        )
    with claim:
        for other in others:
            # A live one belongs to somebody who is about to withdraw.
            if not is_live(other):
                other.unlink(missing_ok=True)
        yield claim


def _claims(directory: Path, name: str) -> list[Path]:
    found = (path for path in directory.iterdir() if path.stem == name)
    return [path for path in found if path.suffix[1:].isdecimal()]


def _host() -> dict[str, str]:
    """This host and, on Linux, its process namespace: containers may share a name."""
    namespace = Path("/proc/self/ns/pid")
    seen = str(namespace.readlink()) if namespace.is_symlink() else ""
    return {"host": platform.node(), "namespace": seen}
