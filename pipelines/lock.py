"""One run at a time in a dataset directory.

Owns the lock file. The operating system lets go of it when its holder dies, however it dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import platform
from collections.abc import Iterator
from pathlib import Path

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.files import cannot_write

LOCK_NAME = ".lock"


@contextlib.contextmanager
def locked(out: Path) -> Iterator[None]:
    """Hold the directory for the length of the block.

    Raises:
        UsageError: another run holds it; its process and host are named.
        OutputError: the lock file cannot be written.
    """
    try:
        file = (out / LOCK_NAME).open("a+", encoding="utf-8")
    except OSError as error:
        raise cannot_write(out / LOCK_NAME, error) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise _held(out) from None
        file.truncate(0)
        file.write(json.dumps({"process": os.getpid(), "host": platform.node()}))
        file.flush()
        try:
            yield
        finally:
            # The name goes while the lock is held, so that the next run makes a file of its own.
            (out / LOCK_NAME).unlink(missing_ok=True)


def _held(out: Path) -> UsageError:
    try:
        holder = json.loads((out / LOCK_NAME).read_text(encoding="utf-8"))
        who = f"process {holder['process']} on {holder['host']}"
    except (OSError, ValueError, KeyError, TypeError):
        who = "another process"
    return UsageError(
        f"{out} is being written by {who}",
        "wait until it has ended, or choose another --out",
    )
