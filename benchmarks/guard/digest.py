"""Turn files into flat records: a digest per column, a value per JSON leaf.

Owns which parts of a file are values. Reads with plain h5py and pyarrow, so it can read the files
of any revision.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet

Record = dict[str, Any]

# Ignored: times, places, versions, and sentences, which may be reworded.
_PASSING = {
    *("seconds", "duration_s", "expires_s", "process_s", "started_at", "finished_at", "created"),
    *("run", "out", "directory", "path", "shards", "split", "split_file", "fv2es", "version"),
    *("host", "platform", "python", "torch", "device", "threads", "epoch_s", "sentence", "hint"),
    *("notes", "missing", "progress", "examples_per_s", "utterances_per_s"),
}


def digest(array: Any) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of dtype, shape and bytes."""
    array = np.ascontiguousarray(array)
    found = hashlib.sha256(f"{array.dtype.str}{array.shape}".encode())
    found.update(array.tobytes())
    return found.hexdigest()[:32]


def digest_of_text(text: str) -> str:
    """The first 32 hexadecimal digits of the SHA-256 of a text."""
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def dataset_record(directory: Path) -> Record:
    """Record all shards, the catalogue and the reasons of dropped utterances of a dataset."""
    found: Record = {}
    for path in sorted(directory.glob("*.h5")):
        found |= {f"{path.name}{key}": value for key, value in shard_record(path).items()}
    table = pyarrow.parquet.read_table(directory / "catalogue.parquet")
    for name in table.column_names:
        found[f"catalogue/{name}"] = digest_of_text(repr(table[name].to_pylist()))
    lines = (directory / "dropped.jsonl").read_text(encoding="utf-8").splitlines()
    reasons = sorted(f"{entry['id']}: {entry['reason']}" for entry in map(json.loads, lines))
    return {**found, "dropped": digest_of_text("\n".join(reasons)), "dropped.count": len(reasons)}


def shard_record(path: Path) -> Record:
    """Record one shard: ``/column`` -> digest and ``@attribute`` -> value."""
    found: Record = {}

    def visit(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset):
            values = item[()]
            if name == "dropped":
                values = [_without_sentence(value) for value in values]
            found[f"/{name}"] = digest(values)

    with h5py.File(path) as file:
        file.visititems(visit)
        for name, value in file.attrs.items():
            text = value.decode() if isinstance(value, bytes) else str(value)
            parsed = json.loads(text) if text[:1] in "[{" else text
            found |= leaves(parsed, f"@{name}")
    return found


def leaves(value: Any, name: str) -> Record:
    """Record each leaf of a JSON value under its dotted path."""
    return dict(_leaves(value, name))


def _leaves(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, item in value.items():
            if key not in _PASSING:
                yield from _leaves(item, f"{name}.{key}")
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{name}.{number}")
    else:
        yield name, json.dumps(value) if isinstance(value, list) else value


def split_record(path: Path) -> Record:
    """Record the ids of each subset of a split manifest."""
    manifest = json.loads(path.read_text(encoding="utf-8"))
    subsets = manifest.get("subsets", manifest)
    found: Record = {}
    for name in ("train", "valid", "test"):
        ids = subsets[name]
        found |= {name: digest_of_text("\n".join(ids)), f"{name}.count": len(ids)}
    return found


def table_record(path: Path) -> Record:
    """Record each column of a CSV file."""
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    return {name: digest_of_text(json.dumps([row[name] for row in rows])) for name in rows[0]}


def _without_sentence(value: bytes) -> bytes:
    entry = json.loads(value)
    entry.pop("sentence", None)
    return json.dumps(entry, sort_keys=True).encode()
