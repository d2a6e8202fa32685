"""dropped.jsonl: everything of a corpus that was left out, one JSON object per line."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from fv2es_prep.errors import DAMAGE, ShardError, words_of
from fv2es_prep.utils.files import read_regular, whole_file

DROPPED_NAME = "dropped.jsonl"
_MOST_BYTES = 64 << 20


def write_dropped(directory: Path, entries: Iterable[dict[str, Any]]) -> None:
    """Write the entries, in this order."""
    with (
        whole_file(directory / DROPPED_NAME) as temporary,
        temporary.open("w", encoding="utf-8", newline="\n") as file,
    ):
        file.writelines(json.dumps(entry, ensure_ascii=False) + "\n" for entry in entries)


def read_dropped(directory: Path) -> list[dict[str, Any]]:
    """Read the entries as JSON objects, since a later version may have other reasons and fields.

    Raises:
        ShardError: the file is missing or damaged.
    """
    path = directory / DROPPED_NAME
    try:
        lines = read_regular(path, _MOST_BYTES).decode().split("\n")
        entries = [json.loads(line) for line in lines if line]
        for number, entry in enumerate(entries, start=1):
            if not isinstance(entry, dict) or not isinstance(entry.get("reason"), str):
                raise ValueError(f"line {number} is not an object with a reason")
    except DAMAGE as error:
        raise ShardError(
            f"{path} cannot be read: {words_of(error)}",
            "run the same `fv2es prep` command again",
        ) from error
    return entries
