"""Raw files of an object store: a mirror for the scan, and media copied by recording.

A scan sees a local mirror of the corpus in which text files are whole and media are empty files of
the right size. The scan's result names media by their URLs; code that decodes or hashes a file
works on a copy, which is removed at the end of its `staging` block.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tempfile
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from fv2es_prep.errors import CorpusError, StoreError
from fv2es_prep.store import object_store
from fv2es_prep.types import Recording
from fv2es_prep.utils.files import sha256_of, url_of

# Files that a scan does not read.
_MEDIA = {
    *(".avi", ".mp4", ".mkv", ".mov", ".webm", ".m4v", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv"),
    *(".wav", ".flac", ".mp3", ".m4a", ".ogg", ".opus", ".aac", ".jpg", ".jpeg", ".png"),
}
# Local mirrors in use -> URL.
_mirrors: dict[Path, str] = {}


class Status(NamedTuple):
    """The fields of `os.stat_result` for a stored file; the inode stands for its version."""

    st_mode: int
    st_ino: int
    st_size: int
    st_mtime_ns: int
    st_ctime_ns: int
    st_ctime: float


@dataclass
class _Staging:
    """Copies of stored files: URL -> version and path."""

    stack: contextlib.ExitStack
    copies: dict[str, tuple[str, Path]] = field(default_factory=dict)


_staging: ContextVar[_Staging | None] = ContextVar("staging", default=None)


@contextlib.contextmanager
def mirrored(raw: Path) -> Iterator[Path]:
    """Yield a local path for a scan of a raw corpus, which may be a URL; see `stored_recording`.

    Raises:
        CorpusError: there is nothing at the URL.
        StoreError: the store cannot be read.
    """
    if (url := url_of(raw)) is None:
        yield raw
        return
    base, inside = url, Path()
    with contextlib.suppress(FileNotFoundError):
        object_store.about(url)
        base, inside = url.rpartition("/")[0], Path(raw.name)
    if not (files := object_store.files_in(base)):
        raise CorpusError(f"{url} holds no files", "pass the URL of the raw corpus")
    with tempfile.TemporaryDirectory(prefix="fv2es-") as folder:
        root = Path(folder).resolve() / Path(base).name
        root.mkdir()
        texts = {name: root / name for name in files if not is_media(Path(name))}
        object_store.fetch(base, texts)
        for name in files.keys() - texts.keys():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            with (root / name).open("wb") as file:
                file.truncate(files[name].size_bytes)
        _mirrors[root] = base
        try:
            yield root / inside
        except CorpusError as error:
            said = error.sentence.replace(str(root), base)
            raise CorpusError(said, error.hint) from error
        finally:
            del _mirrors[root]


def is_media(path: Path) -> bool:
    """Whether a name is that of a media file; a scan needs only its name and size."""
    return path.suffix.lower() in _MEDIA


def stored_recording(recording: Recording) -> Recording:
    """Replace the mirror's paths in a recording by the URLs of its files."""
    video, audio = _stored(recording.video), _stored(recording.audio)
    return replace(recording, video=video, audio=audio)


@contextlib.contextmanager
def staging() -> Iterator[None]:
    """Keep copies of stored files until the end of the block; nested blocks share them."""
    if _staging.get() is not None:
        yield
        return
    with contextlib.ExitStack() as stack:
        token = _staging.set(_Staging(stack))
        try:
            yield
        finally:
            _staging.reset(token)


def staged(path: Path) -> Path:
    """Local path of a raw file: itself, or a copy of the current version of a stored file.

    Raises:
        FileNotFoundError: the file is not in the store.
        StoreError: the store cannot be read, or the file changed during every attempt to read it.
    """
    if (url := url_of(_stored(path) or path)) is None:
        return path
    held = _staging.get()
    assert held is not None, "stored media are read within staging() only"
    for _ in range(3):
        version = object_store.about(url).version
        if url in held.copies and held.copies[url][0] == version:
            return held.copies[url][1]
        folder = held.stack.enter_context(tempfile.TemporaryDirectory(prefix="fv2es-"))
        copy = Path(folder) / path.name
        object_store.fetch(url.rpartition("/")[0], {path.name: copy})
        held.copies[url] = version, copy
    raise StoreError(
        f"{url} changed during every attempt to read it", "wait until nothing writes to it"
    )


def status_of(path: Path) -> os.stat_result | Status:
    """The status of a raw file; OSError if there is none."""
    if (url := url_of(path)) is None:
        return path.stat()
    found = object_store.about(url)
    number = int(sha256(found.version.encode()).hexdigest()[:15], 16)
    time_ns = int(found.modified_s * 1e9)
    return Status(stat.S_IFREG, number, found.size_bytes, time_ns, time_ns, found.modified_s)


def sha256_of_raw(path: Path) -> str:
    """SHA-256 of a raw file: of its copy in a `staging` block, otherwise streamed."""
    url = url_of(path)
    if url is not None and _staging.get() is None:
        return object_store.sha256_of_url(url)
    return sha256_of(staged(path))


def _stored(path: Path | None) -> Path | None:
    """The URL of a mirrored file; other paths unchanged."""
    if path is not None and is_media(path):
        for root, url in _mirrors.items():
            if path.is_relative_to(root):
                return Path(f"{url}/{path.relative_to(root).as_posix()}")
    return path
