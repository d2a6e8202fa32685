"""The private folder in which uploads lie for as long as they are needed.

Owns making and emptying it. A folder that a killed server left behind is removed by the next one:
the operating system lets go of a lock when its holder dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fv2es_prep.utils.files import cannot_write

_PREFIX = "fv2es-serve-"
_LOCK = ".lock"


@contextlib.contextmanager
def private_folder(place: Path | None = None) -> Iterator[Path]:
    """A folder that nobody else may enter, removed at the end with all that is in it.

    Args:
        place: where it is made; None: the system's place for temporary files.

    Raises:
        OutputError: it cannot be made.
    """
    parent = Path(tempfile.gettempdir()) if place is None else place
    _sweep(parent)
    try:
        # It is made with mode 0700.
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
        lock = (folder / _LOCK).open("w")
    except OSError as error:
        raise cannot_write(parent, error) from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def new_folder(parent: Path) -> Path:
    """A folder of its own for one upload."""
    return Path(tempfile.mkdtemp(dir=parent))


def _sweep(parent: Path) -> None:
    """Remove what dead servers of ours left."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            with (folder / _LOCK).open("r") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
