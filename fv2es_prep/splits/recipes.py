"""Recipes: rules that put each utterance of a dataset into one subset, or into folds.

Leaves dealing to `stratify`. No recipe depends on how utterances are distributed over shards.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import Catalogue, Names, names_of
from fv2es_prep.splits import stratify
from fv2es_prep.splits.manifest import SUBSETS, Split, few, repeats, split_of_rows
from fv2es_prep.utils.files import why_unreadable
from fv2es_prep.utils.near import meant

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECIPES = ("random", "session", "speaker", "group")
SHARES = (0.7, 0.1, 0.2)
ALL = "all"
# Column of the catalogue -> attribute of a `Catalogue`.
_COLUMNS = {"recording_id": "recordings", "speaker": "speakers", "session": "sessions"}


@dataclass(frozen=True)
class Rule:
    """A recipe with its parameters.

    Attributes:
        recipe: one of `RECIPES`.
        seed: random seed; unused where one session or speaker is left out.
        shares: of train, valid and test, for random and group.
        test: name or number of the session or speaker to leave out; the last one if None.
        by: column of the group recipe: ``recording_id``, ``speaker`` or ``session``.
        table: CSV file with the columns id and group, instead of a column.
        stratify: balance the classes of the subsets.
        folds: number of folds; ``all`` for one per group; None for a single split.
        allow_empty_class: accept a subset without an utterance of some class.
        exclude: utterances to leave out of all subsets; the others keep their subsets.
    """

    recipe: str = "random"
    seed: int = 0
    shares: tuple[float, ...] = SHARES
    test: str | None = None
    by: str | None = None
    table: Path | None = None
    stratify: bool = False
    folds: int | str | None = None
    allow_empty_class: bool = False
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        recipe, folds, shares = self.recipe, self.folds, self.shares
        named = recipe in ("session", "speaker")
        if recipe not in RECIPES:
            raise SplitError(f"unknown recipe {recipe!r}", meant(recipe, RECIPES))
        if len(shares) != len(SUBSETS) or min(shares) <= 0 or abs(sum(shares) - 1) > 1e-6:
            raise SplitError(
                f"invalid shares {shares}", "pass three numbers that sum to 1: 0.7,0.1,0.2"
            )
        if recipe != "group" and (self.by or self.table):
            raise SplitError(f"the recipe {recipe} does not use groups", "use --recipe group")
        if self.test is not None and not named:
            raise SplitError(f"the recipe {recipe} has no test group", "use --recipe session")
        if self.test is not None and folds is not None:
            raise SplitError("a test group conflicts with folds", "remove --folds")
        if not (folds is None or folds == ALL or isinstance(folds, int)):
            raise SplitError(f"invalid number of folds {folds!r}", "pass a number, or all")
        if isinstance(folds, int) and folds < len(SUBSETS):
            raise SplitError(f"{folds} fold(s) are too few", "pass 3 or more: one test, one valid")
        if folds == ALL and recipe == "random":
            raise SplitError(
                "the random recipe has no groups for folds", "pass a number: --folds 5"
            )
        if self.stratify and (folds == ALL or (named and folds is None)):
            raise SplitError(f"leaving one {recipe} out cannot be stratified", "pass --folds K")


def build_splits(table: Catalogue, rule: Rule) -> Iterator[Split]:
    """Split a dataset by a rule: one split, or one per fold, each made on demand.

    ``random`` draws utterances: the subsets share dialogues and speakers. ``session`` and
    ``speaker`` share no speaker. In fold k part k is test, the part before it (the last one before
    the first) is valid, and all others are train.

    Raises:
        SplitError: the rule does not fit the dataset, or a subset or class would be empty.
    """
    names = _names(table, rule)
    single = rule.folds is None
    if names is not None and (rule.folds == ALL or (single and rule.recipe != "group")):
        _require_groups(rule, names, len(SUBSETS))
        return _leave_one_out(table, names, rule)
    if single:
        parts = _deal(table, names, rule, rule.shares)
        rows = [np.flatnonzero(parts == place) for place in range(len(SUBSETS))]
        return iter([_split(table, rule, _parameters(rule, shares=list(rule.shares)), rows)])
    count = int(rule.folds or 0)
    if names is not None:
        _require_groups(rule, names, count)
    parts = _deal(table, names, rule, (1 / count,) * count)
    parameters = [_parameters(rule, folds=count, fold=fold) for fold in range(count)]
    return _folds(table, rule, parts, parameters)


def _names(table: Catalogue, rule: Rule) -> Names | None:
    """The group of each row; None for the random recipe."""
    if rule.recipe == "random":
        return None
    if rule.table is not None:
        return _read_groups(table, rule.table)
    return _group_names(table, _by(rule) if rule.recipe == "group" else rule.recipe)


def _group_names(table: Catalogue, column: str) -> Names:
    if column not in _COLUMNS:
        raise SplitError(
            f"unknown group column {column!r}",
            meant(
                column,
                _COLUMNS,
                f"choose from {', '.join(_COLUMNS)}, or pass a CSV file with --groups",
            ),
        )
    found: Names = getattr(table, _COLUMNS[column])
    if unknown := int((~found.known).sum()):
        raise SplitError(
            f"the {column} of {unknown} utterance(s) is unknown",
            "use --recipe group --by recording_id, or pass a CSV file with --groups",
        )
    return found


def _read_groups(table: Catalogue, path: Path) -> Names:
    """The group of each row, from a CSV file with the columns id and group."""
    import pyarrow.compute as pc

    ids, values = _read_csv(path)
    if again := repeats(ids.to_pylist()):
        raise SplitError(
            f"{path} lists {len(again)} id(s) more than once, first {again[0]!r}",
            "give each utterance one group",
        )
    rows = pc.index_in(table.ids, value_set=ids)
    if rows.null_count:
        first = table.ids.filter(rows.is_null())[0].as_py()
        raise SplitError(
            f"{path} has no group for {rows.null_count} utterance(s), first {first!r}",
            "give every utterance of the dataset a group",
        )
    return names_of(values.take(rows))


def _read_csv(path: Path) -> list[Any]:
    import pyarrow as pa
    from pyarrow import csv

    if problem := why_unreadable(path):
        raise SplitError(f"cannot read {path}: {problem[1]}", "pass a CSV file with --groups")
    types = {"id": pa.large_string(), "group": pa.large_string()}
    # An id such as NA must not become a missing value.
    options = csv.ConvertOptions(column_types=types, include_columns=[*types], null_values=[])
    try:
        table = csv.read_csv(path, convert_options=options)
    except (OSError, ValueError, LookupError) as error:
        raise SplitError(
            f"cannot read {path}: {' '.join(str(error).split())}",
            "write a CSV file with the columns id and group in its first line",
        ) from error
    return [column.combine_chunks() for column in table.columns]


def _deal(
    table: Catalogue, names: Names | None, rule: Rule, shares: Sequence[float]
) -> NDArray[np.int32]:
    """The part of each row, int32 (N,)."""
    if names is not None:
        label = table.label if rule.stratify else None
        return stratify.deal_groups(names.codes, shares, rule.seed, label)
    drawn = _drawn(table, rule.seed)
    parts = np.empty(len(table), np.int32)
    if rule.stratify:
        parts[drawn] = stratify.deal(table.label[drawn], shares)
    elif rule.folds is None:
        cuts = np.cumsum([round(share * len(drawn)) for share in shares[:-1]])
        parts[drawn] = np.searchsorted(cuts, np.arange(len(drawn)), "right")
    else:
        for part, rows in enumerate(np.array_split(drawn, len(shares))):
            parts[rows] = part
    return parts


def _drawn(table: Catalogue, seed: int) -> NDArray[np.int64]:
    """All rows in random order; sorted by id first, so the order of shards has no effect."""
    import pyarrow.compute as pc

    by_id = pc.sort_indices(table.ids).to_numpy().astype(np.int64)
    drawn: NDArray[np.int64] = by_id[np.random.default_rng(seed).permutation(len(by_id))]
    return drawn


def _leave_one_out(table: Catalogue, names: Names, rule: Rule) -> Iterator[Split]:
    """One split per group, or the split of the one test session or speaker."""
    values = names.values
    if rule.folds == ALL:
        by = {"by": _by(rule)} if rule.recipe == "group" else {}
        parameters = [
            {"folds": len(values), "fold": fold, "test": value, "valid": values[fold - 1], **by}
            for fold, value in enumerate(values)
        ]
        return _folds(table, rule, names.codes, parameters)
    test = len(values) - 1 if rule.test is None else _place(rule, values)
    chosen = {f"test_{rule.recipe}": values[test], f"valid_{rule.recipe}": values[test - 1]}
    return iter([_split(table, rule, chosen, _fold_rows(names.codes, test, len(values)))])


def _place(rule: Rule, values: Sequence[str]) -> int:
    """Index of the session or speaker that is test."""
    for place, value in enumerate(values):
        if rule.test in (value, value.removeprefix("Session")):
            return place
    raise SplitError(
        f"unknown {rule.recipe} {rule.test!r}",
        meant(str(rule.test), values, f"choose from {few(values, 20)}"),
    )


def _folds(
    table: Catalogue, rule: Rule, parts: NDArray[np.int32], parameters: list[dict[str, Any]]
) -> Iterator[Split]:
    count = len(parameters)
    if not np.bincount(parts, minlength=count).all():
        raise SplitError(
            f"one of {count} folds of {len(table)} utterance(s) would be empty", "pass fewer folds"
        )
    for fold, chosen in enumerate(parameters):
        yield _split(table, rule, chosen, _fold_rows(parts, fold, count))


def _fold_rows(parts: NDArray[np.int32], fold: int, count: int) -> list[NDArray[np.int64]]:
    test, valid = parts == fold, parts == (fold - 1) % count
    return [np.flatnonzero(mask) for mask in (~(test | valid), valid, test)]


def _parameters(rule: Rule, **more: Any) -> dict[str, Any]:
    by = {"by": _by(rule)} if rule.recipe == "group" else {}
    stratified = {"stratify": True} if rule.stratify else {}
    return {"seed": rule.seed, **more, **by, **stratified}


def _by(rule: Rule) -> str:
    return rule.table.name if rule.table else rule.by or "recording_id"


def _split(
    table: Catalogue, rule: Rule, parameters: dict[str, Any], rows: Sequence[NDArray[Any]]
) -> Split:
    if rule.exclude:
        out = table.rows_of(rule.exclude)
        rows = [np.setdiff1d(chosen, out) for chosen in rows]
        parameters = {**parameters, "excluded": int((out >= 0).sum())}
    for subset, chosen in zip(SUBSETS, rows, strict=True):
        if not len(chosen):
            raise SplitError(
                f"the {subset} subset of {len(table)} utterance(s) would be empty",
                "prepare more utterances, or choose another --recipe",
            )
    split = split_of_rows(table, rule.recipe, parameters, rows)
    for subset, counts in split.class_counts.items():
        empty = [name for name, count in counts.items() if not count]
        if empty and not rule.allow_empty_class:
            raise SplitError(
                f"the {subset} subset has no utterance of the class {few(empty)}",
                "pass --stratify or --allow-empty-class, or choose another --recipe",
            )
    return split


def _require_groups(rule: Rule, names: Names, least: int) -> None:
    unit = rule.recipe if rule.recipe != "group" else f"group of {_by(rule)}"
    if len(names.values) < least:
        raise SplitError(
            f"the dataset has {len(names.values)} {unit}(s) ({few(names.values)}), "
            f"expected at least {least}",
            "use --recipe random, or prepare more sessions",
        )
