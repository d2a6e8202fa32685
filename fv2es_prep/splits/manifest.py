"""Split manifests: named lists of utterance ids for train, valid and test, as a JSON file.

Owns the value and its file. Leaves how ids are chosen to `recipes` and `lists`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import digest_of
from fv2es_prep.errors import SplitError
from fv2es_prep.utils.files import whole_file

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.shards.table import CatalogueTable

SUBSETS = ("train", "valid", "test")
_FORMAT, _FORMAT_VERSION = "fv2es-split", "1.0"


@dataclass(frozen=True)
class Split:
    """A split of a dataset.

    Attributes:
        recipe: how it was made.
        parameters: the recipe's parameters, e.g. the seed.
        train: utterance ids to learn from.
        valid: utterance ids that choose the epoch and the thresholds.
        test: utterance ids that are measured and nothing else.
        class_counts: subset -> class -> number of utterances.
    """

    recipe: str
    parameters: dict[str, Any]
    train: tuple[str, ...]
    valid: tuple[str, ...]
    test: tuple[str, ...]
    class_counts: dict[str, dict[str, int]]

    def ids(self, subset: str) -> tuple[str, ...]:
        """The ids of a subset.

        Raises:
            SplitError: there is no subset of that name.
        """
        if subset not in SUBSETS:
            raise SplitError(f"there is no subset {subset!r}", f"name one of {', '.join(SUBSETS)}")
        ids: tuple[str, ...] = getattr(self, subset)
        return ids

    def digest(self) -> str:
        """SHA-256 of the sorted ids of each subset, in hexadecimal."""
        return digest_of({subset: sorted(self.ids(subset)) for subset in SUBSETS})


def few(ids: Sequence[str]) -> str:
    """The first five ids, for a message."""
    return ", ".join(ids[:5]) + (", …" if len(ids) > 5 else "")


def split_of_rows(
    table: CatalogueTable,
    recipe: str,
    parameters: dict[str, Any],
    rows: Sequence[NDArray[Any]],
) -> Split:
    """The split that holds these rows of a catalogue.

    Args:
        table: the catalogue.
        recipe: how the rows were chosen.
        parameters: of the recipe.
        rows: for each of `SUBSETS`, int (n,), in the order in which the manifest lists them.
    """
    train, valid, test = (tuple(table.ids.take(chosen).to_pylist()) for chosen in rows)
    counts = {}
    for subset, chosen in zip(SUBSETS, rows, strict=True):
        sums = table.label[chosen].sum(axis=0, dtype=int)
        counts[subset] = dict(zip(table.label_classes, map(int, sums), strict=True))
    return Split(recipe, parameters, train, valid, test, counts)


def places_of(table: CatalogueTable, split: Split) -> dict[str, tuple[Any, Any]]:
    """Where the ids of a split are in a catalogue.

    Returns:
        Subset -> its ids and their rows, `pyarrow.Array`; null where there is no row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = {subset: pa.array(split.ids(subset), pa.large_string()) for subset in SUBSETS}
    # All at once: the table of the catalogue's ids that this makes is the costly part.
    found = pc.index_in(pa.concat_arrays([*ids.values()]), value_set=table.ids)
    begins = np.cumsum([0, *map(len, ids.values())])
    return {s: (ids[s], found.slice(begins[i], len(ids[s]))) for i, s in enumerate(SUBSETS)}


def write_split(split: Split, path: Path) -> str:
    """Write a manifest.

    Returns:
        Its digest, see `Split.digest`.

    Raises:
        OutputError: the place cannot be written.
    """
    head: dict[str, Any] = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "recipe": split.recipe,
        "parameters": split.parameters,
        "digest": split.digest(),
        "class_counts": split.class_counts,
    }
    text = json.dumps(head, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        for subset in SUBSETS:
            file.write(f',\n  "{subset}": {_listed(split.ids(subset))}')
        file.write("\n}\n")
    digest: str = head["digest"]
    return digest


def _listed(ids: Sequence[str]) -> str:
    """A list as `json` indents it; that way itself is slow for millions."""
    if not ids:
        return "[]"
    lines = json.dumps(ids, ensure_ascii=False, separators=(",\n    ", ": "))
    return f"[\n    {lines[1:-1]}\n  ]"


def read_split(path: Path | str, allow_repeats: bool = False) -> Split:
    """Read a manifest.

    Args:
        path: the file.
        allow_repeats: take ids that are named twice, in order to tell of them.

    Raises:
        SplitError: it is not there, no manifest, from the future, or names an id twice.
    """
    try:
        value = json.loads(Path(path).read_text(encoding="utf-8"))
        if value["format"] != _FORMAT or value["format_version"].split(".")[0] != "1":
            raise SplitError(
                f"{path} is {value['format']!r} {value['format_version']}, expected "
                f"{_FORMAT!r} {_FORMAT_VERSION}",
                "build it with `fv2es splits build`, or install a newer fv2es",
            )
        train, valid, test = (tuple(map(str, value[subset])) for subset in SUBSETS)
        counts = value["class_counts"]
        split = Split(value["recipe"], value["parameters"], train, valid, test, counts)
    except OSError as error:
        raise SplitError(
            f"cannot read {path}: {error.strerror}",
            "make it with `fv2es splits build SHARDS --recipe random --out FILE`",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise SplitError(
            f"{path} is no split manifest: {error!r}", "build it with `fv2es splits build`"
        ) from error
    if not allow_repeats:
        _refuse_repeats(path, split)
    return split


def _refuse_repeats(path: Path | str, split: Split) -> None:
    every = [utterance for subset in SUBSETS for utterance in split.ids(subset)]
    if len(set(every)) == len(every):
        return
    repeated = [utterance for utterance, count in Counter(every).items() if count > 1]
    raise SplitError(
        f"{path} names {len(repeated)} id(s) more than once, first {repeated[0]!r}",
        "an utterance belongs to one subset only; `fv2es splits audit` tells of all",
    )
