"""Text and HTML page of the difference of two datasets."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.shards.tools.diff.diff_values import Changed, Diff, Moved
from fv2es_prep.utils.pages import html_table, write_page
from fv2es_prep.utils.tables import Table, columns, grid, wrapped

# Most rows of each table; JSON has all rows.
_LINES, _ROWS = 20, 1000
_WHATS = ("before", "now", "added", "removed", "changed")
_Table = tuple[str, Sequence[str], Sequence[Sequence[object]]]


def diff_text(diff: Diff) -> str:
    """Render a difference for the terminal, with the first rows of each table."""
    blocks = [_counts_text(diff)]
    for title, head, rows in _tables(diff, _LINES):
        if isinstance(rows[0][-1], int):
            blocks.append(grid(Table([title, *head[1:]], rows), columns()))
        else:
            blocks.append("\n".join([title, *_lines(rows)]))
    return "\n\n".join(blocks)


def write_diff_page(path: Path, a: Path, b: Path, diff: Diff) -> None:
    """Write a difference as an HTML page.

    Args:
        path: the page.
        a: the first dataset, for the title.
        b: the second dataset.
        diff: what differs between them.

    Raises:
        OutputError: the file cannot be written.
    """
    title = f"{a.name} → {b.name}"
    body = [
        "<h1>Difference of two datasets</h1>",
        f"<p>{html.escape(title)}{': equal' if diff.equal else ''}</p>",
        html_table("Utterances", ("", "count"), [*_counts(diff).items()]),
        *(html_table(*table) for table in _tables(diff, _ROWS)),
    ]
    write_page(path, f"fv2es: {title}", body)


def _counts(diff: Diff) -> dict[str, int]:
    return {
        **diff.utterances,
        "added": len(diff.added),
        "added, dropped before": sum(bool(moved.before) for moved in diff.added),
        "removed": len(diff.removed),
        "removed, dropped now": sum(bool(moved.now) for moved in diff.removed),
        "dropped differently": len(diff.dropped),
        "changed": len(diff.changed),
    }


def _counts_text(diff: Diff) -> str:
    lines = [f"{what:21} {count:8}" for what, count in _counts(diff).items()]
    return "\n".join([*lines, *(["equal"] if diff.equal else [])])


def _lines(rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Left-aligned columns; the last has any width."""
    cells = [[str(cell).replace("\n", "; ") for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for *first, last in cells:
        line = "  ".join([*map(str.ljust, first, widths), last])
        yield wrapped(f"  {line}", indent=" " * 6)


def _tables(diff: Diff, most: int) -> Iterator[_Table]:
    """Title, head and rows of each table that is not empty."""
    for title, head, rows in _all_tables(diff):
        more = f", the first {most} of {len(rows)}" if len(rows) > most else ""
        if rows:
            yield title + more, head, rows[:most]


def _all_tables(diff: Diff) -> Iterator[_Table]:
    pairs = [(name, f"{_said(a)} → {_said(b)}") for name, (a, b) in diff.settings.items()]
    yield "Settings", ("setting", "before → now"), pairs
    yield "Changed parts", ("part", "utterances"), [*diff.parts.items()]
    for title, tallies in (("Classes", diff.classes), ("Subsets", diff.subsets)):
        rows = [(name, *map(counts.__getitem__, _WHATS)) for name, counts in tallies.items()]
        yield title, (title.lower(), *_WHATS), rows
    media = [(name, ", ".join(files)) for name, files in diff.media.items()]
    yield "Other media files", ("recording", "files"), media
    head = "utterance", "classes", *(["subset"] if diff.subsets else ()), "before → now"
    yield "Added", head, [_moved(moved) for moved in diff.added]
    yield "Removed", head, [_moved(moved) for moved in diff.removed]
    left_out = [(moved.id, _states(moved)) for moved in diff.dropped]
    yield "Dropped differently", ("utterance or file", "before → now"), left_out
    yield "Changed", head, [_changed(changed) for changed in diff.changed]
    remade = [
        (stage, f"{one.count} utterance(s): {', '.join(one.named)}")
        for stage, one in diff.remade.items()
    ]
    yield "Equal values from other files or settings", ("stage", "utterances"), remade


def _moved(moved: Moved) -> list[str]:
    return [moved.id, *_groups(moved), _states(moved)]


def _states(moved: Moved) -> str:
    return f"{moved.before or 'absent'} → {moved.now or 'absent'}"


def _changed(changed: Changed) -> list[str]:
    lines = [
        name + (f": {_value(name, pair[0])} → {_value(name, pair[1])}" if pair else "")
        for name, pair in changed.parts.items()
    ]
    return [changed.id, *_groups(changed), "\n".join(lines)]


def _groups(one: Moved | Changed) -> list[str]:
    return [", ".join(one.classes), *([one.subset] if one.subset else [])]


def _value(part: str, value: Any) -> str:
    return "{:.3f} to {:.3f} s".format(*value) if part == "span" else _said(value)


def _said(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_said, value)) or "none"
    if isinstance(value, float):
        return f"{value:.7g}"
    return "none" if value in (None, "") else str(value)
