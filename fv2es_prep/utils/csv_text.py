"""Text in CSV cells that a spreadsheet does not take for a formula, and back.

The rule is OWASP's for CSV injection: an apostrophe before what begins a formula.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

# Apostrophes before it get one more, so that `plain` knows its own.
_FORMULA = re.compile(r"'*[=+\-@\t\r\n]")


def neutral(value: object) -> object:
    """A text that would begin a formula, with an apostrophe before it; other values as they are."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def plain(cell: str) -> str:
    """The text of which `neutral` made a cell."""
    return cell[1:] if cell[:1] == "'" and _FORMULA.match(cell) else cell


def csv_line(values: Iterable[object]) -> str:
    """A row of CSV without its line end."""
    out = io.StringIO(newline="")
    # With this line end both its characters are quoted within a cell.
    csv.writer(out, lineterminator="\r\n").writerow(values)
    return out.getvalue().removesuffix("\r\n")
