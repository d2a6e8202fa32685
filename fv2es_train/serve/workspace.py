"""The private directory of a server's uploads.

The next server removes the files of a killed one, whose lock is free.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from fv2es_prep.utils.claims import LOCK_NAME, is_live, locked, records
from fv2es_prep.utils.files import cannot_write

_PREFIX = "fv2es-serve-"


@contextlib.contextmanager
def private_workspace(place: Path | None = None) -> Iterator[Path]:
    """A directory with mode 0700 for all temporary files, removed at the end.

    ``place`` is its parent; None for the system's directory of temporary files.

    Raises:
        OutputError: the directory cannot be created.
    """
    parent = Path(tempfile.gettempdir()) if place is None else place
    _sweep(parent)
    try:
        folder = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=parent))
    except OSError as error:
        raise cannot_write(parent, error) from error
    try:
        with locked(folder), _temporary_files_in(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def _temporary_files_in(folder: Path) -> Iterator[None]:
    """Put the temporary files of this process and its children into a directory."""
    before = tempfile.tempdir, os.environ.get("TMPDIR")
    tempfile.tempdir = os.environ["TMPDIR"] = str(folder)
    try:
        yield
    finally:
        tempfile.tempdir = before[0]
        if before[1] is None:
            del os.environ["TMPDIR"]
        else:
            os.environ["TMPDIR"] = before[1]


def _sweep(parent: Path) -> None:
    """Remove the directories of dead servers of this user."""
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.stat().st_uid != os.getuid():
                continue
            # A directory without a lock belongs to a server that is just starting.
            found = records(folder, LOCK_NAME)
            if found and not any(map(is_live, found)):
                shutil.rmtree(folder, ignore_errors=True)
