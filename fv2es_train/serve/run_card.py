"""Facts about a run (its data, scores and limits) for the page and the API."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

_UNKNOWN = "The training data of this run are unknown."
_NOT_FOR = (
    "It predicts how raters would label a clip, not what a person feels. Do not use it for "
    "decisions about people: hiring, teaching, policing, health or credit."
)
_MARKS = re.compile(r"[*`]{1,2}(\S.*?)[*`]{1,2}|\[([^\]]*)\]\([^)]*\)")
# Metrics of `metrics.json`, as means over the classes.
_METRICS = ("balanced_accuracy", "f1_binary", "auc")
# Thresholds are fitted on valid, so scores on test come first.
_SUBSETS = ("test", "valid")


@dataclass(frozen=True)
class Score:
    """A metric as a mean over the classes; ``low`` and ``high`` are the ends of its interval."""

    name: str
    value: float
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class ClassScore:
    """Scores of one class; None if a score is undefined.

    Attributes:
        utterances: utterances that have the class.
        recall: share of these that the run finds.
        precision: share of the utterances with a decision for the class that have it.
    """

    name: str
    utterances: int
    recall: float | None
    precision: float | None


@dataclass(frozen=True)
class RunCard:
    """Facts about a run.

    Attributes:
        trained_on: the opening of its model card.
        not_for: what it must not be used for.
        limits: the same, one sentence or paragraph each.
        subset: the measured subset, ``test`` or ``valid``; empty if the run was not measured.
        utterances: number of measured utterances.
        level: level of the intervals, 0 to 1.
        scores: the metrics.
        classes: the scores of each class.
    """

    trained_on: str = _UNKNOWN
    not_for: str = _NOT_FOR
    limits: tuple[str, ...] = ()
    subset: str = ""
    utterances: int = 0
    level: float = 0.95
    scores: tuple[Score, ...] = ()
    classes: tuple[ClassScore, ...] = ()


def read_card(run: Path) -> RunCard:
    """The card of a run, from its README.md and metrics.json, either of which may be missing."""
    trained_on, limits = _read_text(run / "README.md")
    return replace(
        _read_scores(run / "metrics.json"),
        trained_on=trained_on,
        not_for=" ".join(limits),
        limits=limits,
    )


def _read_text(path: Path) -> tuple[str, tuple[str, ...]]:
    """The opening of a model card, and the limits that it lists."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return _UNKNOWN, (_NOT_FOR,)
    title, _, rest = re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).strip().partition("\n")
    sections = re.split(r"^## ", rest, flags=re.MULTILINE)
    named = dict(section.partition("\n")[::2] for section in sections[1:])
    opening = f"{title.removeprefix('# ').rstrip('.')}. {_plain(sections[0])}"
    items = re.split(r"^- ", named.get("What it is not for", ""), flags=re.MULTILINE)
    return opening, tuple(filter(None, map(_plain, items))) or (_NOT_FOR,)


def _plain(markdown: str) -> str:
    """Turn paragraphs and lists into one line of text."""
    lines = (line.strip().removeprefix("- ") for line in markdown.splitlines())
    text = " ".join(filter(None, lines))
    return _MARKS.sub(lambda found: found[1] or found[2] or "", text)


def _read_scores(path: Path) -> RunCard:
    """A card that has only the scores."""
    try:
        measured = json.loads(path.read_text(encoding="utf-8"))
        subset = next(name for name in _SUBSETS if measured.get(name))
        found = measured[subset]
        scores = [_score(name, found["average"], found["interval"], name) for name in _METRICS]
        if single := found.get("single_label"):
            scores.insert(
                0, _score("accuracy", single, single["interval"], "single_label.accuracy")
            )
        return RunCard(
            subset=subset,
            utterances=int(found["n"]),
            level=float(found["bootstrap"]["level"]),
            scores=tuple(filter(None, scores)),
            classes=tuple(
                ClassScore(
                    name, int(one["support"]), _finite(one["recall"]), _finite(one["precision"])
                )
                for name, one in found["per_class"].items()
            ),
        )
    # A run of an older version or of another program: the page says that there are no scores.
    except (OSError, ValueError, KeyError, TypeError, AttributeError, StopIteration):
        return RunCard()


def _score(key: str, values: dict[str, Any], intervals: dict[str, Any], name: str) -> Score | None:
    value = _finite(values[key])
    low, high = map(_finite, intervals.get(key) or (None, None))
    return None if value is None else Score(name, value, low, high)


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None
