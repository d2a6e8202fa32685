"""Text in CSV cells that a spreadsheet does not read as a formula, and back.

OWASP's rule against CSV injection: put an apostrophe before text that begins a formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

# Text that already starts with apostrophes gets one more, so that `plain` can undo it.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def neutral(value: object) -> object:
    """Put an apostrophe before text that begins a formula; return other values unchanged."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def plain(cell: str) -> str:
    """Undo `neutral`."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def csv_line(values: Iterable[object]) -> str:
    """A row of CSV without its line end."""
    out = io.StringIO(newline="")
    # With this line end, csv quotes a cell that contains either of its characters.
    csv.writer(out, lineterminator="\r\n").writerow(values)
    return out.getvalue().removesuffix("\r\n")
