"""SHA-256 of the media files of a corpus; a run keeps earlier values of unchanged files."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path

from fv2es_prep.config import digest_of
from fv2es_prep.media.picture_folder import picture_paths
from fv2es_prep.types import PictureFiles, Recording
from fv2es_prep.utils.files import sha256_of, write_json

HASHES_NAME = ".sources.json"
UNREADABLE = "unreadable"

MediaHashes = dict[str, tuple[str, str]]
"""Recording id -> SHA-256 of its video and of its audio."""
_Media = tuple[Path | None, PictureFiles | None]


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

    def hashed(media: _Media) -> tuple[str, str]:
        key = _key(media)
        return key, known.get(key) or _hash(media, key)

    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        pairs = dict(zip(files, pool.map(hashed, files), strict=True))
    if out.is_dir():
        write_json(out / HASHES_NAME, {key: found for key, found in pairs.values() if key})
    video_audio = {recording.id: _media_of(recording) for recording in recordings}
    return {name: (pairs[v][1], pairs[a][1]) for name, (v, a) in video_audio.items()}


def hashes_of(recording: Recording) -> tuple[str, str]:
    """SHA-256 of a recording's video and audio, as from `hash_media`."""
    video, audio = _media_of(recording)
    return _hash(video, _key(video)), _hash(audio, _key(audio))


def _media_of(recording: Recording) -> tuple[_Media, _Media]:
    return (recording.video, recording.pictures), (recording.audio, None)


def _key(media: _Media) -> str:
    """Path, size and modification time; empty for what is no regular file."""
    path, pictures = media
    if path is None:
        return ""
    try:
        paths = [path] if pictures is None else picture_paths(path, pictures).values()
        stats = [(p.name, p.stat()) for p in paths]
    except OSError:
        return ""
    # Reading a pipe or a device would never end.
    if not all(stat.S_ISREG(found.st_mode) for _, found in stats):
        return ""
    seen = [(name, found.st_size, found.st_mtime_ns) for name, found in stats]
    if pictures is None:
        return f"{path.absolute()}|{seen[0][1]}|{seen[0][2]}"
    return f"{path.absolute()}|{digest_of([asdict(pictures), seen])}"


def _hash(media: _Media, key: str) -> str:
    path, pictures = media
    if path is None:
        return ""
    try:
        if not key:
            return UNREADABLE
        if pictures is None:
            return sha256_of(path)
        paths = picture_paths(path, pictures).values()
        return digest_of([asdict(pictures), [(p.name, sha256_of(p)) for p in paths]])
    except OSError:
        return UNREADABLE


def _read_hashes(out: Path) -> dict[str, str]:
    try:
        return dict(json.loads((out / HASHES_NAME).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return {}
