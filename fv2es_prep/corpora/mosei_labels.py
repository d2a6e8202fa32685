"""The labels of CMU-MOSEI: the raters' tables, or the SDK's ``CMU_MOSEI_Labels.csd``.

Owns both formats, and matching the spans of a csd with utterances.
"""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fv2es_prep.corpora.inventory import read_text
from fv2es_prep.corpora.mosei_files import Spoken, utterance_id
from fv2es_prep.errors import CorpusError, DropReason
from fv2es_prep.types import Dropped

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

EMOTIONS = ("anger", "disgust", "fear", "happy", "sad", "surprise")
# Largest difference between the ends of a csd row and those of its utterance.
TOLERANCE_S = 0.1

_CSD_ORDER = ("sentiment", "happy", "sad", "anger", "surprise", "disgust", "fear")
# Sentiment, then `EMOTIONS`.
_COLUMNS = tuple(
    f"answer.{name}"
    for name in ("sentiment", "anger", "disgust", "fear", "happiness", "sadness", "surprise")
)
_VIDEO, _CLIP = "input.video_id", "input.clip"
_NAN = float("nan")
_Vote = tuple[int, str, str, list[float]]


@dataclass(frozen=True)
class Rated:
    """The mean ratings of one utterance."""

    video: str  # id of the video
    emotions: tuple[float, ...]  # strength of each of `EMOTIONS`, 0 to 3; NaN if nobody rated it
    sentiment: float  # -3 to 3; NaN if nobody rated it
    file: str  # name of the label file, relative to the corpus
    start_s: float | None = None  # start of the rated span in seconds, if the file has it
    end_s: float | None = None  # its end
    # Number of raters, then how many of them gave each of `EMOTIONS` more than 0.
    votes: tuple[float, ...] = (_NAN,) * (1 + len(EMOTIONS))


def read_raters(tables: Iterable[tuple[Path, str]], dropped: list[Dropped]) -> dict[str, Rated]:
    """The mean of all raters of each utterance that anyone rated, on the scale of the csd.

    Args:
        tables: each table, and its name relative to the corpus.
        dropped: receives the rows that cannot be read.
    """
    votes: dict[str, list[list[float]]] = defaultdict(list)
    seen: dict[str, tuple[str, str]] = {}
    for path, file in tables:
        for line, video, number, vote in _votes(path, file, dropped):
            name = utterance_id(video, number) if video else None
            if name is None:
                sentence = f"line {line}: the video is {video!r} and the clip is {number!r}"
                dropped.append(Dropped(f"{video}_{number}"[:60], DropReason.NO_ID, sentence, file))
                continue
            votes[name].append(vote)
            seen.setdefault(name, (video, file))
    rated: dict[str, Rated] = {}
    for name, rows in votes.items():
        sentiment, *emotions = (_mean(column) for column in zip(*rows, strict=True))
        if not all(map(math.isnan, emotions)):
            _, *columns = zip(*rows, strict=True)
            counts = [float(sum(value > 0 for value in column)) for column in columns]
            video, file = seen[name]
            # A row without any number is not a rating.
            raters = sum(not all(map(math.isnan, row[1:])) for row in rows)
            votes_of = float(raters), *counts
            rated[name] = Rated(video, tuple(emotions), sentiment, file, votes=votes_of)
    return rated


def _votes(path: Path, file: str, dropped: list[Dropped]) -> Iterator[_Vote]:
    """Line, video, clip and the numbers of `_COLUMNS` of each row of a table."""
    # The sentiment may be absent: it labels nothing.
    needed, line = {_VIDEO, _CLIP, *_COLUMNS[1:]}, 1
    try:
        rows = csv.reader(io.StringIO(read_text(path), newline=""))
        head = [name.strip().lower() for name in next(rows, [])]
        if missing := sorted(needed - set(head)):
            sentence = f"it has no column {', '.join(missing)}"
            dropped.append(Dropped(path.name, DropReason.BAD_LINE, sentence, file))
            return
        for cells in rows:
            line = rows.line_num
            row = dict(zip(head, cells, strict=False))
            vote = [_value(row.get(column, "")) for column in _COLUMNS]
            yield line, row.get(_VIDEO, "").strip(), row.get(_CLIP, ""), vote
    except csv.Error as error:
        sentence = f"after line {line}: {error}"
        dropped.append(Dropped(path.name, DropReason.BAD_LINE, sentence, file))


def _value(cell: str) -> float:
    try:
        value = float(cell)
    except ValueError:
        return _NAN
    return value if math.isfinite(value) else _NAN


def _mean(votes: Sequence[float]) -> float:
    """The mean over the raters who gave a number."""
    given = [vote for vote in votes if not math.isnan(vote)]
    return sum(given) / len(given) if given else _NAN


def read_csd(
    path: Path, file: str, spoken: Iterable[Spoken], dropped: list[Dropped]
) -> dict[str, Rated]:
    """The labels of the SDK's HDF5 file, each assigned to the utterance with the same span.

    The rows are unordered. A row without an utterance has its video and span as its id; further
    rows of an utterance are dropped.

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
            near = (ln.id for ln in lines[video] if _apart_s(row, ln) <= TOLERANCE_S)
            name = taken.get(place) or next(near, own)
            if (place not in taken and name != own) or name in rated:
                why = DropReason.DUPLICATE_ID, "another row of the csd has the same span"
                span = row.start_s, row.end_s
                dropped.append(Dropped(name, *why, row.file, row.video, *span))
            else:
                rated[name] = row
    return rated


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
        rated = not all(map(math.isnan, emotions))
        if rated and math.isfinite(start_s) and math.isfinite(end_s):
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


def _apart_s(row: Rated, line: Spoken) -> float:
    """Largest distance between the ends of two spans; some files have 0 for a start below 0."""
    assert row.start_s is not None
    assert row.end_s is not None
    begun = abs(max(row.start_s, 0) - max(line.start_s, 0))
    return round(max(begun, abs(row.end_s - line.end_s)), 6)
