"""The labels of CMU-MOSEI: the raters' tables, or the SDK's ``CMU_MOSEI_Labels.csd``.

Owns both formats and matching the spans of a csd with utterances. Leaves choosing the source and
the threshold to `mosei`.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.corpora.mosei_transcripts import Spoken, utterance_id
from fv2es_prep.errors import CorpusError, DropReason
from fv2es_prep.types import Dropped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMOTIONS = ("anger", "disgust", "fear", "happy", "sad", "surprise")
# Largest difference between the ends of a csd row and those of its utterance.
TOLERANCE_S = 0.1

_CSD_ORDER = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
_COLUMNS = {
    "anger": "answer.anger",
    "disgust": "answer.disgust",
    "fear": "answer.fear",
    "happy": "answer.happiness",
    "sad": "answer.sadness",
    "surprise": "answer.surprise",
    "sentiment": "answer.sentiment",
}
_VIDEO, _CLIP = "input.video_id", "input.clip"
_NAN = float("nan")


@dataclass(frozen=True)
class Rated:
    """The mean ratings of one utterance.

    Attributes:
        video: id of the video.
        emotions: strength of each of `EMOTIONS`, 0 to 3; NaN if nobody rated it.
        sentiment: -3 to 3; NaN if nobody rated it.
        file: name of the label file, relative to the corpus.
        start_s: start of the rated span in seconds, if the file has it.
        end_s: its end.
    """

    video: str
    emotions: tuple[float, ...]
    sentiment: float
    file: str
    start_s: float | None = None
    end_s: float | None = None


def read_raters(tables: Iterable[tuple[Path, str]], dropped: list[Dropped]) -> dict[str, Rated]:
    """The mean of all raters of each utterance, on the scale of the csd.

    Args:
        tables: each table, and its name relative to the corpus.
        dropped: receives the rows that cannot be read.

    Returns:
        Utterance id -> ratings, without utterances that nobody rated.
    """
    votes: dict[str, list[dict[str, float]]] = defaultdict(list)
    seen: dict[str, tuple[str, str]] = {}
    for path, file in tables:
        for video, number, vote in _votes(path, file, dropped):
            name = utterance_id(video, number) if video else None
            if name is None:
                sentence = f"the video of the row is {video!r} and its clip is {number!r}"
                dropped.append(Dropped(f"{video}_{number}"[:60], DropReason.NO_ID, sentence, file))
                continue
            votes[name].append(vote)
            seen.setdefault(name, (video, file))
    means = {name: _means(rows) for name, rows in votes.items()}
    rated = (
        (name, Rated(seen[name][0], values[1:], values[0], seen[name][1]))
        for name, values in means.items()
    )
    return {name: entry for name, entry in rated if _said(entry.emotions)}


def _votes(
    path: Path, file: str, dropped: list[Dropped]
) -> Iterator[tuple[str, str, dict[str, float]]]:
    """(video, clip, column -> number) of each row of a table."""
    needed = {_VIDEO, _CLIP, *_COLUMNS.values()}
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
            rows = csv.reader(lines)
            head = [name.strip().lower() for name in next(rows, [])]
            if missing := sorted(needed - set(head)):
                sentence = f"it has no column {', '.join(missing)}"
                dropped.append(Dropped(path.name, DropReason.BAD_LINE, sentence, file))
                return
            for cells in rows:
                row = dict(zip(head, cells, strict=False))
                vote = {column: _value(row.get(column, "")) for column in _COLUMNS.values()}
                yield row.get(_VIDEO, "").strip(), row.get(_CLIP, ""), vote
    except csv.Error as error:
        dropped.append(Dropped(path.name, DropReason.BAD_LINE, f"no table: {error}", file))


def _value(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return _NAN
    return value if math.isfinite(value) else _NAN


def _means(rows: Sequence[dict[str, float]]) -> tuple[float, ...]:
    """Sentiment, then `EMOTIONS`: the mean over the raters who gave a number."""
    means = []
    for name in ("sentiment", *EMOTIONS):
        given = [row[_COLUMNS[name]] for row in rows if _said((row[_COLUMNS[name]],))]
        means.append(sum(given) / len(given) if given else _NAN)
    return tuple(means)


def _said(values: Iterable[float]) -> bool:
    return any(not math.isnan(value) for value in values)


def read_csd(
    path: Path, file: str, spoken: Iterable[Spoken], dropped: list[Dropped]
) -> dict[str, Rated]:
    """The labels of the SDK, each assigned to the utterance with the same span.

    The rows are unordered, and their positions are not the numbers of the utterances.

    Args:
        path: the HDF5 file.
        file: its name relative to the corpus.
        spoken: every utterance of the transcripts.
        dropped: receives further rows of an utterance, and what cannot be read.

    Returns:
        Utterance id -> ratings; a row without an utterance has its video and span as its id.

    Raises:
        CorpusError: the file is not a csd.
    """
    lines, rows = defaultdict(list), defaultdict(list)
    for line in spoken:
        lines[line.video].append(line)
    for row in _csd_rows(path, file, dropped):
        rows[row.video].append(row)
    rated: dict[str, Rated] = {}
    for video, entries in rows.items():
        taken = _pairs(entries, lines[video])
        for place, row in enumerate(entries):
            own = f"{video}@{row.start_s:g}-{row.end_s:g}"
            name = taken.get(place) or _near(row, lines[video]) or own
            if (place not in taken and name != own) or name in rated:
                dropped.append(_further(name, row))
            else:
                rated[name] = row
    return rated


def _further(name: str, row: Rated) -> Dropped:
    sentence = "another row of the csd has the same span"
    reason = DropReason.DUPLICATE_ID
    return Dropped(name, reason, sentence, row.file, row.video, row.start_s, row.end_s)


def _csd_rows(path: Path, file: str, dropped: list[Dropped]) -> Iterator[Rated]:
    import h5py
    import numpy as np

    try:
        with h5py.File(path) as content:
            for key, group in _data(content, path).items():
                features = np.asarray(group["features"], np.float64)
                spans = np.asarray(group["intervals"], np.float64)
                # Aligned files name their groups VIDEO[NUMBER].
                video, count = key.partition("[")[0], len(spans)
                if features.shape == (count, len(_CSD_ORDER)) and spans.shape == (count, 2):
                    yield from _rows(video, features, spans, file)
                else:
                    sentence = f"it has {features.shape} features and {spans.shape} intervals"
                    dropped.append(Dropped(key, DropReason.BAD_LINE, sentence, file, video))
    except (OSError, KeyError, ValueError, TypeError, AttributeError) as error:
        raise CorpusError(
            f"{path} cannot be read as a csd: {error}",
            "download it again, or use the raters' tables: --label-source raters",
        ) from error


def _data(content: Any, path: Path) -> Any:
    groups = [content[name]["data"] for name in content if "data" in content[name]]
    if len(groups) != 1:
        raise CorpusError(
            f"{path} has {len(groups)} groups with data, expected one",
            "pass the SDK's file of labels, CMU_MOSEI_Labels.csd",
        )
    return groups[0]


def _rows(
    video: str, features: NDArray[np.float64], spans: NDArray[np.float64], file: str
) -> Iterator[Rated]:
    for values, (start_s, end_s) in zip(features.tolist(), spans.tolist(), strict=True):
        named = dict(zip(_CSD_ORDER, (_value(str(v)) for v in values), strict=True))
        emotions = tuple(named[name] for name in EMOTIONS)
        if _said(emotions) and math.isfinite(start_s) and math.isfinite(end_s):
            yield Rated(video, emotions, named["sentiment"], file, start_s, end_s)


def _pairs(rows: Sequence[Rated], lines: Sequence[Spoken]) -> dict[int, str]:
    """Index of a row -> the nearest utterance; each utterance once."""
    near = sorted(
        (apart, place, line.id)
        for place, row in enumerate(rows)
        for line in lines
        if (apart := _apart_s(row, line)) <= TOLERANCE_S
    )
    taken: dict[int, str] = {}
    for _, place, name in near:
        if place not in taken and name not in taken.values():
            taken[place] = name
    return taken


def _near(row: Rated, lines: Sequence[Spoken]) -> str | None:
    return next((line.id for line in lines if _apart_s(row, line) <= TOLERANCE_S), None)


def _apart_s(row: Rated, line: Spoken) -> float:
    """Largest distance between the ends of two spans; some files have 0 for a start below 0."""
    assert row.start_s is not None
    assert row.end_s is not None
    begun = abs(max(row.start_s, 0) - max(line.start_s, 0))
    return round(max(begun, abs(row.end_s - line.end_s)), 6)
