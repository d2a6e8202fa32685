"""What the media files of a corpus contain, as SHA-256: the ground on which work is kept.

Owns hashing and its cache. Leaves what depends on a file to `plan`.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from fv2es_prep.files import sha256_of, write_json
from fv2es_prep.types import Recording

CACHE_NAME = ".sources.json"
UNREADABLE = "unreadable"

Sources = dict[str, tuple[str, str]]


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
        Recording id -> the two digests; a file that is none or cannot be read has ``unreadable``.
    """
    known = _read_cache(out) if trust_mtime else {}
    paths = sorted({path for r in recordings for path in (r.video, r.audio)})

    def digest(path: Path) -> tuple[str, str]:
        key = _key(path)
        found = known.get(key) or _digest(path, key)
        report(1)
        return key, found

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        pairs = dict(zip(paths, pool.map(digest, paths), strict=True))
    if out.is_dir():
        write_json(out / CACHE_NAME, {key: found for key, found in pairs.values() if key})
    return {r.id: (pairs[r.video][1], pairs[r.audio][1]) for r in recordings}


def _key(path: Path) -> str:
    """Path, size and time of change; empty for what is no regular file."""
    try:
        facts = path.stat()
    except OSError:
        return ""
    # A pipe or a device would be waited for without end.
    return f"{path.absolute()}|{facts.st_size}|{facts.st_mtime_ns}" if _regular(facts) else ""


def _regular(facts: os.stat_result) -> bool:
    return stat.S_ISREG(facts.st_mode)


def _digest(path: Path, key: str) -> str:
    try:
        return sha256_of(path) if key else UNREADABLE
    except OSError:
        return UNREADABLE


def _read_cache(out: Path) -> dict[str, str]:
    try:
        found = json.loads((out / CACHE_NAME).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
