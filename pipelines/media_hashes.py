"""SHA-256 of the media files of a corpus, and whether the files are still those that were hashed.

A run keeps earlier values of unchanged files.
"""

from __future__ import annotations

import json
import os
import stat
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from fv2es_prep.config import digest_of
from fv2es_prep.media.picture_folder import picture_paths
from fv2es_prep.types import PictureFiles, Recording
from fv2es_prep.utils.files import sha256_of, write_json

HASHES_NAME = ".sources.json"
UNREADABLE = "unreadable"
# A file that was written so recently may be written again without a new time: clocks of file
# systems tick every 1 to 10 ms.
_TICK_S = 0.05


class HashedMedia(NamedTuple):
    """SHA-256 of a recording's video and audio file, and the state that both files were in.

    ``state`` is as from `state_of`; empty if a file changed while it was hashed.
    """

    video: str
    audio: str
    state: str

    @property
    def hashes(self) -> tuple[str, str]:
        """SHA-256 of the video and the audio file."""
        return self.video, self.audio


MediaHashes = dict[str, HashedMedia]
"""By recording id."""
_Media = tuple[Path | None, PictureFiles | None]


class _Hashed(NamedTuple):
    """``key`` is path, size and modification time; empty for what should not be remembered."""

    key: str
    sha256: str
    state: str


def hash_media(
    recordings: Sequence[Recording], out: Path, trust_mtime: bool = False
) -> MediaHashes:
    """SHA-256 of the video and the audio file of each recording.

    ``out`` keeps the hashes for the next run, which reuses them with ``trust_mtime`` if path, size
    and modification time are the same. What is no regular file or cannot be read is
    ``unreadable``; a file that the corpus lacks is empty. Pictures in a folder are hashed with
    their names and their `PictureFiles`.
    """
    known = _read_hashes(out) if trust_mtime else {}
    files = sorted({media for r in recordings for media in _media_of(r)}, key=repr)
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        found = dict(zip(files, pool.map(lambda media: _hash(media, known), files), strict=True))
    if out.is_dir():
        write_json(out / HASHES_NAME, {one.key: one.sha256 for one in found.values() if one.key})
    return {r.id: _both(*(found[media] for media in _media_of(r))) for r in recordings}


def hashes_of(recording: Recording) -> HashedMedia:
    """The hashes of one recording, as from `hash_media`."""
    return _both(*(_hash(media, {}) for media in _media_of(recording)))


def state_of(recording: Recording) -> str:
    """The inodes, sizes and times of a recording's files: equal states, equal bytes.

    Writing through a shared memory map may escape it; everything else that writes or replaces a
    file changes its state.
    """
    return "|".join(_state(_facts(media)) for media in _media_of(recording))


def _media_of(recording: Recording) -> tuple[_Media, _Media]:
    return (recording.video, recording.pictures), (recording.audio, None)


def _both(video: _Hashed, audio: _Hashed) -> HashedMedia:
    state = f"{video.state}|{audio.state}" if video.state and audio.state else ""
    return HashedMedia(video.sha256, audio.sha256, state)


def _paths(media: _Media) -> list[Path]:
    path, pictures = media
    if path is None:
        return []
    return [path] if pictures is None else list(picture_paths(path, pictures).values())


def _facts(media: _Media) -> list[tuple[str, os.stat_result]] | None:
    """Name and status of each file; None unless all of them are regular files."""
    try:
        facts = [(path.name, path.stat()) for path in _paths(media)]
    except OSError:
        return None
    # Reading a pipe or a device would never end.
    return facts if all(stat.S_ISREG(found.st_mode) for _, found in facts) else None


def _state(facts: list[tuple[str, os.stat_result]] | None) -> str:
    if facts is None:
        return UNREADABLE
    # ctime: a tool may set the modification time back to that of the file it has replaced.
    seen = [(n, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in facts]
    return digest_of(seen)[:32]


def _key(media: _Media, facts: list[tuple[str, os.stat_result]]) -> str:
    path, pictures = media
    if path is None:
        return ""
    seen = [(name, found.st_size, found.st_mtime_ns) for name, found in facts]
    if pictures is None:
        return f"{path.absolute()}|{seen[0][1]}|{seen[0][2]}"
    return f"{path.absolute()}|{digest_of([asdict(pictures), seen])}"


def _hash(media: _Media, known: dict[str, str]) -> _Hashed:
    facts = _facts(media)
    if facts and time.time() - max(found.st_ctime for _, found in facts) < _TICK_S:
        time.sleep(_TICK_S)
        facts = _facts(media)
    if facts is None:
        return _Hashed("", UNREADABLE, UNREADABLE)
    key, state = _key(media, facts), _state(facts)
    sha256 = known.get(key) or _sha256(media)
    # What has changed meanwhile is another file than its key says.
    same = _state(_facts(media)) == state
    return _Hashed(key, sha256, state) if same else _Hashed("", sha256, "")


def _sha256(media: _Media) -> str:
    path, pictures = media
    if path is None:
        return ""
    try:
        if pictures is None:
            return sha256_of(path)
        return digest_of([asdict(pictures), [(p.name, sha256_of(p)) for p in _paths(media)]])
    except OSError:
        return UNREADABLE


def _read_hashes(out: Path) -> dict[str, str]:
    try:
        return dict(json.loads((out / HASHES_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
