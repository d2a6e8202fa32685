"""What a section hands to the report: tables, acceptance lines, notes, and all that was measured.

Owns these values and their JSON form. Leaves how they look to `report`.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal

Cell = str | float | int | None


@dataclass(frozen=True)
class Table:
    """A table of the report.

    Attributes:
        title: what is in it, with units that all of it shares.
        columns: names of the columns, with their units.
        rows: as many cells each as there are columns; None shows as a dash.
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
        what: what is asked for, in words.
        value: what was measured; None where it could not be measured in this run.
        bound: the number to be compared with.
        sense: whether the value has to be at least or at most the bound.
    """

    what: str
    value: float | None
    bound: float
    sense: Literal["at least", "at most"] = "at least"

    @property
    def passed(self) -> bool | None:
        """Whether the line holds; None where there is no value."""
        if self.value is None:
            return None
        least = self.sense == "at least"
        return self.value >= self.bound if least else self.value <= self.bound


@dataclass(frozen=True)
class Section:
    """What one section has measured.

    Attributes:
        tables: for the reader.
        verdicts: acceptance lines, each with its own measured value.
        notes: sentences that the numbers need to be understood.
        data: everything that was measured, JSON-ready; plots are drawn from it.
    """

    tables: tuple[Table, ...] = ()
    verdicts: tuple[Verdict, ...] = ()
    notes: tuple[str, ...] = ()
    data: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The section as plain JSON values."""
        verdicts = [{**asdict(verdict), "passed": verdict.passed} for verdict in self.verdicts]
        return {**asdict(self), "verdicts": verdicts}
