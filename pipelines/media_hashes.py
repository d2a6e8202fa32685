"""SHA-256 of media files of a corpus, and whether the files have changed since.

The worker that decodes a recording hashes its files. A dataset directory remembers the hashes, so
planning reads only names, sizes and times.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

import msgspec

from fv2es_prep.config import digest_of
from fv2es_prep.media.picture_folder import picture_paths
from fv2es_prep.store.raw_files import Status, sha256_of_raw, status_of
from fv2es_prep.types import PictureFiles, Recording
from fv2es_prep.utils.files import sha256_of, whole_file

HASHES_NAME = ".sources.json"
UNREADABLE = "unreadable"
# A file written this recently may be written again without a new time: clocks of file systems tick
# every 1 to 10 ms.
_TICK_S = 0.05
# Threads that read times, which may wait for file servers, and recordings per batch.
_ASKING, _PART = 8, 100


class HashedMedia(NamedTuple):
    """SHA-256 of a recording's video and audio file, and the state of both files then.

    ``state`` is that of `state_of`; empty if a file changed while it was hashed.
    """

    video: str
    audio: str
    state: str

    @property
    def hashes(self) -> tuple[str, str]:
        """SHA-256 of the video and the audio file."""
        return self.video, self.audio


MediaHashes = Mapping[str, HashedMedia]
"""By recording id."""
CHANGED = HashedMedia(UNREADABLE, UNREADABLE, "")
"""Hashes of a recording whose files change during every attempt to read them."""
_Media = tuple[Path | None, PictureFiles | None]
_Facts = list[tuple[str, os.stat_result | Status]]


def hashes_of(recording: Recording) -> HashedMedia:
    """Hash the files of a recording; hash a file with both video and sound once.

    The hash is ``unreadable`` if a file is not regular or cannot be read, and empty if the corpus
    has no file. Pictures in a folder are hashed with their names and their `PictureFiles`.
    """
    files = _media_of(recording)
    newest = max((s.st_ctime for media in files for _, s in _facts(media) or ()), default=0.0)
    if time.time() - newest < _TICK_S:
        time.sleep(_TICK_S)
    states = _states(recording)
    found = {media: _sha256(media) for media, state in states.items() if state != UNREADABLE}
    # A file that changed during hashing does not match its state.
    same = _states(recording) == states
    video, audio = (found.get(media, UNREADABLE) for media in files)
    return HashedMedia(video, audio, "|".join(states.values()) if same else "")


def state_of(recording: Recording) -> str:
    """The names, inodes, sizes and times of a recording's files: equal states, equal bytes.

    Writing through a shared memory map may not change it; any other write or replacement of a file
    does.
    """
    return "|".join(_states(recording).values())


def known_media(recordings: Sequence[Recording], remembered: MediaHashes) -> MediaHashes:
    """The remembered hashes of recordings whose files are unchanged."""
    asked = [recording for recording in recordings if recording.id in remembered]
    parts = [asked[start : start + _PART] for start in range(0, len(asked), _PART)]

    def known(part: Sequence[Recording]) -> list[str]:
        return [r.id for r in part if state_of(r) == remembered[r.id].state]

    with ThreadPoolExecutor(_ASKING) as pool:
        return {name: remembered[name] for names in pool.map(known, parts) for name in names}


def hash_media(
    recordings: Sequence[Recording], out: Path, report: Callable[[int], None] = lambda _: None
) -> MediaHashes:
    """Hash the files of several recordings; ``out`` remembers the hashes, even if this stops.

    ``report`` is called with the number of recordings hashed since the last call.
    """
    found: dict[str, HashedMedia] = {}
    try:
        with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
            for recording, hashed in zip(recordings, pool.map(hashes_of, recordings), strict=True):
                found[recording.id] = hashed
                report(1)
    finally:
        remember(out, found)
    return found


def remembered_hashes(out: Path) -> dict[str, HashedMedia]:
    """Read the hashes that a dataset directory remembers; empty if the file is damaged."""
    try:
        content = (out / HASHES_NAME).read_bytes()
        return msgspec.json.decode(content, type=dict[str, HashedMedia])
    except (OSError, ValueError):
        return {}


def remember(out: Path, found: MediaHashes) -> None:
    """Store hashes of files that could be read and did not change in a dataset directory.

    Raises:
        OutputError: the directory cannot be written.
    """
    sure = {name: one for name, one in found.items() if one.state and UNREADABLE not in one.hashes}
    before = remembered_hashes(out)
    if sure.items() <= before.items() or not out.is_dir():
        return
    with whole_file(out / HASHES_NAME) as temporary:
        # In ASCII, so that file names that are not UTF-8 survive.
        temporary.write_text(json.dumps({**before, **sure}, indent=1), encoding="utf-8")


def _states(recording: Recording) -> dict[_Media, str]:
    return {media: _state(media) for media in dict.fromkeys(_media_of(recording))}


def _media_of(recording: Recording) -> tuple[_Media, _Media]:
    return (recording.video, recording.pictures), (recording.audio, None)


def _paths(media: _Media) -> Iterable[Path]:
    path, pictures = media
    if path is None:
        return ()
    return (path,) if pictures is None else picture_paths(path, pictures).values()


def _facts(media: _Media) -> _Facts | None:
    """Name and status of each file; None unless all of them are regular files."""
    try:
        facts = [(path.name, status_of(path)) for path in _paths(media)]
    except OSError:
        return None
    # Reading a pipe or a device would never end.
    return facts if all(stat.S_ISREG(found.st_mode) for _, found in facts) else None


def _state(media: _Media) -> str:
    if (facts := _facts(media)) is None:
        return UNREADABLE
    # ctime, since a tool may copy the modification time of the file that it replaces.
    seen = [(n, s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns) for n, s in facts]
    # Called for each recording of a corpus; several times as fast as `digest_of`.
    return hashlib.sha256(repr((media[1], seen)).encode()).hexdigest()[:32]


def _sha256(media: _Media) -> str:
    path, pictures = media
    if path is None:
        return ""
    try:
        if pictures is None:
            return sha256_of_raw(path)
        return digest_of([asdict(pictures), [(p.name, sha256_of(p)) for p in _paths(media)]])
    except OSError:
        return UNREADABLE
