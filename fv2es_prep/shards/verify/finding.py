"""What a check found wrong: a code, the file and a sentence."""

from __future__ import annotations

from dataclasses import dataclass

CODES: dict[str, str] = {
    "index": "`index.json` is missing, damaged or edited",
    "missing": "a shard, or another file, of the index is not there",
    "size": "a shard has another size than the index says",
    "sha256": "a shard, or another file, has other bytes than the index says",
    "foreign": "a shard is there that the index does not list",
    "version": "a shard is of another format, or from the future",
    "unreadable": "a file, or a part of it, cannot be read",
    "dropped": "`dropped.jsonl` is missing or holds a line that is no object",
    "catalogue": "`catalogue.parquet` is damaged, or says something else than the shards",
    "stage": "a stage of the dataset is not installed here: its columns are not checked",
    "source": "with `--against`: the raw corpus gives something else",
}
"""Code -> meaning, of the codes that are no numbered invariant; the text of the documentation."""


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong.

    Attributes:
        code: one of `CODES`, or the number of the invariant that does not hold, e.g. ``I7``.
        file: name of the file concerned.
        sentence: what was found, with the utterance where there is one.
    """

    code: str
    file: str
    sentence: str

    def __str__(self) -> str:
        return f"{self.code:10} {self.file}: {self.sentence}"
