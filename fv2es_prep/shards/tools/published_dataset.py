"""What `fv2es push` sends of a dataset, and whether its licence permits it."""

from __future__ import annotations

import tempfile
from pathlib import Path

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.index import INDEX_NAME, Index, read_index
from fv2es_prep.shards.tools.export.shards_card import write_shards_card
from fv2es_prep.store.publication import NAME_IN_CARD, Publication
from fv2es_prep.store.shard_cache import dataset_directory

_USE = f"""
## Use

```sh
fv2es pull {NAME_IN_CARD} --out shards
fv2es train --shards shards --split split.json --out run
```
"""


def published_dataset(shards: Path, allowed: str = "") -> Publication:
    """Collect the files of the index, card and Croissant; no marks, reports, locks or run notes.

    Args:
        shards: dataset directory, or its URL.
        allowed: the publisher's sentence on why the licence permits it; if empty, the provenance in
            the index decides.

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
            "if you have the right to pass the data on, state why in a sentence for the card: "
            '--license-allows "..."',
        )
    names = [INDEX_NAME, *(shard.name for shard in index.shards), *index.files]
    for name in names:
        if not (directory / name).is_file():
            raise UsageError(
                f"{shards} has no file {name}, which its {INDEX_NAME} lists",
                f"run `fv2es shards verify {shards}` to find all damage",
            )
    with tempfile.TemporaryDirectory() as place:
        card, croissant = write_shards_card(directory, Path(place))
        text, described = card.read_text(encoding="utf-8"), croissant.read_bytes()
    if allowed:
        text += f"\n## Right to hand on\n\nThe publisher states: {allowed}\n"
    files = {name: directory / name for name in names}
    return Publication("shards", {**files, croissant.name: described}, text + _USE, licence)


def _licence(index: Index) -> str:
    said = [source.licence for source in index.provenance if source.licence]
    return " ".join(dict.fromkeys(said)) or f"The licence of {index.corpus} is unknown."
