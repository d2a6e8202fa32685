"""The result of a section: tables, acceptance lines, notes and all measured data.

Owns these values and their JSON form. Leaves their presentation to `report`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: title of the table, with common units.
        columns: names of the columns, with their units.
        rows: one cell per column; None is shown as a dash.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.title}: {len(row)} cells for {len(self.columns)} columns")


@dataclass(frozen=True)
class Verdict:
    """One acceptance line.

    Attributes:
        what: the requirement, in words.
        value: measured value; None if it could not be measured in this run.
        bound: number to compare with.
        sense: whether the value must be at least or at most the bound.
    """

    what: str
    value: float | None
    bound: float
    sense: Literal["at least", "at most"] = "at least"

    @property
    def passed(self) -> bool | None:
        """Whether the requirement is met; None without a value."""
        if self.value is None:
            return None
        least = self.sense == "at least"
        return self.value >= self.bound if least else self.value <= self.bound


@dataclass(frozen=True)
class Section:
    """The result of one section.

    Attributes:
        tables: tables for the reader.
        verdicts: acceptance lines with their measured values.
        notes: sentences that explain the numbers.
        data: all measurements, JSON-ready; the source of the plots.
    """

    tables: tuple[Table, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The section as plain JSON values."""
        verdicts = [{**asdict(verdict), "passed": verdict.passed} for verdict in self.verdicts]
        return {**asdict(self), "verdicts": verdicts}
