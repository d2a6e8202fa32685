"""The content of a recipe, a TOML file with a section for each step. Leaves steps to `steps`."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fv2es_prep.errors import SettingsError, UsageError
from fv2es_prep.splits.recipes import ALL, SHARES, Rule
from fv2es_prep.utils.configuration import given_values, resolve
from fv2es_prep.utils.files import refuse_url
from fv2es_prep.utils.near import meant
from fv2es_train.bench.bench_config import BenchConfig, rows_of
from fv2es_train.bench.protocol import preset_of, read_protocol
from pipelines.config import PrepConfig, prep_config

STEPS = ("prep", "split", "train", "eval", "table")
_HEAD = ("corpus", "out")
# Options of [train] that select the trainings; all others are options of `fv2es train`.
_TRAIN = ("protocol", "models", "modalities", "seeds", "features", "jobs")
_EVAL = ("metrics", "resamples")
_NOT_FOR_TRAIN = {
    "shards": "remove it; the step prep makes the shards",
    "split": "remove it; the section [split] sets the split",
    "out": "remove it; set `out` at the top of the recipe",
    "seed": "use `seeds`, e.g. seeds = [0, 1]",
    "overwrite": "remove it; the step train replaces runs whose inputs changed",
}


@dataclass(frozen=True)
class SplitConfig:
    """The split of a recipe; as `fv2es splits build`, or a file, or lists.

    Attributes:
        recipe: Recipe: random, session, speaker or group.
        folds: Number of folds; all: one for each session, speaker or group; session or speaker:
            leave each of them out once.
        seed: Seed of the draw.
        test_session: Session left out for test; empty: the last.
        test_speaker: Speaker left out for test; empty: the last.
        by: What group keeps together: recording_id, speaker, session.
        groups: CSV file id,group to keep together.
        shares: Shares of train, valid, test, for random and group.
        stratify: The same shares of each class in all subsets.
        allow_empty_class: Accept a subset that lacks a class.
        exclude: review.jsonl of `fv2es browse`: no subset gets what it excludes.
        file: Split manifest, or directory of folds, instead of a recipe.
        lists: Id lists to import, instead of a recipe: a directory, or three files.
    """

    recipe: Literal["random", "session", "speaker", "group"] | None = None
    folds: int | str | None = None
    seed: int = 0
    test_session: str = ""
    test_speaker: str = ""
    by: str | None = None
    groups: Path | None = None
    shares: tuple[float, ...] = SHARES
    stratify: bool = False
    allow_empty_class: bool = False
    exclude: Path | None = None
    file: Path | None = None
    lists: tuple[Path, ...] = ()

    def rule(self, excluded: Iterable[str] = ()) -> Rule:
        """The rule of `fv2es splits build`; SplitError if its values contradict each other."""
        recipe: str = self.recipe or "random"
        folds = self.folds
        if isinstance(folds, str) and folds in ("session", "speaker"):
            if self.recipe not in (None, folds):
                raise SettingsError(
                    f"recipe is {self.recipe!r}, but folds is {folds!r}", "remove `recipe`"
                )
            recipe, folds = folds, ALL
        elif isinstance(folds, str) and folds.isdecimal():
            folds = int(folds)
        return Rule(
            recipe=recipe,
            seed=self.seed,
            shares=self.shares,
            test=self.test_session or self.test_speaker or None,
            by=self.by,
            table=self.groups,
            stratify=self.stratify,
            folds=folds,
            allow_empty_class=self.allow_empty_class,
            exclude=tuple(excluded),
        )


@dataclass(frozen=True)
class TableConfig:
    """How the table is printed.

    Attributes:
        wide: Print one row per model.
    """

    wide: bool = False


@dataclass(frozen=True)
class Recipe:
    """A validated recipe.

    Attributes:
        path: the TOML file.
        out: directory for the output of all steps.
        prep: the preparation.
        split: the split.
        bench: the trainings and their table.
        wide: print one row per model.
    """

    path: Path
    out: Path
    prep: PrepConfig
    split: SplitConfig
    bench: BenchConfig
    wide: bool


def read_recipe(path: Path, sets: Iterable[str] = ()) -> Recipe:
    """Read a recipe.

    Args:
        path: the TOML file.
        sets: values that override the file's, e.g. ``train.epochs=3``.

    Raises:
        UsageError: the file cannot be read.
        SettingsError: an option is unknown or has an invalid value; the message names file and
            section.
    """
    sections = _sections(path, given_values(path, sets))
    head = sections[""]
    with _named(path, "top of the file"):
        for name in _HEAD:
            if not isinstance(head.get(name), str) or not head[name]:
                raise SettingsError(f"{name} is missing", f'add {name} = "..." at the top')
    out = Path(head["out"])
    refuse_url(out)
    with _named(path, "[prep]"):
        prep = prep_config(head["corpus"], **{"out": out / "shards", **sections["prep"]})
        refuse_url(prep.out)
    with _named(path, "[split]"):
        split = resolve(SplitConfig, sections["split"])
        split.rule()
    with _named(path, "[train]"):
        bench = _bench(out, prep.out, split, sections)
    with _named(path, "[table]"):
        wide = resolve(TableConfig, sections["table"]).wide
    return Recipe(path, out, prep, split, bench, wide)


def _sections(path: Path, given: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Section -> its values by path; the top of the file is the section ``""``."""
    found: dict[str, dict[str, Any]] = {name: {} for name in ("", *STEPS)}
    for option, value in given.items():
        section, dot, rest = option.partition(".")
        if dot and section in STEPS:
            found[section][rest] = value
        elif not dot and section in _HEAD:
            found[""][section] = value
        else:
            near = difflib.get_close_matches(section, (*_HEAD, *STEPS), 1)
            raise SettingsError(
                f"{path}: unknown option {option!r}",
                f"did you mean {near[0]}?"
                if near
                else f"use a section of {', '.join(STEPS)}; see docs/recipe.md",
            )
    return found


@contextmanager
def _named(path: Path, section: str) -> Iterator[None]:
    """Name the file and the section in an error about an option."""
    try:
        yield
    except UsageError as error:
        raise SettingsError(f"{path}, {section}: {error.sentence}", error.hint) from error


def _bench(
    out: Path, shards: Path, split: SplitConfig, sections: Mapping[str, Mapping[str, Any]]
) -> BenchConfig:
    given: dict[str, Any] = {"shards": shards, "out": out / "bench"}
    for option, value in sections["train"].items():
        if option.partition(".")[0] in _NOT_FOR_TRAIN:
            name = option.partition(".")[0]
            raise SettingsError(f"{name} cannot be set in this section", _NOT_FOR_TRAIN[name])
        given[option if option in _TRAIN else f"train.{option}"] = value
    for option, value in sections["eval"].items():
        if option not in _EVAL:
            raise SettingsError(f"unknown option eval.{option}", meant(option, _EVAL))
        given[option] = value
    protocol = given.get("protocol")
    if not (protocol and read_protocol(protocol).split.recipe):
        given["split"] = split.file or out / ("folds" if split.folds is not None else "split.json")
    elif sections["split"]:
        raise SettingsError(f"the protocol {protocol} makes its own split", "remove [split]")
    bench = resolve(BenchConfig, given, preset_of(given))
    # Reject bad options of training now, not after hours of preparation.
    rows_of(bench, (out / "split.json",))
    return bench
