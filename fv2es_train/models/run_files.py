"""What lies in a run beside its checkpoints: the ids that it has seen, and its tokenizer.

A run is a directory, or a file that `pack` made of one.
"""

from __future__ import annotations

import atexit
import json
import shutil
import tempfile
import zipfile
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from fv2es_prep.errors import TrainError, UsageError
from fv2es_prep.stages.tokens import TOKENIZER_DIR
from fv2es_prep.utils.files import write_json

IDS, FAMILIARITY = "ids.json", "familiarity.json"
_PACK_HINT = "pass the directory of a run, or a file that `fv2es pack` wrote"
# Packed file and its state -> the directory that it is unpacked in, removed with the process.
_UNPACKED: dict[tuple[Path, int, int], Path] = {}


def unpacked(run: Path) -> Path:
    """The directory of a run, which may be a packed file; a file is unpacked once per process.

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
                # Stored only: what is unpacked is no larger than the file.
                if any(entry.compress_type != zipfile.ZIP_STORED for entry in archive.infolist()):
                    raise UsageError(f"{run} is compressed, expected a packed run", _PACK_HINT)
                archive.extractall(place)  # zipfile keeps it in the directory
        except (OSError, zipfile.BadZipFile) as error:
            raise UsageError(f"{run} is not a packed run: {error}", _PACK_HINT) from error
        _UNPACKED[key] = place
    return _UNPACKED[key]


def tokenizer_of(run: Path) -> str | None:
    """The directory of the tokenizer in a run; None for a run that does not hold it."""
    place = unpacked(run) / TOKENIZER_DIR
    return str(place) if place.is_dir() else None


def write_ids(run: Path, subsets: Mapping[str, Iterable[str]]) -> None:
    """Write RUN/ids.json: for each subset the sorted 8-byte BLAKE2b digests of its utterance ids.

    Digests do not give away the ids of a corpus that may not be passed on.

    Raises:
        OutputError: it cannot be written.
    """
    write_json(run / IDS, {name: sorted(map(_digest, ids)) for name, ids in subsets.items()})


def overlap(run: Path, ids: Iterable[str]) -> dict[str, int]:
    """How many of these utterances a run has seen, by subset of its own split.

    Returns:
        ``train`` and ``valid`` -> count, also 0; empty for a run that does not know its ids.

    Raises:
        TrainError: RUN/ids.json is damaged.
    """
    path = unpacked(run) / IDS
    if not path.is_file():
        return {}
    asked = set(map(_digest, ids))
    try:
        seen = json.loads(path.read_text(encoding="utf-8"))
        return {name: len(asked.intersection(digests)) for name, digests in seen.items()}
    except (OSError, ValueError, AttributeError, TypeError) as error:
        raise TrainError(
            f"{path} cannot be read: {error}", "train again, or copy the whole run"
        ) from error


def _digest(name: str) -> str:
    return blake2b(name.encode(), digest_size=8).hexdigest()
