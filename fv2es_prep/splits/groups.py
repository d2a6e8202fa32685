"""Groups that a recipe keeps together: recordings, speakers, sessions, or those of a CSV file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue_table import CatalogueTable, Names, names_of
from fv2es_prep.splits.manifest import repeats

COLUMNS = ("recording_id", "speaker", "session")


def group_names(table: CatalogueTable, column: str) -> Names:
    """The group of each row, from a column of the catalogue.

    Args:
        table: the catalogue.
        column: one of `COLUMNS`.

    Raises:
        SplitError: the column is unknown, or empty for an utterance.
    """
    columns = dict(zip(COLUMNS, ("recordings", "speakers", "sessions"), strict=True))
    if column not in columns:
        raise SplitError(
            f"unknown group column {column!r}",
            f"choose from {', '.join(COLUMNS)}, or pass a CSV file with --groups",
        )
    found: Names = getattr(table, columns[column])
    if unknown := int((~found.known).sum()):
        raise SplitError(
            f"the {column} of {unknown} utterance(s) is unknown",
            "use --recipe group --by recording_id, or pass a CSV file with --groups",
        )
    return found


def read_group_names(table: CatalogueTable, path: Path) -> Names:
    """The group of each row, from a CSV file with the columns id and group.

    Raises:
        SplitError: the file is unreadable, repeats an id, or lacks an utterance.
    """
    import pyarrow.compute as pc

    ids, values = _read(path)
    if again := repeats(ids.to_pylist()):
        raise SplitError(
            f"{path} lists {len(again)} id(s) more than once, first {again[0]!r}",
            "give each utterance one group",
        )
    rows = pc.index_in(table.ids, value_set=ids)
    if rows.null_count:
        first = table.ids.filter(rows.is_null())[0].as_py()
        raise SplitError(
            f"{path} has no group for {rows.null_count} utterance(s), first {first!r}",
            "give every utterance of the dataset a group",
        )
    return names_of(values.take(rows))


def _read(path: Path) -> list[Any]:
    import pyarrow as pa
    from pyarrow import csv

    types = {"id": pa.large_string(), "group": pa.large_string()}
    # No null values: an id such as NA is not a missing value.
    options = csv.ConvertOptions(column_types=types, include_columns=[*types], null_values=[])
    try:
        table = csv.read_csv(path, convert_options=options)
    except (OSError, ValueError, LookupError) as error:
        raise SplitError(
            f"cannot read {path}: {' '.join(str(error).split())}",
            "write a CSV file with the columns id and group in its first line",
        ) from error
    return [column.combine_chunks() for column in table.columns]
