"""Atomic file writes (a temporary name, fsync, rename) and file digests."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from fv2es_prep.errors import DropReason, OutputError, UsageError

TEMPORARY_SUFFIX = ".tmp"
_MOST_BYTES = 1 << 30
# Path drops one of the two slashes of `s3://`. A single letter is a Windows drive.
_URL = re.compile(r"([a-z][a-z0-9+.-]+):/*(.*)", re.DOTALL)


def url_of(path: Path) -> str | None:
    """Return the URL that a path was made from, e.g. ``s3://bucket/place``; None if it is local."""
    # `name:` is the whole first part: other paths with a colon are local.
    match = _URL.fullmatch(str(path)) if path.parts and path.parts[0].endswith(":") else None
    return f"{match[1]}://{match[2]}" if match else None


def shown_path(path: Path) -> str:
    """Return a path as text, or the URL that it was made from."""
    return url_of(path) or str(path)


def refuse_url(path: Path) -> None:
    """Raise UsageError if a path was made from a URL."""
    if url := url_of(path):
        raise UsageError(
            f"{url} is in an object store, expected a local path",
            "copy it to a local directory; docs/object-storage.md lists the commands "
            "that take a URL",
        )


def absolute(path: Path) -> Path:
    """Make a path absolute without resolving links; a URL stays as it is."""
    return path if url_of(path) else path.absolute()


def whole_path(path: Path) -> Path:
    """Make a path absolute and resolve its links; a URL stays as it is."""
    return path if url_of(path) else path.resolve()


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path; rename it to ``path`` at the end. OSError becomes OutputError."""
    refuse_url(path)
    temporary = path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY_SUFFIX}")
    try:
        yield temporary
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        raise cannot_write(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The error for a path that cannot be written."""
    return OutputError(
        f"cannot write {path}: {error.strerror or error}",
        "choose a writable directory with free space",
    )


def is_running(process: int) -> bool:
    """Whether a process with this number runs on this host."""
    try:
        os.kill(process, 0)
    except (OSError, OverflowError) as error:
        return isinstance(error, PermissionError)
    return process > 0


def make_directory(path: Path) -> None:
    """Make a directory and its parents; raises OutputError unless it is writable."""
    refuse_url(path)
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".probe.{os.getpid()}{TEMPORARY_SUFFIX}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise cannot_write(path, error) from error


def refuse_full(directory: Path) -> None:
    """Raise UsageError if the path is a file, or a directory that is not empty."""
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise UsageError(f"{directory} is not empty", "choose a new directory with --out")


def write_json(path: Path, value: Any) -> None:
    """Write indented JSON atomically; NaN raises ValueError."""
    text = json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256_of(path: Path) -> str:
    """SHA-256 of a file's bytes, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_regular(path: Path, most_bytes: int = _MOST_BYTES) -> bytes:
    """Read a regular file; refuse a pipe, which could block, and a file that is too large.

    Raises:
        OSError: it cannot be read, is not a regular file, or exceeds ``most_bytes``.
    """
    found = path.stat()
    if not stat.S_ISREG(found.st_mode):
        code = errno.EISDIR if stat.S_ISDIR(found.st_mode) else errno.EINVAL
        raise OSError(code, "it is a directory, pipe, socket or device, expected a file", str(path))
    if found.st_size > most_bytes:
        said = f"it has {found.st_size} bytes, expected {most_bytes} at most"
        raise OSError(errno.EFBIG, said, str(path))
    return path.read_bytes()


def why_unreadable(path: Path) -> tuple[DropReason, str] | None:
    """Why a media file cannot be opened, or None; a named pipe, for example, would block."""
    try:
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            kind = "directory" if stat.S_ISDIR(mode) else "pipe, socket or device"
            return DropReason.NOT_A_FILE, f"{path.name} is a {kind}, expected a file"
        path.open("rb").close()
    except FileNotFoundError as error:
        return DropReason.NOT_A_FILE, f"{path.name}: {error.strerror}"
    except OSError as error:
        return DropReason.UNREADABLE_FILE, f"{path.name}: {error.strerror}"
    return None
