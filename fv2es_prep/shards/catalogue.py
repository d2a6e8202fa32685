"""The catalogue of a dataset as a file: one row for each example, read without opening a shard.

Owns catalogue.parquet: what it holds, its bytes, and whether it is of the shards of the index. What
is made from it is in the order of the shards.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from fv2es_prep.config import PrepSettings, digest_of
from fv2es_prep.errors import OutputError, ShardError
from fv2es_prep.shards.catalogue_table import LABEL, TIMES, CatalogueTable
from fv2es_prep.shards.index import Index, read_index
from fv2es_prep.shards.reader import Catalogue, ShardReader
from fv2es_prep.shards.schema import DIGEST_BYTES
from fv2es_prep.shards.verify.finding import Finding
from fv2es_prep.stages.registry import media_of, stages_of
from fv2es_prep.utils.files import whole_file

CATALOGUE_NAME = "catalogue.parquet"
SHARDS_KEY = b"fv2es.shards_digest"
# Column of the file -> column of a shard.
TEXTS = {
    "id": "id",
    "recording_id": "recording_id",
    "speaker": "speaker",
    "session": "session",
    "text": "text",
}
# Rows of one part of the file; fixed, so that equal datasets give equal bytes.
_GROUP_ROWS = 1 << 20


def table_of(catalogue: Catalogue) -> CatalogueTable:
    """A catalogue that was read from the shards, as columns; it has no digests of content."""
    texts = (catalogue.ids, catalogue.recording_ids, catalogue.speakers, catalogue.sessions)
    columns: dict[str, Any] = dict(zip(TEXTS, (*texts, catalogue.texts), strict=True))
    columns |= {"start_s": catalogue.start_s, "end_s": catalogue.end_s}
    for place, name in enumerate(catalogue.label_classes):
        columns[LABEL + name] = catalogue.label[:, place].astype(bool)
    return _of_arrow(catalogue.label_classes, arrow_table(columns))


def read_table(directory: Path) -> CatalogueTable:
    """The catalogue of a dataset: from its file, or where that is missing or old, from the shards.

    What was made from the shards is written beside them where that is possible.

    Raises:
        UsageError: the directory holds no finished dataset.
        ShardError: a shard is damaged, where they are read. A column of the file that cannot be
            read raises it when it is asked for.
    """
    import pyarrow.parquet as pq

    index, path = read_index(directory), directory / CATALOGUE_NAME
    if not is_current(directory, index):
        table = table_from_shards(directory, index)
        with contextlib.suppress(OutputError):
            write_arrow(path, table)
        return _of_arrow(index.label_classes, table)

    def column(name: str) -> Any:
        try:
            with pq.ParquetFile(path) as file:
                return file.read(columns=[name]).column(name)
        except (OSError, ValueError, LookupError) as error:
            raise _damaged(path, error) from error

    stages = content_stages(index.settings)
    return CatalogueTable(index.label_classes, index.examples, column, stages)


def write_catalogue(directory: Path, index: Index) -> None:
    """Write catalogue.parquet of the shards of an index; nothing where it is of them already.

    Raises:
        ShardError: a shard is missing, damaged, foreign or from the future.
        OutputError: it cannot be written.
    """
    if not is_current(directory, index):
        write_arrow(directory / CATALOGUE_NAME, table_from_shards(directory, index))


def is_current(directory: Path, index: Index) -> bool:
    """Whether there is a catalogue that can be read, and it is of the shards of the index."""
    import pyarrow.parquet as pq

    try:
        found = pq.read_metadata(directory / CATALOGUE_NAME)
    except (OSError, ValueError):
        # Not there, or no Parquet: in both cases it is made anew.
        return False
    digest = (found.metadata or {}).get(SHARDS_KEY, b"").decode()
    return bool(digest == shards_digest(index) and found.num_rows == index.examples)


def check_catalogue(directory: Path, index: Index) -> Iterator[Finding]:
    """Whether the catalogue, if there is one, says what the shards say; they must be sound."""
    import pyarrow.parquet as pq

    path = directory / CATALOGUE_NAME
    if not path.exists():
        return
    wanted = table_from_shards(directory, index)
    try:
        found = pq.read_table(path)
        differ = [name for name in wanted.column_names if wanted[name] != found[name]]
    except (OSError, ValueError, LookupError) as error:
        yield Finding("catalogue", CATALOGUE_NAME, " ".join(str(error).split()))
        return
    if not is_current(directory, index):
        yield Finding("catalogue", CATALOGUE_NAME, "it is of other shards than the index lists")
    elif differ:
        sentence = f"it differs from the shards in {', '.join(differ)}"
        yield Finding("catalogue", CATALOGUE_NAME, sentence)


def shards_digest(index: Index) -> str:
    """SHA-256 of what the catalogue is made from: the list of shards, and the classes' names."""
    shards = [asdict(shard) for shard in index.shards]
    return digest_of({"shards": shards, "label_classes": list(index.label_classes)})


