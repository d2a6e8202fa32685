"""review.jsonl: the marks of a person in a dataset, beside its shards.

Lines are only appended, one JSON object each: ``id``, ``marks``, ``note``, ``at``. The last line of
an id counts. Preparing a dataset again does not change the file.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import msgspec

from fv2es_prep.errors import UsageError, words_of
from fv2es_prep.utils.files import cannot_write, read_regular

REVIEW_NAME = "review.jsonl"
EXCLUDE = "exclude"
MARKS = {
    "label": "wrong label",
    "words": "wrong words",
    "face": "wrong face",
    EXCLUDE: "exclude",
}
"""Mark -> what it means. ``exclude`` keeps an utterance out of splits and preparations."""
MOST_NOTE = 2000
_MOST_BYTES = 256 << 20


@dataclass(frozen=True)
class Review:
    """The marks of one utterance.

    Attributes:
        marks: some of `MARKS`.
        note: a remark, at most 2,000 characters.
        at: time of the mark, ISO 8601 in UTC.
    """

    id: str
    marks: tuple[str, ...] = ()
    note: str = ""
    at: str = ""

    def __post_init__(self) -> None:
        if unknown := {*self.marks} - MARKS.keys():
            raise ValueError(f"unknown mark {min(unknown)!r}")
        if len(self.note) > MOST_NOTE:
            raise ValueError(
                f"the note has {len(self.note)} characters, expected at most {MOST_NOTE}"
            )

    @property
    def is_empty(self) -> bool:
        """Whether nothing is marked."""
        return not self.marks and not self.note


def read_review(path: Path) -> dict[str, Review]:
    """Read utterance id -> marks, without utterances whose marks were removed.

    Args:
        path: a review file.

    Raises:
        UsageError: the file does not exist, or a line is invalid.
    """
    try:
        lines = read_regular(path, _MOST_BYTES).decode().split("\n")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{path} cannot be read: {words_of(error)}", "mark utterances with `fv2es browse`"
        ) from error
    found: dict[str, Review] = {}
    for number, line in enumerate(lines, start=1):
        if not line:
            continue
        try:
            review = msgspec.json.decode(line, type=Review)
        except (msgspec.DecodeError, ValueError) as error:
            raise UsageError(
                f"line {number} of {path} is not the mark of an utterance: {words_of(error)}",
                "remove the line",
            ) from error
        found[review.id] = review
    return {name: review for name, review in found.items() if not review.is_empty}


def add_review(path: Path, id_: str, marks: Iterable[str], note: str = "") -> Review:
    """Mark an utterance; this replaces its earlier marks.

    Raises:
        ValueError: a mark is unknown, or the note too long.
        OutputError: the file cannot be written.
    """
    at = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    given = Review(id_, tuple(marks), note.strip(), at)
    review = replace(given, marks=tuple(mark for mark in MARKS if mark in given.marks))
    line = json.dumps(asdict(review), ensure_ascii=False) + "\n"
    try:
        # A single write, so that lines of several processes do not mix.
        with path.open("ab", buffering=0) as file:
            file.write(line.encode())
            os.fsync(file.fileno())
    except OSError as error:
        raise cannot_write(path, error) from error
    return review


def excluded(path: Path) -> dict[str, str]:
    """Id -> note of the utterances that a review file excludes, sorted by id; see `read_review`."""
    found = sorted(read_review(path).items())
    return {name: review.note for name, review in found if EXCLUDE in review.marks}
