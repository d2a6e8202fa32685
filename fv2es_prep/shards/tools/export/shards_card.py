"""Writes what accompanies shards that are passed on: README.md and croissant.json."""

from __future__ import annotations

from pathlib import Path

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.catalogue_file import LABEL, RATING
from fv2es_prep.shards.index import CATALOGUE_NAME, INDEX_NAME, Index
from fv2es_prep.shards.tools.export.croissant import CROISSANT_NAME, write_croissant
from fv2es_prep.shards.tools.export.dataset_card import CARD_NAME, card_text
from fv2es_prep.shards.tools.export.small_columns import TEXTS, TIMES
from fv2es_prep.shards.tools.export.source import Export, ExportedField, Records
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.utils.files import make_directory, whole_file

_RECORDS = Records(CATALOGUE_NAME, "application/x-parquet")
_ENCODINGS = {".h5": "application/x-hdf5", ".json": "application/json"}
_LOAD = """\
from fv2es_prep.shards.reader import ShardReader

with ShardReader("DIR/{shard}") as reader:
    example = reader.read(0)"""


def write_shards_card(directory: Path, out: Path) -> list[Path]:
    """Write the card of a dataset of shards and the description of its files.

    Args:
        directory: the dataset directory.
        out: directory to write; paths in the description are as if the shards were there too.

    Returns:
        The paths of README.md and croissant.json.

    Raises:
        UsageError: the directory holds no finished dataset.
        ShardError: the index or dropped.jsonl is damaged.
        OutputError: the files cannot be written.
    """
    directory = dataset_directory(directory)
    source = Export(directory, read_catalogue(directory), out)
    index = source.index
    make_directory(out)
    with whole_file(out / CARD_NAME) as temporary:
        temporary.write_text(_text(source), encoding="utf-8")
    names = [*(shard.name for shard in index.shards), *sorted({CATALOGUE_NAME} & {*index.files})]
    described = {name: _ENCODINGS.get(Path(name).suffix, _RECORDS.encoding) for name in names}
    fields = _fields(index) if CATALOGUE_NAME in names else []
    described[INDEX_NAME] = _ENCODINGS[".json"]
    write_croissant(source, directory, described, _RECORDS, fields)
    return [out / CARD_NAME, out / CROISSANT_NAME]


def _text(source: Export) -> str:
    shard = next((shard.name for shard in source.index.shards), "SHARD.h5")
    return card_text(source, "HDF5 files of fv2es", _LOAD.format(shard=shard))


def _fields(index: Index) -> list[ExportedField]:
    return [
        *(ExportedField(name, "Text", meaning) for name, meaning in TEXTS.items()),
        *(ExportedField(name, "Float", meaning) for name, meaning in TIMES.items()),
        *(
            ExportedField(LABEL + name, "Integer", "1 if the class holds")
            for name in index.label_classes
        ),
        *(
            ExportedField(RATING + name, "Float", "rating; not a number where unknown")
            for name in index.rating_names
        ),
    ]
