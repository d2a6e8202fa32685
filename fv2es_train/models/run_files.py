"""What lies in a run beside its checkpoints and travels with it: the ids that it has seen."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from hashlib import blake2b
from pathlib import Path

from fv2es_prep.errors import TrainError
from fv2es_prep.utils.files import write_json

IDS = "ids.json"


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
    path = run / IDS
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
