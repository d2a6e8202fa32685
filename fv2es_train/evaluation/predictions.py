"""Predictions of a run on a subset, in memory and as a CSV file.

The columns are ``id``, ``recording``, ``speaker``, ``session``; for each class ``true_CLASS``,
``predicted_CLASS`` (0 or 1), ``probability_CLASS`` and ``logit_CLASS``; for each rating that the
run learned ``rated_NAME`` and ``rating_NAME``. Numbers round-trip exactly, and so do texts, which
`csv_text.neutral` writes.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.errors import DAMAGE, TrainError, UsageError
from fv2es_prep.utils.csv_text import csv_line, neutral, plain
from fv2es_prep.utils.files import read_regular, whole_file
from fv2es_train.models.run_files import overlap

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

FOLDER = "predictions"
_NAMES = ("ids", "recordings", "speakers", "sessions")
_HEAD = ("id", "recording", "speaker", "session")
_PARTS = {
    "true": "truth",
    "predicted": "predicted",
    "probability": "probability",
    "logit": "logits",
}
# For each rating: the value of the corpus, and that of the run.
_RATED = ("rated", "rating")
_DTYPES = {"true": "u1", "predicted": "u1", "probability": "f8", "logit": "f4"}


@dataclass(frozen=True)
class Predictions:
    """Predictions of N utterances for C classes; unknown speakers and sessions are empty.

    Attributes:
        truth: uint8 (N, C), 1 where the class holds.
        predicted: uint8 (N, C), 1 where the `Decision` of the run predicts the class.
        probability: float64 (N, C), in [0, 1].
        logits: float32 (N, C).
        rating_names: the R ratings that the run learned.
        rated: float32 (N, R), ratings of the corpus, NaN where unknown.
        rating: float32 (N, R), ratings predicted by the run.
    """

    classes: tuple[str, ...]
    ids: tuple[str, ...]
    recordings: tuple[str, ...]
    speakers: tuple[str, ...]
    sessions: tuple[str, ...]
    truth: NDArray[np.uint8]
    predicted: NDArray[np.uint8]
    probability: NDArray[np.float64]
    logits: NDArray[np.float32]
    rating_names: tuple[str, ...] = ()
    rated: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))
    rating: NDArray[np.float32] = field(default_factory=lambda: np.zeros((0, 0), np.float32))

    def __post_init__(self) -> None:
        shape = (len(self.ids), len(self.classes))
        for name in _RATED:
            wide = getattr(self, name).reshape(len(self.ids), len(self.rating_names))
            object.__setattr__(self, name, wide)
        for name in _PARTS.values():
            if getattr(self, name).shape != shape:
                found = getattr(self, name).shape
                raise ValueError(f"{name} has the shape {found}, expected {shape}")

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Sequence[int]) -> Predictions:
        """Select the predictions of these rows, in this order."""
        names: dict[str, Any] = {
            name: tuple(getattr(self, name)[row] for row in rows) for name in _NAMES
        }
        arrays = {name: getattr(self, name)[list(rows)] for name in (*_PARTS.values(), *_RATED)}
        return replace(self, **names, **arrays)


def file_of(run: Path, subset: str) -> Path:
    """The file of a run with its predictions for a subset."""
    return run / FOLDER / f"{subset}.csv"


def held_out(
    runs: Sequence[Path], ids: Sequence[str], classes: Sequence[str]
) -> NDArray[np.float64]:
    """Read probabilities of utterances that are in the test subset of at least one run.

    Args:
        runs: run directories, e.g. the folds of a cross-validation.
        ids: the N utterances.
        classes: the C classes; each run must have the same, in this order.

    Returns:
        (N, C), the mean over the runs; NaN for an utterance in no test subset.

    Raises:
        UsageError: a run has other classes.
        TrainError: a run has no predictions, or damaged ones.
    """
    place = {name: row for row, name in enumerate(ids)}
    sums, counts = np.zeros((len(ids), len(classes))), np.zeros(len(ids))
    for run in runs:
        found = read_predictions(file_of(run, "test"))
        if found.classes != tuple(classes):
            raise UsageError(
                f"{run} predicts the classes {', '.join(found.classes)}, expected those of the "
                f"dataset: {', '.join(classes)}",
                "pass runs that were trained on this dataset",
            )
        there = [row for row, name in enumerate(found.ids) if name in place]
        rows = [place[found.ids[row]] for row in there]
        sums[rows] += found.probability[there]
        counts[rows] += 1
    counts[counts == 0] = np.nan
    mean: NDArray[np.float64] = sums / counts[:, None]
    return mean


def refuse_seen(run: Path, ids: Sequence[str], subset: str, allow: bool) -> dict[str, int] | None:
    """Reject a subset with utterances of the training, except in the same subset there.

    Returns:
        ``train`` and ``valid`` -> how many of the utterances are in that subset of the split of the
        run; None for a run that has not stored its ids.

    Raises:
        TrainError: such utterances exist, and ``allow`` is false.
    """
    seen = overlap(run, ids)
    found = {name: count for name, count in seen.items() if count and name != subset}
    if found and not allow:
        listed = " and ".join(
            f"{count} in the run's {name} subset" for name, count in found.items()
        )
        raise TrainError(
            f"{run} has seen some of the {len(ids)} {subset} utterances: {listed}",
            "evaluate on utterances that the run has not seen, or pass --allow-seen",
        )
    return seen or None


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write predictions as CSV, one line per utterance.

    Raises:
        OutputError: the file cannot be written.
    """
    named = _columns(predictions.classes, predictions.rating_names)
    names = [getattr(predictions, name) for name in _NAMES]
    numbers = [
        # The shortest text that round-trips.
        [str(value) for value in getattr(predictions, part)[:, c]]
        for c in range(len(predictions.classes))
        for part in _PARTS.values()
    ] + [
        [str(value) for value in getattr(predictions, part)[:, r]]
        for r in range(len(predictions.rating_names))
        for part in _RATED
    ]
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        # Numbers need no escaping, also negative ones.
        rows = zip(*[map(neutral, values) for values in names], *numbers, strict=True)
        file.writelines(f"{csv_line(row)}\n" for row in ([*_HEAD, *named], *rows))


