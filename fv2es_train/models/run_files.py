"""The files of a run beside its checkpoints: the ids that it has seen, and its tokenizer.

A run is a directory, or a file that `pack` made from one.
"""

from __future__ import annotations

import atexit
import json
import re
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from fv2es_prep.errors import DAMAGE, TrainError, UsageError
from fv2es_prep.stages.tokens import TOKENIZER_DIR
from fv2es_prep.utils.files import read_regular, write_json

IDS, FAMILIARITY = "ids.json", "familiarity.json"
_PACK_HINT = "pass the directory of a run, or a file that `fv2es pack` wrote"
_MOST_FILES = 1000
_SAFE_NAME = re.compile(r"[^\\:\x00-\x1f]{1,200}")
# Packed file and its state -> directory with its content, removed at the end of the process.
_UNPACKED: dict[tuple[Path, int, int], Path] = {}


def unpacked(run: Path) -> Path:
    """Return the directory of a run; unpack a packed run once per process.

    Raises:
        UsageError: the file is not a packed run.
    """
    if not run.is_file():
        return run
    state = run.stat()
    key = (run.resolve(), state.st_mtime_ns, state.st_size)
    if key not in _UNPACKED:
        place = Path(tempfile.mkdtemp(prefix="fv2es-"))
        atexit.register(shutil.rmtree, place, ignore_errors=True)
        try:
            with zipfile.ZipFile(run) as archive:
                _refuse_unsafe(archive, state.st_size)
                archive.extractall(place)
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile) as error:
            raise UsageError(f"{run} is not a packed run: {error}", _PACK_HINT) from error
        _UNPACKED[key] = place
    return _UNPACKED[key]


def _refuse_unsafe(archive: zipfile.ZipFile, size: int) -> None:
    """Raise ValueError if it would unpack to more than its size, or outside its directory."""
    entries = archive.infolist()
    if any(one.compress_type != zipfile.ZIP_STORED for one in entries):
        raise ValueError("it is compressed")
    # Entries may overlap; then their total is larger than the file.
    if sum(one.file_size for one in entries) > size or len(entries) > _MOST_FILES:
        raise ValueError(f"it would unpack to more than its {size} bytes or {_MOST_FILES} files")
    seen: set[str] = set()
    for one in entries:
        # The raw names: zipfile cuts names at a null byte and replaces separators.
        name = one.orig_filename
        parts = name.removesuffix("/").split("/")
        if not _SAFE_NAME.fullmatch(name) or set(parts) & {"", ".", ".."}:
            raise ValueError(f"it contains the unsafe name {name!r}")
        if stat.S_IFMT(one.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
            raise ValueError(f"its entry {name!r} is a link or a device")
        if name in seen:
            raise ValueError(f"it contains {name!r} twice")
        seen.add(name)


def tokenizer_of(run: Path) -> str | None:
    """The directory of the tokenizer in a run; None for a run without it."""
    place = unpacked(run) / TOKENIZER_DIR
    return str(place) if place.is_dir() else None


def write_ids(run: Path, subsets: Mapping[str, Iterable[str]]) -> None:
    """Write RUN/ids.json: for each subset the sorted 8-byte BLAKE2b digests of its utterance ids.

    Digests do not reveal the ids of a corpus that may not be passed on.

    Raises:
        OutputError: the file cannot be written.
    """
    write_json(run / IDS, {name: sorted(map(_digest, ids)) for name, ids in subsets.items()})


def overlap(run: Path, ids: Iterable[str]) -> dict[str, int]:
    """Count the utterances that a run has seen, by subset of its own split.

    Returns:
        ``train`` and ``valid`` -> count, may be 0; empty for a run that has not stored its ids.

    Raises:
        TrainError: RUN/ids.json is damaged.
    """
    path = unpacked(run) / IDS
    if not path.is_file():
        return {}
    asked = set(map(_digest, ids))
    try:
        seen = json.loads(read_regular(path))
        return {name: len(asked.intersection(digests)) for name, digests in seen.items()}
    except DAMAGE as error:
        raise TrainError(
            f"{path} cannot be read: {error}", "train again, or copy the whole run"
        ) from error


def _digest(name: str) -> str:
    return blake2b(name.encode(), digest_size=8).hexdigest()
