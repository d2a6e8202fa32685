"""The difference of two datasets as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Moved:
    """Something that only one dataset has, or that both left out for different reasons.

    Attributes:
        id: utterance id, or file name if there is no id.
        before: ``prepared``, codes of the reasons why it was left out, or empty if it is not in the
            first dataset.
        now: the same for the second dataset.
        classes: its classes if it was prepared.
        subset: its subset, empty without a split.
    """

    id: str
    before: str
    now: str
    classes: tuple[str, ...] = ()
    subset: str = ""


@dataclass(frozen=True)
class Changed:
    """An utterance of both datasets whose parts differ.

    Attributes:
        id: utterance id.
        parts: name of the part -> both values as JSON; None if only digests were compared.
        classes: its classes in the second dataset.
        subset: its subset, empty without a split.
    """

    id: str
    parts: dict[str, tuple[Any, Any] | None]
    classes: tuple[str, ...]
    subset: str = ""


@dataclass(frozen=True)
class Remade:
    """Utterances with equal values of a stage that were made from other media or settings.

    Attributes:
        count: number of utterances.
        named: the first few ids.
    """

    count: int
    named: tuple[str, ...]


@dataclass(frozen=True)
class Diff:
    """What differs between two datasets.

    Attributes:
        utterances: ``before``, ``now`` and ``same`` -> number.
        settings: dotted path, or a property of the dataset -> both values.
        media: recording id -> its files that differ, ``video`` and ``audio``.
        added: utterances that only the second dataset has.
        removed: utterances that only the first dataset has.
        changed: utterances whose parts differ.
        dropped: what only one of them left out, or both for different reasons.
        remade: stage -> utterances with an equal stored value made from other inputs.
        classes: class -> numbers of utterances: before, now, added, removed, changed.
        subsets: the same for each subset; empty without a split.
    """

    utterances: dict[str, int]
    settings: dict[str, tuple[Any, Any]]
    media: dict[str, tuple[str, ...]]
    added: tuple[Moved, ...]
    removed: tuple[Moved, ...]
    changed: tuple[Changed, ...]
    dropped: tuple[Moved, ...]
    remade: dict[str, Remade]
    classes: dict[str, dict[str, int]]
    subsets: dict[str, dict[str, int]]

    @property
    def equal(self) -> bool:
        """Whether both have the same content, however it is divided into shards."""
        utterances = self.added, self.removed, self.changed, self.dropped
        return not any((self.settings, self.media, self.remade, *utterances))

    @cached_property
    def parts(self) -> dict[str, int]:
        """Name of a part -> number of utterances in which it changed, sorted by name."""
        return dict(sorted(Counter(part for one in self.changed for part in one.parts).items()))

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {"equal": self.equal, "parts": self.parts, **asdict(self)}