def read_predictions(path: Path) -> Predictions:
    """Read what `write_predictions` wrote.

    Raises:
        UsageError: the file does not exist.
        TrainError: the file is foreign or damaged.
    """
    if not path.is_file():
        raise UsageError(
            f"{path} does not exist",
            "evaluate the runs again with --shards and --split, or train again with this version",
        )
    try:
        text = read_regular(path).decode()
        header, *rows = csv.reader(io.StringIO(text, newline=""))
        return _parse(header, rows)
    except (*DAMAGE, csv.Error) as error:
        raise TrainError(
            f"{path} is not a predictions file: {error!r}",
            f"write it again: fv2es eval --run {path.parent.parent} --predictions {path} ...",
        ) from error


def _parse(header: list[str], rows: list[list[str]]) -> Predictions:
    if tuple(header[: len(_HEAD)]) != _HEAD:
        raise ValueError(f"the first columns are {header[: len(_HEAD)]}, expected {list(_HEAD)}")
    names = header[len(_HEAD) :]
    # The columns of a class start with its true label.
    count = next(
        (n for n in range(0, len(names), len(_PARTS)) if not names[n].startswith("true_")),
        len(names),
    )
    classes = tuple(name.removeprefix("true_") for name in names[: count : len(_PARTS)])
    ratings = tuple(name.removeprefix("rated_") for name in names[count :: len(_RATED)])
    expected = [*_HEAD, *_columns(classes, ratings)]
    if header != expected or any(len(row) != len(header) for row in rows):
        raise ValueError("a column is missing or misplaced")
    rows = [[*map(plain, row[: len(_HEAD)]), *row[len(_HEAD) :]] for row in rows]
    columns: list[Any] = list(zip(*rows, strict=True)) or [() for _ in header]
    of_classes, of_ratings = columns[len(_HEAD) :][:count], columns[len(_HEAD) :][count:]
    arrays: dict[str, Any] = {
        name: np.array(of_classes[place :: len(_PARTS)], dtype=_DTYPES[part]).T
        for place, (part, name) in enumerate(_PARTS.items())
    }
    for place, part in enumerate(_RATED):
        arrays[part] = np.array(of_ratings[place :: len(_RATED)], dtype="f4").T
    arrays["rating_names"] = ratings
    return Predictions(classes, *columns[: len(_HEAD)], **arrays)


def _columns(classes: Sequence[str], ratings: Sequence[str]) -> list[str]:
    named = [f"{part}_{name}" for name in classes for part in _PARTS]
    return named + [f"{part}_{name}" for name in ratings for part in _RATED]


def join(parts: Sequence[Predictions]) -> Predictions:
    """Concatenate the predictions of several runs with the same classes, such as the folds."""
    names: dict[str, Any] = {
        n: tuple(v for part in parts for v in getattr(part, n)) for n in _NAMES
    }
    arrays: dict[str, Any] = {
        n: np.concatenate([getattr(part, n) for part in parts]) for n in (*_PARTS.values(), *_RATED)
    }
    return replace(parts[0], **names, **arrays)


def align(predictions: Predictions, like: Predictions, run: str, first: str) -> Predictions:
    """Reorder predictions like those of another run on the same utterances.

    ``run`` and ``first`` are the names of the two runs for messages.

    Raises:
        UsageError: utterances, classes or labels differ; the message states the first difference.
    """
    remedy = "compare runs that were measured on the same subset of the same split and labels"
    if predictions.classes != like.classes:
        ours, theirs = (", ".join(found.classes) for found in (predictions, like))
        raise UsageError(f"{run} has the classes {ours}, but {first} has {theirs}", remedy)
    place = {name: row for row, name in enumerate(predictions.ids)}
    apart = sorted(set(place) ^ set(like.ids))
    if apart:
        raise UsageError(
            f"{run} was measured on {len(predictions)} utterances, {first} on {len(like)}; "
            f"{len(apart)} of them are in only one of the runs, the first is {apart[0]!r}",
            remedy,
        )
    ordered = predictions.take([place[name] for name in like.ids])
    differ = np.flatnonzero((ordered.truth != like.truth).any(axis=1))
    if len(differ):
        raise UsageError(
            f"{run} and {first} have different labels for {len(differ)} utterance(s), the first is "
            f"{like.ids[differ[0]]!r}",
            remedy,
        )
    return ordered