def table_from_shards(directory: Path, index: Index) -> Any:
    """The `pyarrow.Table` that belongs into the file.

    Raises:
        ShardError: a shard is missing, damaged, foreign or from the future.
    """
    import pyarrow as pa

    parts = [arrow_table(_of_shard(directory / s.name, index)) for s in index.shards]
    empty = arrow_table(_no_rows(index))
    table = pa.concat_tables([empty, *parts]).combine_chunks()
    return table.replace_schema_metadata({SHARDS_KEY: shards_digest(index).encode()})


def arrow_table(columns: Mapping[str, Any]) -> Any:
    """Columns by their name in the file, as a `pyarrow.Table` with the types of the file."""
    import pyarrow as pa

    kinds = {**dict.fromkeys(TEXTS, pa.large_string()), **dict.fromkeys(TIMES, pa.float64())}
    return pa.table(
        {
            name: pa.array(values, kinds.get(name, _other_kind(pa, name)))
            for name, values in columns.items()
        }
    )


def _other_kind(pa: Any, name: str) -> Any:
    """A label is a bool; what remains is the digest of a stage."""
    return pa.bool_() if name.startswith(LABEL) else pa.binary(DIGEST_BYTES)


def content_stages(settings: PrepSettings) -> list[str]:
    """The stages whose digests are in the file: those that are made of video or sound."""
    return [stage.name for stage in stages_of(settings) if media_of(stage)]


def _of_shard(path: Path, index: Index) -> dict[str, Any]:
    with ShardReader(path) as reader:
        columns = {name: reader.column(place) for name, place in TEXTS.items()}
        columns |= {name: reader.column(name) for name in TIMES}
        label = reader.column("label").astype(bool)
        columns |= {LABEL + name: label[:, i] for i, name in enumerate(index.label_classes)}
        for name in content_stages(index.settings):
            columns[name] = [digest.tobytes() for digest in reader.column(f"digest/{name}")]
    return columns


def _no_rows(index: Index) -> dict[str, list[Any]]:
    labels = [LABEL + name for name in index.label_classes]
    return {name: [] for name in (*TEXTS, *TIMES, *labels, *content_stages(index.settings))}


def _of_arrow(label_classes: tuple[str, ...], table: Any) -> CatalogueTable:
    return CatalogueTable(label_classes, len(table), table.column, table.column_names)


def write_arrow(path: Path, table: Any) -> None:
    """Write a `pyarrow.Table` as catalogue.parquet is written: equal tables give equal bytes."""
    import pyarrow.parquet as pq

    repeated = ["recording_id", "speaker", "session"]
    with whole_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=_GROUP_ROWS,
            compression="zstd",
            use_dictionary=repeated,
            write_statistics=False,
        )


def _damaged(path: Path, error: Exception) -> ShardError:
    words = " ".join(str(error).split())
    return ShardError(f"{path} is damaged: {words}", "remove it; it is made anew from the shards")
