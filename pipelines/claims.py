"""Exclusive claims on a task or a directory, as files: no lock of the operating system is needed.

Owns who holds what on a file system that several hosts may share, NFS and Lustre included. A claim
is a file `NAME.NUMBER` that is created exclusively and touched while its holder lives. A dead
holder's claim is taken over by creating the next number, so only one of two takers can win.
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
from typing import Self

from fv2es_prep.errors import OutputError, UsageError
from fv2es_prep.utils.files import cannot_write

LOCK_NAME = ".lock"
BEAT_S = 10.0
STALE_S = 120.0
"""A claim that was not touched for so long is stale. The clocks of all hosts must agree better."""


@dataclass
class Claim:
    """A claim that this process holds; leaving its ``with`` block releases it.

    Attributes:
        path: its file.
        number: 1, or one more than the dead holder's that it was taken over from.
    """

    path: Path
    number: int
    _nonce: str = field(default_factory=lambda: uuid.uuid4().hex)
    _released: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def take(cls, directory: Path, name: str) -> Self | None:
        """Take a claim; None where somebody else holds it.

        Raises:
            OSError: the directory is gone or cannot be written.
        """
        others = _claims(directory, name)
        if any(map(is_live, others)):
            return None
        number = 1 + max(map(_number, others), default=0)
        claim = cls(directory / f"{name}.{number}", number)
        try:
            file = os.open(claim.path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666)
        except FileExistsError:
            return None
        with os.fdopen(file, "w", encoding="utf-8") as text:
            json.dump({"process": os.getpid(), **_host(), "nonce": claim._nonce}, text)
        # Somebody who saw other claims may have taken another number meanwhile.
        if any(is_live(path) for path in _claims(directory, name) if path != claim.path):
            claim.path.unlink(missing_ok=True)
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
        self._released.set()
        if self.held:
            self.path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._released.wait(BEAT_S):
            with contextlib.suppress(OSError):
                os.utime(self.path)


def holder_of(path: Path) -> dict[str, object]:
    """Process, host and nonce of a claim; empty where it is gone or just being written."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def is_live(path: Path) -> bool:
    """Whether the holder of a claim lives: its process on this host, its heartbeat elsewhere."""
    try:
        age_s = time.time() - path.stat().st_mtime
    except OSError:
        return False
    holder = holder_of(path)
    process = holder.get("process")
    here = _host().items() <= holder.items()
    return age_s < STALE_S and not (here and isinstance(process, int) and not _runs(process))


@contextlib.contextmanager
def locked(out: Path) -> Iterator[Claim]:
    """Hold a dataset directory for the length of the block.

    Raises:
        UsageError: another run holds it; its process and host are named.
        OutputError: the lock cannot be written, or another run has taken it over.
    """
    try:
        claim = Claim.take(out, LOCK_NAME)
        live = [path for path in _claims(out, LOCK_NAME) if is_live(path)]
    except OSError as error:
        raise cannot_write(out / LOCK_NAME, error) from error
    if claim is None:
        holder = next(filter(None, map(holder_of, live)), {})
        who = "process {process} on {host}".format_map({"process": "?", "host": "?", **holder})
        raise UsageError(
            f"{out} is being written by {who}",
            f"wait until it ends, or choose another --out; a lock whose process is gone ends "
            f"within {STALE_S:.0f} s",
        )
    with claim:
        for dead in _claims(out, LOCK_NAME):
            if dead != claim.path:
                dead.unlink(missing_ok=True)
        yield claim


def check_held(claim: Claim, out: Path) -> None:
    """Raise `OutputError` where another run has taken the directory over."""
    if not claim.held:
        raise OutputError(
            f"another run has taken over {out}: this one was not heard of for {STALE_S:.0f} s",
            "wait until it ends, then run the same command again",
        )


def _claims(directory: Path, name: str) -> list[Path]:
    found = (path for path in directory.iterdir() if path.stem == name)
    return [path for path in found if path.suffix[1:].isdecimal()]


def _number(path: Path) -> int:
    return int(path.suffix[1:])


def _host() -> dict[str, str]:
    """This host; on Linux also which processes it can see, for containers may share a name."""
    try:
        namespace = str(Path("/proc/self/ns/pid").readlink())
    except OSError:
        namespace = ""
    return {"host": platform.node(), "namespace": namespace}


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass
    return True
