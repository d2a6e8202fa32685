"""Corpora: one module for each, and the registry that finds them by name.

Nothing outside this package names a corpus. Another installed package adds one by an entry point
of the group ``fv2es.corpora`` whose object is a `Corpus`.
"""

from __future__ import annotations

from fv2es_prep.corpora.base import Corpus
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
"""The corpus whose classes a published checkpoint has, unless its user names others."""


def licence_of(dataset: str) -> str:
    """Licence of a dataset's corpus, or else of its variant; empty if unknown."""
    known = [name for name in (dataset, *dataset.split("-")) if name in CORPORA.names()]
    return next(filter(None, (CORPORA.load(name).licence for name in known)), "")


def corpus_of(dataset: str) -> Corpus:
    """The corpus of a dataset by the name that its shards store, ``NAME`` or ``VARIANT-NAME``.

    Raises:
        UsageError: no installed corpus has that name.
    """
    known = dataset in CORPORA.names()
    return CORPORA.load(dataset if known else dataset.rpartition("-")[2])
