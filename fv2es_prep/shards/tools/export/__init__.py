"""Exports datasets in other forms, to train elsewhere: one module per form, and the registry.

Equal shards give equal bytes with the same libraries. `dataset.json` is written last: its presence
means complete. Another installed package adds a form by an entry point of the group
``fv2es.exports`` whose object is an `ExportFormat`.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.tools.export.croissant import CROISSANT_NAME, write_croissant
from fv2es_prep.shards.tools.export.dataset_card import CARD_NAME, export_card
from fv2es_prep.shards.tools.export.source import NO_SUBSETS, Export, ExportFormat, Subsets
from fv2es_prep.store.shard_cache import dataset_directory
from fv2es_prep.utils.files import make_directory, refuse_full, whole_file, write_json
from fv2es_prep.utils.registry import Registry

_HERE = "fv2es_prep.shards.tools.export"
FORMATS: Registry[ExportFormat] = Registry(
    "fv2es.exports",
    "format",
    {
        "datasets": f"{_HERE}.hub_dataset:DATASETS",
        "lhotse": f"{_HERE}.lhotse_cuts:LHOTSE",
        "parquet": f"{_HERE}.parquet_table:PARQUET",
        "webdataset": f"{_HERE}.tar_files:WEBDATASET",
    },
)
DESCRIPTION_NAME = "dataset.json"


def export(
    directory: Path,
    kind: str,
    out: Path,
    report: Callable[[int], None] = lambda _: None,
    subsets: Subsets = NO_SUBSETS,
) -> list[Path]:
    """Write a dataset in another form, with a card and a description of its files.

    Args:
        directory: the dataset directory.
        kind: a name of `FORMATS`.
        out: a new directory.
        report: called with the number of examples done since the last call.
        subsets: write each subset to files of its own and leave out all other examples; without
            subsets, write all examples.

    Returns:
        The paths written.

    Raises:
        UsageError: the format is unknown, the directory is not empty, or the subsets belong to
            another dataset.
        ShardError: a shard is missing or damaged.
        OutputError: the directory cannot be written.
    """
    form = FORMATS.load(kind)
    directory = dataset_directory(directory)
    catalogue = read_catalogue(directory)
    index = catalogue.index
    refuse_full(out)
    source = Export(directory, catalogue, out, report, subsets)
    make_directory(out)
    files = form.write(source)
    with whole_file(out / CARD_NAME) as temporary:
        temporary.write_text(export_card(source, form, files), encoding="utf-8")
    described = {file.name: form.records.file_encoding for file in files}
    write_croissant(source, out, described, form.records, form.fields(source))
    description = {
        "format": kind,
        "corpus": index.corpus,
        "examples": sum(file.examples for file in files),
        "label_classes": index.label_classes,
        "rating_names": index.rating_names,
        "settings": index.settings.to_json(),
        "files": {file.name: file.examples for file in files},
    }
    write_json(out / DESCRIPTION_NAME, description)
    names = (*(file.name for file in files), CARD_NAME, CROISSANT_NAME, DESCRIPTION_NAME)
    return [out / name for name in names]
