"""The recipes: rules that put each utterance of a dataset into one subset, or into folds.

Owns the rules. Leaves dealing with classes in mind to `stratify`, what utterances are kept together
to `groups`, the file to `manifest`. No recipe depends on how the shards were cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.shards.catalogue import table_of
from fv2es_prep.shards.reader import Catalogue
from fv2es_prep.shards.table import CatalogueTable, Names
from fv2es_prep.splits import groups, stratify
from fv2es_prep.splits.manifest import SUBSETS, Split, split_of_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

RECIPES = ("random", "session", "speaker", "group")
SHARES = (0.7, 0.1, 0.2)
ALL = "all"


@dataclass(frozen=True)
class Rule:
    """A recipe with its parameters.

    Attributes:
        recipe: one of `RECIPES`.
        seed: decides what is drawn; leaving one session or speaker out draws nothing.
        shares: of train, valid and test; the session and speaker recipes do not use them.
        test: the session or speaker left out, by name or number; the last one where None.
        by: column that the group recipe keeps together, one of `groups.COLUMNS`.
        table: a file with the columns id and group, in the place of a column.
        stratify: deal so that the subsets have the same shares of each class.
        folds: number of folds; ``all`` for one for each group; None for a single split.
    """

    recipe: str = "random"
    seed: int = 0
    shares: tuple[float, ...] = SHARES
    test: str | None = None
    by: str | None = None
    table: Path | None = None
    stratify: bool = False
    folds: int | str | None = None

    def __post_init__(self) -> None:
        if self.recipe not in RECIPES:
            raise SplitError(
                f"there is no recipe {self.recipe!r}", f"name one of {', '.join(RECIPES)}"
            )
        sound = len(self.shares) == len(SUBSETS) and all(share > 0 for share in self.shares)
        if not sound or abs(sum(self.shares) - 1) > 1e-6:
            given = ",".join(f"{share:g}" for share in self.shares)
            raise SplitError(f"the shares are {given}", "give three that add up to 1: 0.7,0.1,0.2")
        if self.recipe != "group" and (self.by or self.table):
            raise SplitError(
                f"the recipe {self.recipe} keeps no group together", "use --recipe group"
            )
        if self.test is not None and self.recipe not in ("session", "speaker"):
            raise SplitError(
                f"the recipe {self.recipe} leaves none out by name", "use --recipe session"
            )
        if self.test is not None and self.folds is not None:
            raise SplitError("each fold leaves out another one", "name none, or take no --folds")
        if not (self.folds is None or self.folds == ALL or isinstance(self.folds, int)):
            raise SplitError(f"{self.folds!r} is no number of folds", "give a number, or all")
        if isinstance(self.folds, int) and self.folds < len(SUBSETS):
            raise SplitError(
                f"{self.folds} fold(s) are too few", "one is test, one valid: at least 3"
            )
        if self.folds == ALL and self.recipe == "random":
            raise SplitError(
                "the random recipe has no groups to make folds of", "give a number: --folds 5"
            )


def build_split(
    catalogue: Catalogue | CatalogueTable,
    recipe: str,
    seed: int = 0,
    test_session: str | None = None,
) -> Split:
    """Split a dataset by a recipe and its defaults.

    ``random`` draws utterances, 70 % train, 10 % valid, 20 % test, as the FV2ES paper does: the
    subsets share dialogues and speakers. ``session`` leaves one session out for test and takes
    the session before it (the last one before the first) for valid: no speaker is shared.

    Args:
        catalogue: the small columns of the dataset.
        recipe: one of `RECIPES`.
        seed: decides the random draw; the session recipe does not use it.
        test_session: name or number of the session left out; the last one where None.

    Raises:
        SplitError: an unknown recipe or session, or a subset would be empty.
    """
    test = test_session if recipe == "session" else None
    return next(build_splits(catalogue, Rule(recipe, seed, test=test)))


def build_splits(catalogue: Catalogue | CatalogueTable, rule: Rule) -> Iterator[Split]:
    """Split a dataset by a rule: one split, or one for each fold, made when it is asked for.

    In fold k the k-th part is test, the part before it (the last one before the first) valid, all
    others are train.

    Raises:
        SplitError: the rule does not fit the dataset, or a subset would be empty.
    """
    table = table_of(catalogue) if isinstance(catalogue, Catalogue) else catalogue
    if rule.recipe == "random":
        return _random(table, rule)
    names = groups.names_for(table, rule.recipe, rule.by, rule.table)
    if rule.recipe == "group" and rule.folds is None:
        parts = _deal_groups(table, names, rule, rule.shares)
        rows = [np.flatnonzero(parts == place) for place in range(len(SUBSETS))]
        return iter([_checked(table, rule, _parameters(rule, shares=list(rule.shares)), rows)])
    if rule.folds is None or rule.folds == ALL:
        return _leave_one_out(table, names, rule)
    count = int(rule.folds)
    if len(names.values) < count:
        _refuse_few(rule, names, count)
    return _folds(table, rule, _deal_groups(table, names, rule, (1 / count,) * count), count)


def _random(table: CatalogueTable, rule: Rule) -> Iterator[Split]:
    drawn = _drawn(table, rule.seed)
    if rule.folds is not None:
        count = int(rule.folds)
        parts = np.empty(len(table), np.int32)
        if rule.stratify:
            parts[drawn] = stratify.deal(table.label[drawn], (1 / count,) * count)
        else:
            for place, rows in enumerate(np.array_split(drawn, count)):
                parts[rows] = place
        return _folds(table, rule, parts, count)
    if rule.stratify:
        parts = stratify.deal(table.label[drawn], rule.shares)
        cuts = [drawn[parts == place] for place in range(len(SUBSETS))]
    else:
        train, valid = (round(share * len(drawn)) for share in rule.shares[:2])
        cuts = [drawn[:train], drawn[train : train + valid], drawn[train + valid :]]
    parameters = _parameters(rule, shares=list(rule.shares))
    return iter([_checked(table, rule, parameters, [np.sort(cut) for cut in cuts])])


def _drawn(table: CatalogueTable, seed: int) -> NDArray[np.int64]:
    """All rows in random order. Sorted by id first: the cut of the shards does not matter."""
    import pyarrow.compute as pc

    by_id = pc.sort_indices(table.ids).to_numpy().astype(np.int64)
    drawn: NDArray[np.int64] = by_id[np.random.default_rng(seed).permutation(len(by_id))]
    return drawn


def _deal_groups(
    table: CatalogueTable, names: Names, rule: Rule, shares: Sequence[float]
) -> NDArray[np.int32]:
    """The part of each row, int32 (N,), where groups stay together."""
    weights = stratify.weights_of(names.codes, len(names.values), table.label, rule.stratify)
    return stratify.deal_groups(weights, shares, rule.seed)[names.codes]


def _leave_one_out(table: CatalogueTable, names: Names, rule: Rule) -> Iterator[Split]:
    if rule.stratify:
        raise SplitError(
            f"leaving one {rule.recipe} out leaves nothing to stratify", "use --folds with a number"
        )
    if len(names.values) < len(SUBSETS):
        _refuse_few(rule, names, len(SUBSETS))
    if rule.folds == ALL:
        return _folds(table, rule, names.codes, len(names.values), names)
    wanted = names.values[-1] if rule.test is None else _named(rule, names.values)
    test = names.values.index(wanted)
    parameters = {
        f"test_{rule.recipe}": names.values[test],
        f"valid_{rule.recipe}": names.values[test - 1],
    }
    rows = _fold_rows(names.codes, test, len(names.values))
    return iter([_checked(table, rule, parameters, rows)])


def _folds(
    table: CatalogueTable,
    rule: Rule,
    parts: NDArray[np.int32],
    count: int,
    names: Names | None = None,
) -> Iterator[Split]:
    if not np.bincount(parts, minlength=count).all():
        raise SplitError(
            f"a fold of {len(table)} utterance(s) in {count} folds would be empty", "take fewer"
        )
    for fold in range(count):
        parameters = _parameters(rule, folds=count, fold=fold)
        if names is not None:
            held = {"test": names.values[fold], "valid": names.values[fold - 1]}
            parameters = {"folds": count, "fold": fold, **held}
            parameters |= {"by": _by(rule)} if rule.recipe == "group" else {}
        yield _checked(table, rule, parameters, _fold_rows(parts, fold, count))


def _fold_rows(parts: NDArray[np.int32], fold: int, count: int) -> list[NDArray[np.int64]]:
    test, valid = parts == fold, parts == (fold - 1) % count
    return [np.flatnonzero(mask) for mask in (~(test | valid), valid, test)]


def _parameters(rule: Rule, **more: Any) -> dict[str, Any]:
    parameters: dict[str, Any] = {"seed": rule.seed, **more}
    if rule.recipe == "group":
        parameters["by"] = _by(rule)
    if rule.stratify:
        parameters["stratify"] = True
    return parameters


def _by(rule: Rule) -> str:
    return rule.table.name if rule.table else rule.by or groups.COLUMNS[0]


def _checked(
    table: CatalogueTable,
    rule: Rule,
    parameters: dict[str, Any],
    rows: Sequence[NDArray[Any]],
) -> Split:
    for subset, chosen in zip(SUBSETS, rows, strict=True):
        if not len(chosen):
            raise SplitError(
                f"the {subset} subset of {len(table)} utterance(s) would be empty",
                "prepare more utterances, or choose another recipe",
            )
    return split_of_rows(table, rule.recipe, parameters, rows)


def _named(rule: Rule, values: Sequence[str]) -> str:
    for value in values:
        if rule.test in (value, value.removeprefix("Session")):
            return value
    named = ", ".join(values[:20]) + (", …" if len(values) > 20 else "")
    raise SplitError(f"there is no {rule.recipe} {rule.test!r}", f"the dataset has {named}")


def _refuse_few(rule: Rule, names: Names, least: int) -> None:
    named = ", ".join(names.values[:5]) + (", …" if len(names.values) > 5 else "")
    what = rule.recipe if rule.recipe != "group" else f"group of {_by(rule)}"
    raise SplitError(
        f"the dataset has {len(names.values)} {what}(s) ({named}), expected at least {least}",
        "use --recipe random, or prepare more sessions",
    )
