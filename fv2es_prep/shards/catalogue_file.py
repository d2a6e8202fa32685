"""catalogue.parquet: writes and reads its columns, and checks that it belongs to an index.

Leaves the columns in memory to `catalogue`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.config import MODALITIES, PrepSettings, digest_of
from fv2es_prep.errors import ShardError
from fv2es_prep.shards.index import CATALOGUE_NAME, Index
from fv2es_prep.shards.opening import regular_size
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import DIGEST_BYTES, MISSING
from fv2es_prep.stages.registry import media_of, stages_of
from fv2es_prep.stages.stage_rows import counted_columns, sums_of
from fv2es_prep.utils.files import sha256_of, whole_file

SHARDS_KEY = b"fv2es.shards_digest"
TEXTS = ("id", "recording_id", "speaker", "session", "text")
TIMES = ("start_s", "end_s")
# Prefixes of the columns of classes, ratings and counts.
LABEL, RATING, COUNT = "label/", "rating/", "count/"
# Rows of a row group; fixed, so that equal datasets give equal bytes.
_GROUP_ROWS = 1 << 20
_REPEATED = ("recording_id", "speaker", "session", *MISSING.values())
# Bytes that a file or column may have beyond the size of all shards: headers.
_SLACK_BYTES = 1 << 20


def read_column(path: Path, name: str, index: Index) -> Any:
    """Read a column; ValueError if it has nulls or needs more memory than the shards' bytes."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    most_bytes = index.size_bytes + _SLACK_BYTES
    metadata = pq.read_metadata(path)
    place = metadata.schema.to_arrow_schema().names.index(name)
    groups = [metadata.row_group(n).column(place) for n in range(metadata.num_row_groups)]
    size = sum(group.total_uncompressed_size for group in groups)
    # A text that is stored once may be in every row.
    folded = [name] if name in _REPEATED or any(g.has_dictionary_page for g in groups) else None
    if size <= most_bytes:
        with pq.ParquetFile(path, metadata=metadata, read_dictionary=folded) as file:
            found = file.read(columns=[name], use_threads=False).column(name)
        for chunk in found.chunks if pa.types.is_dictionary(found.type) else ():
            lengths = pc.binary_length(chunk.dictionary)
            size += pc.sum(lengths.take(chunk.indices)).as_py() or 0
        if size <= most_bytes and not found.null_count:
            return found
    raise ValueError(f"its column {name} has nulls, or more bytes than the shards")


def is_current(directory: Path, index: Index) -> bool:
    """Whether the file is undamaged, belongs to the shards of the index and has every column."""
    import pyarrow.parquet as pq

    path = directory / CATALOGUE_NAME
    try:
        if regular_size(path) > index.size_bytes + _SLACK_BYTES:
            return False
        if index.files.get(CATALOGUE_NAME) not in (None, sha256_of(path)):
            return False
        found = pq.read_metadata(path)
        schema = found.schema.to_arrow_schema()
    except (ShardError, OSError, ValueError):
        return False
    types = dict(zip(schema.names, schema.types, strict=True))
    wanted = column_names(index).items()
    return is_of(found.metadata, found.num_rows, index) and wanted <= types.items()


def is_of(metadata: Mapping[bytes, bytes] | None, rows: int, index: Index) -> bool:
    """Whether a file with this metadata belongs to the shards of the index."""
    digest = (metadata or {}).get(SHARDS_KEY, b"").decode()
    return digest == shards_digest(index) and rows == index.examples


def shards_digest(index: Index) -> str:
    """SHA-256 of what the catalogue is made from: list of shards and names of classes."""
    shards = [vars(shard) for shard in index.shards]
    return digest_of({"shards": shards, "label_classes": list(index.label_classes)})


def column_names(index: Index) -> dict[str, Any]:
    """Column of the file -> its `pyarrow.DataType`."""
    import pyarrow as pa

    counted = counted_columns(index.settings)
    return {
        **dict.fromkeys(TEXTS, pa.large_string()),
        **dict.fromkeys(TIMES, pa.float64()),
        **dict.fromkeys(MISSING.values(), pa.large_string()),
        **{LABEL + name: pa.bool_() for name in index.label_classes},
        **{RATING + name: pa.float32() for name in index.rating_names},
        **dict.fromkeys(content_stages(index.settings), pa.binary(DIGEST_BYTES)),
        **{COUNT + name: pa.int64() for name in counted},
    }


def table_from_shards(directory: Path, index: Index, rows: Mapping[str, bytes] = {}) -> Any:
    """Make the `pyarrow.Table` of the file.

    Args:
        directory: the dataset.
        index: its index.
        rows: name of a shard -> result of `rows_of_shard`; these shards are not opened.

    Raises:
        ShardError: a shard is missing, damaged, foreign or of a newer format.
    """
    import pyarrow as pa

    schema = pa.schema(column_names(index), {SHARDS_KEY: shards_digest(index).encode()})
    parts = []
    for entry in index.shards:
        known = rows.get(entry.name)
        part = pa.ipc.open_stream(known).read_all() if known else None
        if part is None or not part.schema.equals(schema) or len(part) != entry.examples:
            reader = ShardReader(directory / entry.name, index=index)
            part = pa.table(_of_shard(reader, index), schema)
        parts.append(part.replace_schema_metadata(schema.metadata))
    return pa.concat_tables([schema.empty_table(), *parts]).combine_chunks()


def rows_of_shard(path: Path, index: Index) -> bytes:
    """Rows of one shard as a compressed Arrow stream; uses only the head of the index.

    Raises:
        ShardError: the shard is missing, damaged, foreign or of a newer format.
    """
    import pyarrow as pa

    schema = pa.schema(column_names(index))
    sink = pa.BufferOutputStream()
    options = pa.ipc.IpcWriteOptions(compression="zstd")
    with pa.ipc.new_stream(sink, schema, options=options) as stream:
        stream.write_table(pa.table(_of_shard(ShardReader(path), index), schema))
    return bytes(sink.getvalue())


def content_stages(settings: PrepSettings) -> list[str]:
    """The stages whose digests are in the file: those made from video or sound."""
    return [stage.name for stage in stages_of(settings) if media_of(stage)]


def _of_shard(shard: ShardReader, index: Index) -> dict[str, Any]:
    with shard as reader:
        columns = {name: reader.column(name) for name in (*TEXTS, *TIMES)}
        some = index.settings.require != MODALITIES
        for name in MISSING.values():
            columns[name] = reader.column(name) if some else [""] * len(reader)
        label = reader.column("label").astype(bool)
        columns |= {LABEL + name: label[:, i] for i, name in enumerate(index.label_classes)}
        rating = reader.column("ratings")
        columns |= {RATING + name: rating[:, i] for i, name in enumerate(index.rating_names)}
        for name in content_stages(index.settings):
            columns[name] = [digest.tobytes() for digest in reader.column(f"digest/{name}")]
        for name, (offsets, ones) in counted_columns(index.settings).items():
            place = reader.column(offsets)
            counts = sums_of(reader.column(ones), place) if ones else np.diff(place)
            columns[COUNT + name] = counts
    return columns


def write_arrow(path: Path, table: Any) -> None:
    """Write a `pyarrow.Table` in the form of catalogue.parquet; equal tables give equal bytes."""
    import pyarrow.parquet as pq

    with whole_file(path) as temporary:
        pq.write_table(
            table,
            temporary,
            row_group_size=_GROUP_ROWS,
            compression="zstd",
            use_dictionary=list(_REPEATED),
            write_statistics=False,
        )
