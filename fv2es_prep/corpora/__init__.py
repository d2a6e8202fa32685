"""Corpus adapters: each module here knows the habits of one corpus, and nothing else does.

An adapter is a module with the two names of `CorpusAdapter`; a new corpus is one such file, one
line in `ADAPTERS` and one test. What is too much for one file is in others
that begin with its name. Where the published preparation of a corpus can be had, too, its module
says in ``PUBLISHED`` how that one goes.
"""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, cast

from fv2es_prep.config import DEFAULT_CORPUS, CorpusSettings
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.errors import UsageError
from fv2es_prep.types import Inventory

ADAPTERS: dict[str, str] = {
    "iemocap": "fv2es_prep.corpora.iemocap",
    "mosei": "fv2es_prep.corpora.mosei",
    "table": "fv2es_prep.corpora.table",
    "iemocap-processed": "fv2es_prep.corpora.processed",
    "mosei-processed": "fv2es_prep.corpora.processed",
}


@dataclass(frozen=True)
class Published:
    """How the published code prepares a corpus, where that differs from ours on purpose.

    Attributes:
        rule: which pictures are looked at; see `FrameSettings`.
        picture: what is looked at of one; see `CorpusSettings`.
    """

    rule: Literal["numbered", "thinned"]
    picture: Literal["whole", "published"] = "whole"


class CorpusAdapter(Protocol):
    """What the module of a corpus offers."""

    LABELS: tuple[str, ...]
    """The classes that are chosen where the user names none; empty: those that are found."""

    def scan(
        self, root: Path, choice: LabelChoice, settings: CorpusSettings = DEFAULT_CORPUS
    ) -> Inventory:
        """Read the corpus at ``root``: labels, transcripts and which media there are.

        Where `LABELS` is empty, the choice may name no class; the adapter then puts those in
        that it found.
        Where ``settings`` leave the source of the labels open, the inventory says which it is.
        """


def adapter(corpus: str) -> CorpusAdapter:
    """The adapter of a corpus, by its name in `ADAPTERS`."""
    return cast("CorpusAdapter", importlib.import_module(ADAPTERS[corpus]))


def published(corpus: str) -> Published:
    """How the published code prepares a corpus, by its name in `ADAPTERS`.

    Raises:
        UsageError: there is no published preparation of it from raw media.
    """
    found: Published | None = getattr(adapter(corpus), "PUBLISHED", None)
    if found is None:
        raise UsageError(
            f"--preset published: there is no published way from raw media to {corpus}",
            "it is offered by fv2es prep iemocap and fv2es prep mosei; leave the preset out",
        )
    return found
