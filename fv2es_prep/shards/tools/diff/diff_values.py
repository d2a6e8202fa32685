"""What differs between two datasets, as values."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any


@dataclass(frozen=True)
class Moved:
    """What only one dataset has, or what both left out for other reasons.

    Attributes:
        id: utterance id; of what has none, the name of its file.
        before: ``prepared``, codes of why it was left out, or empty where the first dataset does
            not know it.
        now: the same of the second dataset.
        classes: its classes where it was prepared.
        subset: its subset, empty without a split.
    """

    id: str
    before: str
    now: str
    classes: tuple[str, ...] = ()
    subset: str = ""


@dataclass(frozen=True)
class Changed:
    """An utterance of both datasets that has other parts.

    Attributes:
        id: utterance id.
        parts: name of the part -> both values as JSON, or None where only digests were compared.
        classes: its classes in the second dataset.
        subset: its subset, empty without a split.
    """

    id: str
    parts: dict[str, tuple[Any, Any] | None]
    classes: tuple[str, ...]
    subset: str = ""


@dataclass(frozen=True)
class Remade:
    """Utterances with a stage of equal values that was made from other media or settings.

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
        media: recording id -> which of its files differ, ``video`` and ``audio``.
        added: utterances that only the second dataset has.
        removed: utterances that only the first dataset has.
        changed: utterances with other parts.
        dropped: what was left out by one of them, or by both for other reasons.
        remade: stage -> utterances whose stored value is equal, but made from something else.
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
        """Whether both hold the same, however they are cut into shards."""
        utterances = self.added, self.removed, self.changed, self.dropped
        return not any((self.settings, self.media, self.remade, *utterances))

    @cached_property
    def parts(self) -> dict[str, int]:
        """Name of a part -> number of utterances in which it changed, in order of its name."""
        return dict(sorted(Counter(part for one in self.changed for part in one.parts).items()))

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"equal": self.equal, "parts": self.parts, **asdict(self)}
