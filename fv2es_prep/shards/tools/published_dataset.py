"""What `fv2es push` sends of a dataset, and whether its licence permits that."""

from __future__ import annotations

from pathlib import Path

from fv2es_prep import __version__
from fv2es_prep.errors import UsageError
from fv2es_prep.shards.index import INDEX_NAME, Index, read_index
from fv2es_prep.store.publication import Publication
from fv2es_prep.store.shard_cache import dataset_directory

_CARD = """\
---
license: {spdx}
tags:
- emotion-recognition
- multimodal
- fv2es
---

# {corpus}, prepared by fv2es

{examples} utterances in {shards} shards ({size:.1f} MB), with words, the classes {classes}, and
the columns of the stages {stages}. Prepared with fv2es {version}; the format is `fv2es-shard`
{format_version}.

## Licence of the data

{licence}

## Use

```sh
fv2es pull OWNER/NAME --out shards
fv2es shards verify shards
fv2es train --shards shards --split split.json --out run
```

## What it is not for

The labels say how raters judged a clip, not what a person felt. Do not use them for decisions about
people: hiring, teaching, policing, health or credit.
"""


def published_dataset(shards: Path, allowed: str = "") -> Publication:
    """The files that the index names, and a card; no marks, reports, locks or notes of runs.

    Args:
        shards: dataset directory, or its URL.
        allowed: the publisher's own words on why the licence permits it; empty: only what
            the provenance in the index permits.

    Raises:
        UsageError: the licence does not permit it, or a file is missing.
        ShardError: the index is damaged.
    """
    directory = dataset_directory(shards)
    index = read_index(directory)
    licence = _licence(index)
    if allowed:
        licence = f"{licence} The publisher states: {allowed}"
    elif not index.may_be_handed_on:
        raise UsageError(
            f"{shards} is not sent: {licence}",
            "if you have the right to pass the data on, say why in a sentence for the card: "
            '--license-allows "..."',
        )
    names = [INDEX_NAME, *(shard.name for shard in index.shards), *index.files]
    files = {name: directory / name for name in names}
    for name, path in files.items():
        if not path.is_file():
            raise UsageError(
                f"{shards} lacks {name}, which its {INDEX_NAME} names",
                f"find out what else is wrong: fv2es shards verify {shards}",
            )
    return Publication("shards", files, _card(index, licence), licence)


def _licence(index: Index) -> str:
    said = [source.licence for source in index.provenance if source.licence]
    return " ".join(dict.fromkeys(said)) or f"The licence of {index.corpus} is not known."


def _spdx(index: Index) -> str:
    """The one licence as the Hub writes it, else ``other``."""
    known = {source.spdx.casefold() for source in index.provenance}
    return known.pop() if len(known) == 1 and all(known) else "other"


def _card(index: Index, licence: str) -> str:
    return _CARD.format(
        corpus=" + ".join(source.name for source in index.provenance) or index.corpus,
        spdx=_spdx(index),
        examples=index.examples,
        shards=len(index.shards),
        stages=", ".join(index.settings.stages),
        size=index.size_bytes / 1e6,
        classes=", ".join(index.label_classes),
        version=__version__,
        format_version=index.format_version,
        licence=licence,
    )
