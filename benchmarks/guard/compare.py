"""Compare two records.

Owns the decision which differences count. A record maps keys to strings, numbers, booleans or null.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import Any

Record = dict[str, Any]

# Listed, but not counted as differences: version numbers, values derived from settings, and options
# of corpora, because shards once stored the options of other corpora, too.
NOTED = ("*@format_version", "*@settings_digest", "*@task_digest", "*@settings.corpus.*")
_SHOWN, _SHOWN_NOTED = 40, 5
_WIDTH = 60


@dataclass(frozen=True)
class Comparison:
    """The differences between two records.

    Attributes:
        equal: number of equal values.
        changed: keys whose values differ, with both values.
        removed: keys that only the first record has.
        added: keys that only the second record has.
        noted: keys that are allowed to differ, see `NOTED`.
    """

    equal: int
    changed: dict[str, str]
    removed: tuple[str, ...]
    added: tuple[str, ...]
    noted: dict[str, str]

    @property
    def differs(self) -> bool:
        """Whether a value changed or was removed; an added value is no difference."""
        return bool(self.changed or self.removed)

    def text(self) -> str:
        """Format a report with the first keys of each kind."""
        lines = [f"{'DIFFERENT' if self.differs else 'EQUAL'}: {self.equal} equal values"]
        for name, shown, keys in (
            ("changed", _SHOWN, [f"{key}: {how}" for key, how in self.changed.items()]),
            ("removed", _SHOWN, list(self.removed)),
            ("added", _SHOWN, list(self.added)),
            ("noted", _SHOWN_NOTED, [f"{key}: {how}" for key, how in self.noted.items()]),
        ):
            if keys:
                lines.append(f"{name}: {len(keys)}")
                lines += [f"  {key}" for key in keys[:shown]]
                lines += [f"  ... and {len(keys) - shown} more"] if len(keys) > shown else []
        return "\n".join(lines)


def compare(
    before: Record, after: Record, ignore: Sequence[str] = (), tolerance: float = 0.0
) -> Comparison:
    """Compare two records key by key.

    Args:
        before: the record of the earlier revision.
        after: the record of the later revision.
        ignore: glob patterns of keys to ignore.
        tolerance: largest relative difference of two numbers that counts as equal.
    """

    def kept(record: Record) -> Record:
        return {k: v for k, v in record.items() if not any(fnmatch(k, glob) for glob in ignore)}

    before, after = kept(before), kept(after)
    both = sorted(before.keys() & after.keys())
    different = {key: _how(before[key], after[key], tolerance) for key in both}
    different = {key: how for key, how in different.items() if how}
    gone = sorted(before.keys() - after.keys())
    noted = {key: how for key, how in different.items() if _is_noted(key)}
    noted |= {key: "removed" for key in gone if _is_noted(key)}
    return Comparison(
        equal=len(both) - len(different),
        changed={key: how for key, how in different.items() if key not in noted},
        removed=tuple(key for key in gone if key not in noted),
        added=tuple(sorted(after.keys() - before.keys())),
        noted=noted,
    )


def _is_noted(key: str) -> bool:
    return any(fnmatch(key, glob) for glob in NOTED)


def _how(one: Any, two: Any, tolerance: float) -> str:
    """Describe how two values differ; empty if they are equal."""
    if one == two and isinstance(one, bool) == isinstance(two, bool):
        return ""
    shown = f"{str(one)[:_WIDTH]!r} -> {str(two)[:_WIDTH]!r}"
    if not (_is_number(one) and _is_number(two)):
        return shown
    if math.isclose(one, two, rel_tol=tolerance, abs_tol=0.0):
        return ""
    return (
        f"{one!r} -> {two!r} (relative difference {abs(one - two) / max(abs(one), abs(two)):.1e})"
    )


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
