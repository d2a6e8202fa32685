"""A finding of a check: a code, the file and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

CODES: dict[str, str] = {
    "index": "`index.json` is missing, damaged or edited",
    "missing": "a shard or another file of the index does not exist",
    "size": "a shard has another size than in the index",
    "sha256": "a shard or another file has other bytes than the index says",
    "foreign": "a shard is not in the index",
    "version": "a shard is of another or a newer format",
    "unreadable": "a file or a part of it cannot be read",
    "dropped": "`dropped.jsonl` is missing or has a line that is not an object",
    "catalogue": "`catalogue.parquet` is damaged or contradicts the shards",
    "stage": "a stage of the dataset is not installed here, so its columns are not checked",
    "source": "with `--against`: the dataset differs from what the raw corpus gives",
}
"""Code -> meaning, for codes besides numbered invariants; also the text of the documentation."""


@dataclass(frozen=True)
class Finding:
    """One violation.

    Attributes:
        code: one of `CODES`, or the number of the invariant that does not hold, e.g. ``I7``.
        file: name of the file concerned.
        sentence: what was found, with the utterance if there is one.
    """

    code: str
    file: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.code:10} {self.file}: {self.sentence}"
