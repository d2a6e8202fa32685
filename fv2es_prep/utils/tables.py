"""Tables of results: for a terminal of any width, as CSV, as Markdown.

Owns their form. Leaves the values to the callers, who give each cell as text.
"""

from __future__ import annotations

import re
import shutil
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import typer

from fv2es_prep.utils.csv_text import csv_line, neutral

Form = Literal["table", "csv", "markdown"]
Format = Annotated[Form, typer.Option("--format", help="Format of the printed table.")]
Wide = Annotated[
    bool, typer.Option("--wide", help="Print all columns, however wide the table becomes.")
]
_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]\d+)?")
# What a right-aligned column holds: it begins with a number.
_NUMERIC = re.compile(r"[-+(\[]*[\d?]|-$|$|unknown$")
_GAP = "  "
# A wrapped column is not narrower.
_LEAST = 8


@dataclass(frozen=True)
class Table:
    """A table.

    Attributes:
        head: names of the columns; the first column names the rows.
        rows: cells.
        ends: rows below a rule, such as averages.
        title: what it shows; empty if that is plain.
        optional: columns to leave out, the first one first, where the width does not suffice.
    """

    head: Sequence[str]
    rows: Sequence[Sequence[object]]
    ends: Sequence[Sequence[object]] = ()
    title: str = ""
    optional: Sequence[str] = ()


Block = Table | str


def shown(blocks: Iterable[Block], form: Form = "table", wide: bool = False) -> str:
    """Tables, and sentences about the table before them, for stdout.

    Args:
        blocks: the tables and sentences.
        form: ``table`` for a terminal; ``csv``: each table with its header, an empty line before
            the next one, and no sentences; ``markdown``.
        wide: whether a table for a terminal has all columns and is never wrapped.
    """
    blocks = list(blocks)
    if form == "csv":
        return "\n\n".join(_csv(each) for each in blocks if isinstance(each, Table))
    if form == "markdown":
        return "\n\n".join(_markdown(e) if isinstance(e, Table) else e for e in blocks)
    width = 1_000_000 if wide else columns()
    parts = []
    for number, each in enumerate(blocks):
        if isinstance(each, str):
            parts.append(wrapped(each, width))
        else:
            parts.append(("\n" if number else "") + grid(each, width))
    return "\n".join(parts)


def columns() -> int:
    """The width of the terminal, at least 40; 80 if there is none."""
    return max(shutil.get_terminal_size().columns, 40)


def wrapped(text: str, width: int | None = None, indent: str = "  ", first: str = "") -> str:
    """A sentence in lines of the terminal's width; ``first`` and ``indent`` begin its lines."""
    # Paths and names stay whole: they are copied.
    wrap = textwrap.TextWrapper(
        width or columns(),
        initial_indent=first,
        subsequent_indent=indent,
        break_on_hyphens=False,
        break_long_words=False,
    )
    return "\n".join(wrap.fill(line) for line in text.split("\n"))


def named_lines(pairs: Iterable[tuple[str, object]], first: int) -> str:
    """Lines of a name, ``first`` columns wide, and a value, which is wrapped."""
    indent = " " * (first + 1)
    lines = (
        wrapped(f"{name:{first}}\xa0{value}", indent=indent).replace("\xa0", " ")
        for name, value in pairs
    )
    return "\n".join(line.rstrip() for line in lines)


def grid(table: Table, width: int) -> str:
    """A table in aligned columns of at most this width, if that can be."""
    left_out: list[str] = []
    table, widths = _narrowed(table, width, left_out)
    right = [
        all(_NUMERIC.match(str(row[i]).strip()) for row in (*table.rows, *table.ends))
        for i in range(len(table.head))
    ]
    right[0] = False
    lines = [table.title] if table.title else []
    if any(table.head):
        lines += _row(table.head, widths, right)
        lines.append(_GAP.join("-" * one for one in widths))
    for row in table.rows:
        lines += _row(row, widths, right)
    if table.ends:
        lines.append(_GAP.join("-" * one for one in widths))
    for row in table.ends:
        lines += _row(row, widths, right)
    if left_out:
        lines.append(wrapped(f"--wide also shows {', '.join(left_out)}", width))
    return "\n".join(lines)


def _narrowed(table: Table, width: int, left_out: list[str]) -> tuple[Table, list[int]]:
    """The table without what has no room, and the widths of its columns."""
    droppable = [name for name in table.optional if name in table.head]
    while _total(widths := _widths(table)) > width and droppable:
        name = droppable.pop(0)
        left_out.append(name)
        table = _without(table, table.head.index(name))
    while (excess := _total(widths) - width) > 0 and max(widths) > _LEAST:
        # The widest column is wrapped, but not more than to the width of the next one.
        widest = widths.index(max(widths))
        others = [one for i, one in enumerate(widths) if i != widest]
        least = max([_LEAST, *(one for one in others if one < widths[widest])])
        least = least if least < widths[widest] else widths[widest] - 1
        widths[widest] = max(widths[widest] - excess, least)
    return table, widths


def _without(table: Table, place: int) -> Table:
    head, rows, ends = (
        [[*row[:place], *row[place + 1 :]] for row in part]
        for part in ([table.head], table.rows, table.ends)
    )
    return Table([str(name) for name in head[0]], rows, ends, table.title)


def _widths(table: Table) -> list[int]:
    every = [table.head, *table.rows, *table.ends]
    return [max(len(str(row[i])) for row in every) for i in range(len(table.head))]


def _total(widths: Sequence[int]) -> int:
    return sum(widths) + len(_GAP) * (len(widths) - 1)


def _row(row: Sequence[object], widths: Sequence[int], right: Sequence[bool]) -> Iterator[str]:
    """The lines of a row; a cell that is too long goes on in the next line."""
    cells = [
        textwrap.wrap(str(cell), width, break_on_hyphens=False) or [""]
        if len(str(cell)) > width
        else [str(cell)]
        for cell, width in zip(row, widths, strict=True)
    ]
    for number in range(max(map(len, cells))):
        parts = [cell[number] if number < len(cell) else "" for cell in cells]
        aligned = [
            part.rjust(width) if is_right else part.ljust(width)
            for part, width, is_right in zip(parts, widths, right, strict=True)
        ]
        yield _GAP.join(aligned).rstrip()


def _csv(table: Table) -> str:
    rows = [table.head, *table.rows, *table.ends]
    return "\n".join(csv_line(map(_csv_cell, row)) for row in rows)


def _csv_cell(cell: object) -> object:
    """A cell that a spreadsheet takes for a number or a text, never for a formula."""
    text = str(cell)
    return "" if text == "-" else text if _NUMBER.fullmatch(text) else neutral(text)


def _markdown(table: Table) -> str:
    rows = [table.head, ["---"] * len(table.head), *table.rows, *table.ends]
    lines = (
        f"| {' | '.join(str(cell).replace('|', chr(92) + '|') for cell in row)} |" for row in rows
    )
    return "\n".join([*([f"{table.title}\n"] if table.title else []), *lines])
