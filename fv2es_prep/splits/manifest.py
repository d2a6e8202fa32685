"""Split manifests: utterance ids of train, valid and test as a JSON file."""

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
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_prep.utils.files import read_regular, whole_file
from fv2es_prep.utils.near import meant

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUBSETS = ("train", "valid", "test")
_FORMAT, _FORMAT_VERSION = "fv2es-split", "1.0"


@dataclass(frozen=True)
class Split:
    """A split of a dataset.

    Attributes:
        recipe: how it was made.
        parameters: parameters of the recipe, e.g. the seed.
        train: utterance ids to train on.
        valid: utterance ids that select the epoch and the thresholds.
        test: utterance ids for measurement only.
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
            SplitError: the subset is unknown.
        """
        if subset not in SUBSETS:
            raise SplitError(f"unknown subset {subset!r}", meant(subset, SUBSETS))
        ids: tuple[str, ...] = getattr(self, subset)
        return ids

    def digest(self) -> str:
        """SHA-256 of the sorted ids of each subset, in hexadecimal."""
        return digest_of({subset: sorted(self.ids(subset)) for subset in SUBSETS})


def repeats(ids: Sequence[str]) -> list[str]:
    """Each id that occurs more than once."""
    if len(set(ids)) == len(ids):
        return []
    return [name for name, occurrences in Counter(ids).items() if occurrences > 1]


def few(names: Sequence[str], most: int = 5) -> str:
    """The first few names, for a message."""
    return ", ".join(names[:most]) + (", …" if len(names) > most else "")


def class_counts(table: Catalogue, rows: NDArray[Any]) -> dict[str, int]:
    """Class -> number of utterances among rows; rows are numbers or a mask."""
    sums = table.label[rows].sum(axis=0, dtype=int)
    return dict(zip(table.label_classes, map(int, sums), strict=True))


def split_of_rows(
    table: Catalogue, recipe: str, parameters: dict[str, Any], rows: Sequence[NDArray[Any]]
) -> Split:
    """Make a split from rows of a catalogue, int (n,) for each of `SUBSETS`."""
    train, valid, test = (tuple(table.ids.take(chosen).to_pylist()) for chosen in rows)
    counts = {s: class_counts(table, chosen) for s, chosen in zip(SUBSETS, rows, strict=True)}
    return Split(recipe, parameters, train, valid, test, counts)


def rows_of(table: Catalogue, split: Split) -> dict[str, tuple[list[str], NDArray[np.int64]]]:
    """Subset -> ids that are not in the catalogue, and rows of the others."""
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = pa.array((*split.train, *split.valid, *split.test), pa.large_string())
    # One look-up for all subsets: hashing the catalogue's ids is costly.
    rows, begin, found = pc.index_in(ids, value_set=table.ids), 0, {}
    for subset in SUBSETS:
        length = len(split.ids(subset))
        part, begin = rows.slice(begin, length), begin + length
        missing = [split.ids(subset)[i] for i in np.flatnonzero(part.is_null().to_numpy(False))]
        found[subset] = missing, part.drop_null().to_numpy().astype(np.int64)
    return found


def write_split(split: Split, path: Path) -> str:
    """Write a manifest, and return its `Split.digest`.

    Raises:
        OutputError: the file cannot be written.
    """
    digest = split.digest()
    head: dict[str, Any] = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "recipe": split.recipe,
        "parameters": split.parameters,
        "digest": digest,
        "class_counts": split.class_counts,
    }
    text = json.dumps(head, indent=2, ensure_ascii=False, allow_nan=False).removesuffix("\n}")
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        for subset in SUBSETS:
            file.write(f',\n  "{subset}": {_list(split.ids(subset))}')
        file.write("\n}\n")
    return digest


def _list(ids: Sequence[str]) -> str:
    """A list in `json`'s indented form; json itself is slow for millions of ids."""
    lines = json.dumps(ids, ensure_ascii=False, separators=(",\n    ", ": "))
    return f"[\n    {lines[1:-1]}\n  ]" if ids else "[]"


def read_split(path: Path | str, allow_repeats: bool = False) -> Split:
    """Read a manifest; an audit accepts ids that occur more than once.

    Raises:
        SplitError: the file is missing, not a manifest, of a newer format, or repeats an id.
    """
    try:
        value = json.loads(read_regular(Path(path)))
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
            "build it with `fv2es splits build SHARDS --recipe random --out FILE`",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise SplitError(
            f"{path} is not a split manifest: {error!r}", "build it with `fv2es splits build`"
        ) from error
    if not allow_repeats and (again := repeats((*train, *valid, *test))):
        raise SplitError(
            f"{path} lists {len(again)} id(s) more than once, first {again[0]!r}",
            "list each utterance in one subset only; `fv2es splits audit` lists the repeated ids",
        )
    return split
