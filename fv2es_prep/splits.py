"""Split manifests: named lists of utterance ids for train, valid and test.

Owns the recipes and the manifest file. Shards know nothing of it: a new split costs no rebuild.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import SplitError
from fv2es_prep.files import write_json
from fv2es_prep.settings import digest_of

if TYPE_CHECKING:
    from fv2es_prep.shards.reader import Catalogue

SUBSETS = ("train", "valid", "test")
RECIPES = ("random", "session")
SHARES = (0.7, 0.1, 0.2)
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


def build_split(
    catalogue: Catalogue, recipe: str, seed: int = 0, test_session: str | None = None
) -> Split:
    """Split a dataset by a recipe.

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
    if recipe == "random":
        places, parameters = _random(catalogue, seed), {"seed": seed, "shares": list(SHARES)}
    elif recipe == "session":
        places, parameters = _by_session(catalogue, test_session)
    else:
        raise SplitError(f"there is no recipe {recipe!r}", f"name one of {', '.join(RECIPES)}")
    for subset, rows in zip(SUBSETS, places, strict=True):
        if not len(rows):
            raise SplitError(
                f"the {subset} subset of {len(catalogue.ids)} utterance(s) would be empty",
                "prepare more utterances, or choose another recipe",
            )
    train, valid, test = (tuple(catalogue.ids[row] for row in rows) for rows in places)
    counts = {s: _class_counts(catalogue, rows) for s, rows in zip(SUBSETS, places, strict=True)}
    return Split(recipe, parameters, train, valid, test, counts)


def write_split(split: Split, path: Path) -> None:
    """Write a manifest."""
    value = {
        "format": _FORMAT,
        "format_version": _FORMAT_VERSION,
        "recipe": split.recipe,
        "parameters": split.parameters,
        "digest": split.digest(),
        "class_counts": split.class_counts,
        **{subset: split.ids(subset) for subset in SUBSETS},
    }
    write_json(path, value)


def read_split(path: Path | str) -> Split:
    """Read a manifest.

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
    _refuse_repeats(path, [*train, *valid, *test])
    return split


def _refuse_repeats(path: Path | str, ids: Sequence[str]) -> None:
    repeated = [utterance for utterance, count in Counter(ids).items() if count > 1]
    if repeated:
        raise SplitError(
            f"{path} names {len(repeated)} id(s) more than once, first {repeated[0]!r}",
            "an utterance belongs to one subset only",
        )


def _random(catalogue: Catalogue, seed: int) -> list[list[int]]:
    # Sorted by id first: the draw does not depend on how the shards were cut.
    by_id = sorted(range(len(catalogue.ids)), key=catalogue.ids.__getitem__)
    drawn = np.random.default_rng(seed).permutation(len(by_id))
    train, valid = (round(share * len(by_id)) for share in SHARES[:2])
    cuts = (drawn[:train], drawn[train : train + valid], drawn[train + valid :])
    return [sorted(by_id[place] for place in cut) for cut in cuts]


def _by_session(
    catalogue: Catalogue, test_session: str | None
) -> tuple[list[list[int]], dict[str, Any]]:
    sessions = sorted(set(catalogue.sessions))
    if len(sessions) < 3:
        raise SplitError(
            f"the dataset has {len(sessions)} session(s) ({', '.join(sessions)}), expected at "
            "least 3",
            "use --recipe random, or prepare more sessions",
        )
    test = sessions[-1] if test_session is None else _session_named(sessions, test_session)
    valid = sessions[sessions.index(test) - 1]
    places: dict[str, list[int]] = {subset: [] for subset in SUBSETS}
    for row, session in enumerate(catalogue.sessions):
        subset = "test" if session == test else "valid" if session == valid else "train"
        places[subset].append(row)
    return list(places.values()), {"test_session": test, "valid_session": valid}


def _session_named(sessions: Sequence[str], wanted: str) -> str:
    for session in sessions:
        if wanted in (session, session.removeprefix("Session")):
            return session
    raise SplitError(f"there is no session {wanted!r}", f"the dataset has {', '.join(sessions)}")


def _class_counts(catalogue: Catalogue, rows: Sequence[int]) -> dict[str, int]:
    sums = catalogue.label[list(rows)].sum(axis=0, dtype=int)
    return dict(zip(catalogue.label_classes, map(int, sums), strict=True))
