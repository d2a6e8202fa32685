"""Lists of ids, one on a line, as others publish splits.

Owns finding and reading the files. Leaves what becomes of the ids to `imported`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.errors import SplitError
from fv2es_prep.splits.manifest import SUBSETS

# What the name of a file has to hold.
_WORDS = {"train": ("train",), "valid": ("valid", "val", "dev"), "test": ("test",)}
_NAMED = 5
_HINT = "name a directory with a train, a valid and a test list, or the three files in this order"


@dataclass(frozen=True)
class Lists:
    """The lists as they were read.

    Attributes:
        ids: subset -> ids in the order of the file, each once.
        repeated: ids that came again within one list.
        shared: ids that are in two lists; the subset measured later keeps them (test, valid).
    """

    ids: dict[str, list[str]]
    repeated: tuple[str, ...]
    shared: tuple[str, ...]


def read_lists(places: Sequence[Path]) -> Lists:
    """Read a directory of three lists, or three files.

    Raises:
        SplitError: there are not three, or one cannot be read or is empty.
    """
    files = _files(places)
    read = {subset: _lines(path) for subset, path in files.items()}
    repeated = [i for lines in read.values() for i, n in Counter(lines).items() if n > 1]
    kept: dict[str, list[str]] = {}
    shared: list[str] = []
    taken: set[str] = set()
    for subset in reversed(SUBSETS):
        once = dict.fromkeys(read[subset])
        shared += [name for name in once if name in taken]
        kept[subset] = [name for name in once if name not in taken]
        taken.update(once)
    return Lists({s: kept[s] for s in SUBSETS}, tuple(repeated), tuple(dict.fromkeys(shared)))


def _files(places: Sequence[Path]) -> dict[str, Path]:
    paths = list(places)
    if len(paths) == 1 and paths[0].is_dir():
        paths = sorted(path for path in paths[0].iterdir() if path.is_file())
    found = {s: [p for p in paths if _subset_of(p) == s] for s in SUBSETS}
    if all(len(named) == 1 for named in found.values()):
        return {subset: named[0] for subset, named in found.items()}
    if len(places) == len(SUBSETS):
        return dict(zip(SUBSETS, places, strict=True))
    names = ", ".join(path.name for path in paths[:_NAMED]) or "nothing"
    raise SplitError(f"no three lists can be told apart in {names}", _HINT)


def _subset_of(path: Path) -> str | None:
    """The one subset whose word is in the name; of "test_of_train.txt" there is none."""
    name = path.name.lower()
    hits = [subset for subset, words in _WORDS.items() if any(word in name for word in words)]
    return hits[0] if len(hits) == 1 else None


def _lines(path: Path) -> list[str]:
    try:
        # utf-8-sig: a list that went through Windows begins with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SplitError(f"cannot read {path}: {error}", _HINT) from error
    lines = [line.strip() for line in text.splitlines()]
    if not any(lines):
        raise SplitError(f"{path} holds no ids", "one utterance or video id belongs on each line")
    return [line for line in lines if line]
