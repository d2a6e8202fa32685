"""What a recipe keeps together: the utterances of one recording, speaker, session, or own group.

Owns the columns that can be named, and the table of groups of one's own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.table import CatalogueTable, Names, names_of

COLUMNS = ("recording_id", "speaker", "session")


def names_for(table: CatalogueTable, recipe: str, by: str | None, file: Path | None) -> Names:
    """The groups of a recipe, one for each row.

    Args:
        table: the catalogue.
        recipe: session, speaker or group.
        by: of the group recipe, one of `COLUMNS`; the recording where None.
        file: a CSV file with the columns id and group, in the place of ``by``.

    Raises:
        SplitError: there is no such column, or the group of an utterance is not known.
    """
    if file is not None:
        return _from_file(table, file)
    by = recipe if recipe in COLUMNS else by or COLUMNS[0]
    if by not in COLUMNS:
        raise SplitError(
            f"there is no column {by!r} to group by",
            f"name one of {', '.join(COLUMNS)}, or give a table of your own with --groups",
        )
    names = {COLUMNS[0]: "recordings", "speaker": "speakers", "session": "sessions"}[by]
    found: Names = getattr(table, names)
    if unknown := int(np.count_nonzero(~found.known)):
        raise SplitError(
            f"of {unknown} utterance(s) the {by} is not known",
            "use --recipe group --by recording_id, or a table of your own with --groups",
        )
    return found


def _from_file(table: CatalogueTable, path: Path) -> Names:
    import pyarrow.compute as pc

    ids, values = _read(path)
    if len(repeated := ids.take(_repeats(ids))):
        raise SplitError(
            f"{path} names {len(repeated)} id(s) more than once, first {repeated[0].as_py()!r}",
            "give each utterance one group",
        )
    places = pc.index_in(table.ids, value_set=ids)
    if places.null_count:
        first = table.ids.filter(places.is_null())[0].as_py()
        raise SplitError(
            f"{path} has no group for {places.null_count} utterance(s), first {first!r}",
            "give every utterance of the shards a group",
        )
    return names_of(values.take(places))


def _read(path: Path) -> tuple[Any, Any]:
    import pyarrow as pa
    from pyarrow import csv

    kinds = {"id": pa.large_string(), "group": pa.large_string()}
    # Kept as it stands: an id such as NA is no missing value.
    options = csv.ConvertOptions(column_types=kinds, include_columns=[*kinds], null_values=[])
    try:
        table = csv.read_csv(path, convert_options=options).combine_chunks()
    except (OSError, ValueError, LookupError) as error:
        raise SplitError(
            f"cannot read {path}: {' '.join(str(error).split())}",
            "it has to be a CSV file with the columns id and group in its first line",
        ) from error
    ids, values = (_one(table.column(name)) for name in kinds)
    return ids, values


def _one(column: Any) -> Any:
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)


def _repeats(ids: Any) -> Any:
    """Places at which an id comes again."""
    import pyarrow as pa

    codes = ids.dictionary_encode().indices.to_numpy()
    first = np.full(len(codes), -1, np.int64)
    order = np.arange(len(codes))[::-1]
    first[codes[::-1]] = order
    return pa.array(np.flatnonzero(first[codes] != np.arange(len(codes))))
