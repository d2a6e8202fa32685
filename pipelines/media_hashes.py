"""What the media files of a corpus contain, as SHA-256: the ground on which work is kept.

Owns hashing and its cache. Leaves what depends on a file to `plan`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from fv2es_prep.config import digest_of
from fv2es_prep.media.picture_folder import picture_paths
from fv2es_prep.types import PictureFiles, Recording
from fv2es_prep.utils.files import sha256_of, write_json

CACHE_NAME = ".sources.json"
UNREADABLE = "unreadable"

Sources = dict[str, tuple[str, str]]
_Source = tuple[Path, PictureFiles | None]


def hash_sources(
    recordings: Sequence[Recording],
    out: Path,
    trust_mtime: bool = False,
    report: Callable[[int], None] = lambda _: None,
) -> Sources:
    """SHA-256 of the video and the audio file of each recording.

    Args:
        recordings: whose files are read.
        out: the dataset directory; an earlier run's digests are kept there.
        trust_mtime: take an earlier digest where path, size and time of change are the same.
        report: called with 1 for each file that is done.

    Returns:
        Recording id -> the two digests, see `source_digests`; a file that is none or cannot be
        read has ``unreadable``.
    """
    known = _read_cache(out) if trust_mtime else {}
    files = sorted({source for r in recordings for source in _sources(r)}, key=repr)

    def digest(source: _Source) -> tuple[str, str]:
        key = _key(source)
        found = known.get(key) or _digest(source, key)
        report(1)
        return key, found

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        pairs = dict(zip(files, pool.map(digest, files), strict=True))
    if out.is_dir():
        write_json(out / CACHE_NAME, {key: found for key, found in pairs.values() if key})
    digests = {r.id: tuple(pairs[source][1] for source in _sources(r)) for r in recordings}
    return {name: (video, audio) for name, (video, audio) in digests.items()}


def source_digests(recording: Recording) -> tuple[str, str]:
    """SHA-256 of a recording's video and audio, as `hash_sources` has them.

    Of pictures in a folder it is that of how they are read and of their names and bytes.
    """
    video, audio = (_digest(source, _key(source)) for source in _sources(recording))
    return video, audio


def _sources(recording: Recording) -> tuple[_Source, _Source]:
    return (recording.video, recording.pictures), (recording.audio, None)


def _key(source: _Source) -> str:
    """Path, size and time of change; empty for what is no regular file."""
    path, pictures = source
    try:
        if pictures is not None:
            facts = [(p.name, p.stat()) for p in picture_paths(path, pictures).values()]
            seen = [(name, f.st_size, f.st_mtime_ns) for name, f in facts]
            plain = all(_regular(f) for _, f in facts)
            return f"{path.absolute()}|{digest_of([asdict(pictures), seen])}" if plain else ""
        found = path.stat()
    except OSError:
        return ""
    # A pipe or a device would be waited for without end.
    return f"{path.absolute()}|{found.st_size}|{found.st_mtime_ns}" if _regular(found) else ""


def _regular(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode)


def _digest(source: _Source, key: str) -> str:
    path, pictures = source
    try:
        if not key:
            return UNREADABLE
        return sha256_of(path) if pictures is None else _folder_digest(path, pictures)
    except OSError:
        return UNREADABLE


def _folder_digest(folder: Path, pictures: PictureFiles) -> str:
    paths = picture_paths(folder, pictures).values()
    return digest_of([asdict(pictures), [(path.name, sha256_of(path)) for path in paths]])


def _read_cache(out: Path) -> dict[str, str]:
    try:
        found = json.loads((out / CACHE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
