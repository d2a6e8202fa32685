"""Id lists, one id per line, the form in which splits are published.

Owns finding and reading the files. Leaves what becomes of the ids to `imported`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from fv2es_prep.errors import SplitError
from fv2es_prep.splits.manifest import SUBSETS, Split, few, read_split, repeats

# A file belongs to the subset whose word its name contains.
_WORDS = {"train": ("train",), "valid": ("valid", "val", "dev"), "test": ("test",)}
_HINT = "pass a directory with a train, a valid and a test list, or the three files in this order"


@dataclass(frozen=True)
class Lists:
    """Three id lists.

    Attributes:
        ids: subset -> distinct ids in file order.
        repeated: ids that occur twice in one list.
        shared: ids that occur in two lists; test keeps them, then valid.
    """

    ids: dict[str, list[str]]
    repeated: list[str]
    shared: list[str]


def read_lists(paths: Sequence[Path]) -> Lists:
    """Read a directory of three lists, or three files.

    Raises:
        SplitError: there are not three lists, or one is unreadable or empty.
    """
    lines = {subset: _read(path) for subset, path in _files(paths).items()}
    repeated = [name for ids in lines.values() for name in repeats(ids)]
    kept: dict[str, list[str]] = {}
    shared: list[str] = []
    taken: set[str] = set()
    for subset in reversed(SUBSETS):
        distinct = dict.fromkeys(lines[subset])
        shared += [name for name in distinct if name in taken]
        kept[subset] = [name for name in distinct if name not in taken]
        taken.update(distinct)
    return Lists({s: kept[s] for s in SUBSETS}, repeated, list(dict.fromkeys(shared)))


def read_split_or_lists(path: Path) -> Split:
    """Read a manifest, or a directory of three lists as a split without class counts.

    Raises:
        SplitError: see `read_split` and `read_lists`.
    """
    if not path.is_dir():
        return read_split(path)
    train, valid, test = (tuple(ids) for ids in read_lists([path]).ids.values())
    return Split("lists", {}, train, valid, test, {})


def _files(paths: Sequence[Path]) -> dict[str, Path]:
    files = list(paths)
    if len(files) == 1 and files[0].is_dir():
        files = sorted(path for path in files[0].iterdir() if path.is_file())
    found = {s: [path for path in files if _subset_of(path) == s] for s in SUBSETS}
    if all(len(named) == 1 for named in found.values()):
        return {subset: named[0] for subset, named in found.items()}
    if len(paths) == len(SUBSETS):
        return dict(zip(SUBSETS, paths, strict=True))
    names = few([path.name for path in files]) or "an empty directory"
    raise SplitError(f"expected one train, one valid and one test list, found {names}", _HINT)


def _subset_of(path: Path) -> str | None:
    """The only subset that the file name names; None for names such as "test_of_train.txt"."""
    name = path.name.lower()
    hits = [subset for subset, words in _WORDS.items() if any(word in name for word in words)]
    return hits[0] if len(hits) == 1 else None


def _read(path: Path) -> list[str]:
    try:
        # utf-8-sig: lists written on Windows start with a byte order mark.
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SplitError(f"cannot read {path}: {error}", _HINT) from error
    ids = [line.strip() for line in text.splitlines() if line.strip()]
    if not ids:
        raise SplitError(f"{path} is empty", "write one utterance or recording id per line")
    return ids
