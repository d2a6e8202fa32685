"""Reads rows of a table file, CSV, TSV, JSONL or Parquet, with their place in the file."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fv2es_prep.errors import CorpusError
from fv2es_prep.utils.files import read_regular, why_unreadable


@dataclass(frozen=True)
class Row:
    """One row of the file."""

    place: str  # its place in the file, e.g. ``line 7``
    values: dict[str, Any]  # column -> value, without empty cells and nulls
    problem: str = ""  # why it cannot be parsed; empty if it can


@dataclass(frozen=True)
class TableRows:
    """The columns and rows of a file, in its order, and its name."""

    name: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]


def read_rows(path: Path) -> TableRows:
    """Read a table; the suffix decides the format.

    Raises:
        CorpusError: the file is missing, damaged or of another format, or has no columns.
    """
    if problem := why_unreadable(path):
        raise CorpusError(f"the table cannot be read: {problem[1]}", "pass the table file itself")
    read = _READERS.get(path.suffix.lower())
    if read is None:
        raise CorpusError(
            f"{path.name} has the suffix {path.suffix or 'none'}, expected {', '.join(_READERS)}",
            "save the table as CSV, JSONL or Parquet",
        )
    columns, rows = read(path)
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if not any(columns) or twice:
        found = f"the column {twice[0]!r} twice" if twice else "no columns"
        raise CorpusError(f"{path.name} has {found}", "name each column once, in the first line")
    return TableRows(path.name, tuple(columns), tuple(rows))


def _read_separated(path: Path, separator: str) -> tuple[Sequence[str], list[Row]]:
    reader, rows = csv.reader(io.StringIO(_text(path), newline=""), delimiter=separator), []
    try:
        columns = [name.strip() for name in next(reader, [])]
        for cells in reader:
            named = dict(zip(columns, (cell.strip() for cell in cells), strict=False))
            problem = ""
            if len(cells) != len(columns):
                problem = f"it has {len(cells)} cells, expected {len(columns)}"
            if any(cell.strip() for cell in cells):
                rows.append(_without_empty(Row(f"line {reader.line_num}", named, problem)))
    except csv.Error as error:
        raise CorpusError(
            f"{path.name}, line {reader.line_num}: {error}", "close all quotes"
        ) from error
    return columns, rows


def _read_jsonl(path: Path) -> tuple[Sequence[str], list[Row]]:
    rows = []
    # Not splitlines: text may hold Unicode line separators.
    for number, line in enumerate(_text(path).split("\n"), 1):
        if line.strip():
            rows.append(_json_row(f"line {number}", line))
    columns = dict.fromkeys(name for row in rows for name in row.values)
    return list(columns), [_without_empty(row) for row in rows]


def _json_row(place: str, line: str) -> Row:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError) as error:
        return Row(place, {}, f"it is not valid JSON: {error}")
    if not isinstance(value, dict):
        return Row(place, {}, f"it is a {type(value).__name__}, expected an object")
    return Row(place, value)


def _read_parquet(path: Path) -> tuple[Sequence[str], list[Row]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(path).read()
        found = table.to_pylist()
    except (pa.ArrowException, OSError, ValueError) as error:
        words = " ".join(str(error).split())[:200]
        raise CorpusError(f"{path.name} cannot be read as Parquet: {words}") from error
    rows = [Row(f"row {number}", values) for number, values in enumerate(found, 1)]
    return table.column_names, [_without_empty(row) for row in rows]


def _without_empty(row: Row) -> Row:
    pairs = ((k, v.strip() if isinstance(v, str) else v) for k, v in row.values.items())
    # pandas writes a missing value as NaN, which differs from itself.
    values = {k: v for k, v in pairs if v is not None and v != "" and v == v}
    return Row(row.place, values, row.problem)


def _text(path: Path) -> str:
    try:
        return read_regular(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise CorpusError(
            f"{path.name}, line {line}: the byte 0x{error.object[error.start]:02x} is not UTF-8",
            "save the table as UTF-8",
        ) from error
    except OSError as error:
        raise CorpusError(
            f"{path.name} cannot be read: {error.strerror}", "check its permissions and its size"
        ) from error


_READERS: dict[str, Callable[[Path], tuple[Sequence[str], list[Row]]]] = {
    ".csv": lambda path: _read_separated(path, ","),
    ".tsv": lambda path: _read_separated(path, "\t"),
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}
