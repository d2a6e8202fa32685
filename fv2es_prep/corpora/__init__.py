"""Corpora: one module for each, and the registry that finds them by name.

Nothing outside this package names a corpus. Another installed package adds one by an entry point
of the group ``fv2es.corpora`` whose object is a `Corpus`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fv2es_prep.corpora.base import Corpus, scan_raw
from fv2es_prep.corpora.inventory import EveryLabel
from fv2es_prep.types import Inventory
from fv2es_prep.utils.registry import Registry

CORPORA: Registry[Corpus] = Registry(
    "fv2es.corpora",
    "corpus",
    {
        "iemocap": "fv2es_prep.corpora.iemocap:IEMOCAP",
        "mosei": "fv2es_prep.corpora.mosei:MOSEI",
        "table": "fv2es_prep.corpora.table:TABLE",
        "processed": "fv2es_prep.corpora.processed:PROCESSED",
    },
)
PUBLISHED = "iemocap"
"""Corpus whose classes a published checkpoint has by default."""


def licence_of(dataset: str) -> str:
    """Licence of a dataset's corpus, otherwise of its variant; empty if unknown."""
    known = [name for name in (dataset, *dataset.split("-")) if name in CORPORA.names()]
    return next(filter(None, (CORPORA.load(name).licence for name in known)), "")


def corpus_of(dataset: str) -> Corpus:
    """The corpus of a dataset by the name that its shards store, ``NAME`` or ``VARIANT-NAME``.

    Raises:
        UsageError: no installed corpus has that name.
    """
    known = dataset in CORPORA.names()
    return CORPORA.load(dataset if known else dataset.rpartition("-")[2])


def scan_again(
    dataset: str, raw: Path, classes: Sequence[str], options: Mapping[str, Any]
) -> Inventory:
    """Scan the raw corpus of a dataset again, with every label in corpus words.

    Args:
        dataset: name of the corpus as stored in the dataset.
        raw: the corpus, or its URL.
        classes: the label columns of the dataset.
        options: options of the corpus as stored in the dataset.

    Raises:
        UsageError: no installed corpus has that name.
        CorpusError: the corpus does not exist or has an unexpected layout.
        StoreError: the store cannot be read.
    """
    corpus = corpus_of(dataset)
    return scan_raw(corpus, raw, EveryLabel(tuple(classes)), corpus.read_options(options))
