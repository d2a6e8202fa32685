"""The steps of a recipe; a step is skipped if its inputs and outputs equal those of its last run.

OUT/steps.json stores both as digests of content. The packages below do the work of a step:
a preparation keeps finished shards, a bench keeps finished runs and continues interrupted ones.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fv2es_prep import __version__
from fv2es_prep.errors import SplitError, TrainError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.index import INDEX_NAME, read_index
from fv2es_prep.shards.review import excluded
from fv2es_prep.splits import write_split
from fv2es_prep.splits.imported import import_lists, read_lists
from fv2es_prep.splits.recipes import build_splits
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.configuration import flat_values
from fv2es_prep.utils.files import make_directory, read_regular, sha256_of, write_json
from fv2es_recipe.recipe import STEPS, Recipe
from fv2es_train.bench.bench_forms import NAME as TABLE
from fv2es_train.bench.bench_forms import write_tables
from fv2es_train.bench.bench_splits import FOLDS, manifests_for
from fv2es_train.bench.trainings import Bench, Say, Training, measured, planned, train_left
from fv2es_train.training.folds import manifests_of
from fv2es_train.training.run_names import METRICS_FILE
from fv2es_train.training.shard_hashes import NAME as SHARD_HASHES
from pipelines.commands.prep import planned as planned_prep
from pipelines.commands.prep import prepared
from pipelines.commands.summary import print_summary

STATE, SUPERSEDED = "steps.json", "superseded"
# Options that change where and how fast a dataset is made, but not its content.
_SAME_SHARDS = ("raw", "out", "executor", "device", "encoder_batch", "fail_fast", "max_dropped")


@dataclass(frozen=True)
class Step:
    """A step of a recipe.

    Attributes:
        name: name of the step.
        inputs: returns all that its output depends on, JSON-ready.
        outputs: returns file -> digest of its output; None for a missing file.
        run: does the work; returns a sentence for each part that failed.
        is_left: whether its inputs changed in a way that ``inputs`` does not see.
    """

    name: str
    inputs: Callable[[Recipe], Any]
    outputs: Callable[[Recipe], dict[str, str | None]]
    run: Callable[[Recipe, Say], list[str]]
    is_left: Callable[[Recipe], bool] = lambda _: False

    def is_current(self, recipe: Recipe) -> bool:
        """Whether there is nothing to do."""
        kept = _state(recipe).get(self.name)
        made = self.outputs(recipe)
        if kept is None or None in made.values() or kept["outputs"] != made:
            return False
        return bool(kept["inputs"] == _digest(self.inputs(recipe))) and not self.is_left(recipe)

    def remember(self, recipe: Recipe) -> None:
        """Store the digests of its inputs and outputs in OUT/steps.json."""
        done = {"inputs": _digest(self.inputs(recipe)), "outputs": self.outputs(recipe)}
        write_json(recipe.out / STATE, {**_state(recipe), self.name: done})


def run_recipe(recipe: Recipe, only: Sequence[str], say: Say) -> list[str]:
    """Run the steps of a recipe that are not current.

    The same call continues after an interruption. If ``only`` names steps, no other step runs.
    Several processes may run the step train alone at the same time.

    Returns:
        A sentence for each part of a step that failed; the step runs again the next time.

    Raises:
        UsageError: the recipe contradicts existing files, or another process runs it.
        WorkError: a step fails as a whole.
    """
    make_directory(recipe.out)
    failed: list[str] = []
    with nullcontext() if tuple(only) == ("train",) else locked(recipe.out):
        for name in only or STEPS:
            step = ALL_STEPS[name]
            if step.is_current(recipe):
                say(f"{name}: unchanged, skipped")
                continue
            say(f"{name}: run")
            sentences = step.run(recipe, say)
            if not sentences:
                step.remember(recipe)
            failed += sentences
    return failed


def result_of(recipe: Recipe) -> dict[str, Any]:
    """The measured table, see `bench_table.measure_rows`; UsageError if there is none."""
    path = recipe.out / "bench" / f"{TABLE}.json"
    if not path.is_file():
        raise UsageError(f"{path} is missing", f"make it: fv2es run {recipe.path}")
    return dict(json.loads(read_regular(path)))


def _state(recipe: Recipe) -> dict[str, Any]:
    try:
        return dict(json.loads(read_regular(recipe.out / STATE)))
    except (OSError, ValueError):
        # Without it, every step runs again and keeps finished work.
        return {}


def _digest(value: Any) -> str:
    text = json.dumps(value, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _sha(path: Path) -> str | None:
    return sha256_of(path) if path.is_file() else None


def _files(*paths: Path) -> dict[str, str | None]:
    return {path.name: _sha(path) for path in paths}


# prep


def _prep_inputs(recipe: Recipe) -> Any:
    values = flat_values(recipe.prep).items()
    return {k: v for k, v in values if k not in _SAME_SHARDS and not k.startswith("cluster.")}


def _index(recipe: Recipe) -> dict[str, str | None]:
    return {INDEX_NAME: _sha(recipe.prep.out / INDEX_NAME)}


def _prep_is_left(recipe: Recipe) -> bool:
    plan, _ = planned_prep(recipe.prep)
    shards = {shard.name for shard in read_index(recipe.prep.out).shards}
    return bool(plan.todo) or {task.path.name for task in plan.tasks} != shards


def _prep(recipe: Recipe, _: Say) -> list[str]:
    if not print_summary(prepared(recipe.prep), recipe.prep.max_dropped):
        raise TrainError(
            f"the preparation of {recipe.prep.out} failed; see the lines above",
            f"continue with: fv2es run {recipe.path}",
        )
    return []


# split


def _split_inputs(recipe: Recipe) -> Any:
    lists = recipe.split.lists
    files = [p for place in lists for p in (sorted(place.iterdir()) if place.is_dir() else [place])]
    exclude = recipe.split.exclude
    return {
        **flat_values(recipe.split),
        "protocol": recipe.bench.protocol,
        "exclude": sorted(excluded(exclude)) if exclude else [],
        "lists": [_sha(path) for path in files],
        "shards": _index(recipe),
    }


def _manifests(recipe: Recipe) -> list[Path]:
    place = recipe.bench.split or recipe.bench.out / FOLDS
    if place.suffix == ".json":
        return [place]
    return manifests_of(place) if (place / "fold-0.json").is_file() else [place / "fold-0.json"]


def _split_outputs(recipe: Recipe) -> dict[str, str | None]:
    return {path.name: _sha(path) for path in _manifests(recipe)}


def _split(recipe: Recipe, _: Say) -> list[str]:
    catalogue, place, config = read_catalogue(recipe.prep.out), recipe.bench.split, recipe.split
    if place is None:
        manifests_for(recipe.bench, catalogue)
    elif config.file is not None:
        if not config.file.exists():
            raise SplitError(
                f"{config.file} is missing",
                "set `file` in [split] to an existing manifest or directory of folds",
            )
    elif config.lists:
        imported = import_lists(read_lists(list(config.lists)), catalogue).split
        assert imported is not None, "a catalogue always gives a split"
        write_split(imported, place)
    else:
        made = build_splits(
            catalogue, config.rule(excluded(config.exclude) if config.exclude else ())
        )
        _write_splits(made, place, config.folds is not None)
    return []


def _write_splits(made: Iterator[Any], place: Path, folds: bool) -> None:
    if not folds:
        write_split(next(made), place)
        return
    make_directory(place)
    written = []
    for number, split in enumerate(made):
        written.append(place / f"fold-{number}.json")
        write_split(split, written[-1])
    for path in manifests_of(place):
        if path not in written:
            path.unlink()


# train, eval, table


def _runs(bench: Bench) -> dict[str, str | None]:
    return {each.name: _sha(each.run.out / METRICS_FILE) for each in bench.trainings}


def _train_inputs(recipe: Recipe) -> Any:
    bench = planned(recipe.bench)
    return {
        "shards": _index(recipe),
        "splits": [split.digest() for split in bench.splits],
        "runs": {each.name: flat_values(each.run) for each in bench.trainings},
    }


def _train_outputs(recipe: Recipe) -> dict[str, str | None]:
    if not (recipe.prep.out / INDEX_NAME).is_file() or None in _split_outputs(recipe).values():
        return {"runs": None}
    return _runs(planned(recipe.bench))


def _train(recipe: Recipe, say: Say) -> list[str]:
    bench = planned(recipe.bench)
    _set_aside(recipe, [each for each in bench.trainings if has_other_inputs(recipe, each)], say)
    return [f"{name}: {error}" for name, error in train_left(bench, say).items()]


def has_other_inputs(recipe: Recipe, training: Training) -> bool:
    """Whether a run was trained with other shards, another split or other options."""
    if not training.run.out.is_dir():
        return False
    index = {shard.name: shard.sha256 for shard in read_index(recipe.prep.out).shards}
    stored = training.run.out / SHARD_HASHES
    read = json.loads(read_regular(stored)) if stored.is_file() else {}
    if any(index.get(name) != facts[0] for name, facts in read.items()):
        return True
    try:
        training.is_finished()
    except UsageError:
        return True
    return False


def _set_aside(recipe: Recipe, trainings: Sequence[Training], say: Say) -> None:
    """Move runs with other inputs to OUT/superseded/N, so that no training is lost."""
    if not trainings:
        return
    number = 1
    while (place := recipe.out / SUPERSEDED / str(number)).exists():
        number += 1
    for each in trainings:
        make_directory((place / each.name).parent)
        # Another process may have moved it meanwhile and started the new run.
        if has_other_inputs(recipe, each):
            each.run.out.rename(place / each.name)
    say(f"train: moved {len(trainings)} run(s) with other inputs to {place}")


def _eval_inputs(recipe: Recipe) -> Any:
    bench = recipe.bench
    asked = {"metrics": bench.metrics, "resamples": bench.resamples, "protocol": bench.protocol}
    return {**asked, "runs": _train_outputs(recipe), "version": __version__}


def _table_file(recipe: Recipe, ending: str = "json") -> Path:
    return recipe.bench.out / f"{TABLE}.{ending}"


def _eval(recipe: Recipe, _: Say) -> list[str]:
    bench = planned(recipe.bench)
    missing = {name: "not finished" for name, digest in _runs(bench).items() if digest is None}
    if len(missing) == len(bench.trainings):
        raise TrainError(
            f"{recipe.bench.out} contains no finished run",
            f"train first: fv2es run {recipe.path} --only train",
        )
    write_json(_table_file(recipe), measured(bench, missing))
    return []


def _table(recipe: Recipe, _: Say) -> list[str]:
    write_tables(recipe.bench.out, result_of(recipe))
    return []


ALL_STEPS = {
    step.name: step
    for step in (
        Step("prep", _prep_inputs, _index, _prep, _prep_is_left),
        Step("split", _split_inputs, _split_outputs, _split),
        Step("train", _train_inputs, _train_outputs, _train),
        Step("eval", _eval_inputs, lambda r: _files(_table_file(r)), _eval),
        Step(
            "table",
            lambda r: {**_files(_table_file(r)), "version": __version__},
            lambda r: _files(*(_table_file(r, each) for each in ("csv", "md", "tex"))),
            _table,
        ),
    )
}
