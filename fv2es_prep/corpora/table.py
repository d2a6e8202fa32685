"""A corpus as a table: one row per utterance, with its video, span, transcript and labels.

Owns the meaning of the columns; `table_rows` reads the formats.
"""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

from fv2es_prep.corpora.base import Corpus
from fv2es_prep.corpora.inventory import Found, LabelChoice, make_inventory
from fv2es_prep.corpora.table_rows import Row, TableRows, read_rows
from fv2es_prep.errors import CorpusError, DropReason, MediaError, UtteranceError
from fv2es_prep.media.ffmpeg import Kind
from fv2es_prep.media.probe import duration_s
from fv2es_prep.store.raw_files import staging
from fv2es_prep.types import Dropped, Half, Inventory, Recording, Utterance, View

COLUMNS = (
    *("id", "video", "start_s", "end_s", "text"),
    *("labels", "audio", "speaker", "group", "view"),
)

# Common misspellings of column names.
_MEANT = {"label": "labels", "start": "start_s", "end": "end_s", "transcript": "text"}
_FLAGS = {"0": False, "1": True, "false": False, "true": True}
_VIEW = re.compile(r"(left|right|full)(?::([1-9]\d{0,4}))?")
# One of these columns is enough.
_MODALITIES = ("video", "audio", "text")
# The span of an utterance of words alone, in seconds.
_NOMINAL_S = 1.0


@dataclass(frozen=True)
class TableOptions:
    """Options of a table.

    Attributes:
        ratings: Numeric columns that become ratings, e.g. valence,arousal.
    """

    ratings: tuple[str, ...] = ()


def scan(root: Path, choice: LabelChoice, options: TableOptions = TableOptions()) -> Inventory:
    """Read the table file ``root``; docs/adding-a-corpus.md describes the columns.

    Paths in it are relative to its directory. Without chosen classes, all classes of the table are
    taken. An utterance without a span covers its whole recording, with the duration that the files
    state; an utterance of words alone has the span 0 to 1 s.

    Raises:
        CorpusError: the file cannot be read, columns are missing or misnamed, or no row is left.
    """
    rows = read_rows(root)
    ratings = tuple(options.ratings)
    labels_of = _labels_of(rows, choice, ratings)
    # Not resolved, so that links stay as the user made them.
    folder = Path(os.path.abspath(root.parent))  # noqa: PTH100
    found = Found()
    for row in rows.rows:
        name = str(row.values.get("id", row.place))
        try:
            recording, utterance = _read_row(row, rows, folder, labels_of)
            utterance = replace(utterance, ratings=tuple(_rating(row, name) for name in ratings))
            _check_same(found.recordings.setdefault(recording.id, recording), recording)
            found.utterances.append(utterance)
        except UtteranceError as error:
            sentence = f"{row.place}: {error.sentence}"
            found.dropped.append(Dropped(name, error.reason, sentence, rows.name))
    _put_ends(found, rows.name)
    return make_inventory(
        "table",
        found.recordings.values(),
        found.utterances,
        found.dropped,
        choice,
        ratings,
        none_holds="dropped" if "labels" in rows.columns else "unlabelled",
        files_required=False,
    )


def _labels_of(
    rows: TableRows, choice: LabelChoice, ratings: Sequence[str]
) -> Callable[[Row], tuple[str, ...]]:
    """The function that reads the labels of a row."""
    _check_columns(rows, ratings)
    if "labels" in rows.columns:
        return _named_labels
    sound = [row for row in rows.rows if not row.problem]
    others = [name for name in rows.columns if name not in (*COLUMNS, *ratings)]
    classes = [name for name in others if all(_flag(row, name) is not None for row in sound)]
    for name in (*choice.classes, *choice.merge):
        if name not in classes:
            raise _no_class_column(rows, name, sound)
    if not classes:
        raise _columns_error(
            rows, "neither a column labels nor columns of 0 and 1, one for each class"
        )
    return lambda row: tuple(name for name in classes if _flag(row, name))


def _check_columns(rows: TableRows, ratings: Sequence[str]) -> None:
    for name in rows.columns:
        meant = _MEANT.get(name.casefold(), name.casefold())
        if name not in COLUMNS and meant in COLUMNS and meant not in rows.columns:
            raise _columns_error(rows, f"a column {name!r}; did you mean {meant}?")
    if not any(name in rows.columns for name in _MODALITIES):
        raise _columns_error(rows, "none of the columns video, audio and text")
    for name in ratings:
        if name not in rows.columns or name in COLUMNS:
            raise _columns_error(rows, f"no column of ratings {name!r}")
    if ("start_s" in rows.columns) != ("end_s" in rows.columns):
        raise _columns_error(rows, "only one of the columns start_s and end_s")
    if "id" not in rows.columns:
        _check_stems(rows)


def _check_stems(rows: TableRows) -> None:
    seen: dict[str, str] = {}
    for row in rows.rows:
        stem = _own_id(row)
        if stem in seen:
            raise CorpusError(
                f"{rows.name} has no column id, and {seen[stem]} and {row.place} have the same "
                f"file name {stem!r}",
                "add a column id with a unique name for each utterance",
            )
        seen[stem] = row.place


def _columns_error(rows: TableRows, problem: str) -> CorpusError:
    return CorpusError(
        f"{rows.name} has {problem}; its columns are {', '.join(rows.columns)}",
        f"known columns: {', '.join(COLUMNS)}; see docs/adding-a-corpus.md",
    )


def _no_class_column(rows: TableRows, name: str, sound: list[Row]) -> CorpusError:
    if name not in rows.columns or name in COLUMNS:
        return _columns_error(rows, f"no column labels and no column for the class {name!r}")
    row = next(row for row in sound if _flag(row, name) is None)
    found = repr(row.values[name]) if name in row.values else "nothing"
    return CorpusError(
        f"{rows.name}, {row.place}, column {name!r}: found {found}, expected 0 or 1",
        "write 1 if the class holds, otherwise 0",
    )


def _flag(row: Row, column: str) -> bool | None:
    """Whether a class holds; None if the cell is neither 0 nor 1."""
    value = row.values.get(column)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return _FLAGS.get(str(value).casefold())


def _named_labels(row: Row) -> tuple[str, ...]:
    value = row.values.get("labels", "")
    parts = value if isinstance(value, list) else str(value).split("|")
    names = tuple(dict.fromkeys(str(part).strip() for part in parts if str(part).strip()))
    if not names:
        raise UtteranceError("it has no label", DropReason.NO_LABEL)
    return names


def _read_row(
    row: Row, rows: TableRows, folder: Path, labels_of: Callable[[Row], tuple[str, ...]]
) -> tuple[Recording, Utterance]:
    if row.problem:
        raise UtteranceError(row.problem, DropReason.BAD_LINE)
    modalities = [name for name in _MODALITIES if name in rows.columns]
    if not any(name in row.values for name in modalities):
        empty = f"its column {modalities[0]} is empty"
        if len(modalities) > 1:
            empty = f"its columns {' and '.join(modalities)} are empty"
        raise UtteranceError(empty, DropReason.VIDEO_MISSING)
    video = _file(row, "video", folder, DropReason.VIDEO_MISSING)
    audio = _file(row, "audio", folder, DropReason.AUDIO_MISSING) or video
    if "id" in rows.columns and "id" not in row.values:
        raise UtteranceError("it has no id", DropReason.NO_ID)
    name, source = str(row.values.get("id", _own_id(row))), video or audio
    recording = Recording(_recording_id(source, folder) if source else name, video, audio)
    return recording, Utterance(
        name,
        recording.id,
        *_span(row, _NOMINAL_S if source is None else math.inf),
        transcript=str(row.values.get("text", "")),
        labels=labels_of(row),
        speaker=str(row.values.get("speaker", "")),
        session=str(row.values.get("group", "")),
        view=_view(row),
    )


def _own_id(row: Row) -> str:
    """The id of a row without a column id: the stem of its file, or its place in the table."""
    file = row.values.get("video", row.values.get("audio"))
    return row.place.replace(" ", "-") if file is None else Path(str(file)).stem


def _file(row: Row, column: str, folder: Path, missing: DropReason) -> Path | None:
    if column not in row.values:
        return None
    named = str(row.values[column])
    path = Path(os.path.normpath(folder / named))
    try:
        exists = path.exists()
    except (OSError, ValueError):
        exists = False
    if not exists:
        # Absolute paths of this machine stay out of dropped.jsonl.
        shown = Path(named).name if Path(named).is_absolute() else named
        raise UtteranceError(f"its {column} {shown} does not exist", missing)
    return path


def _check_same(first: Recording, second: Recording) -> None:
    """Refuse a recording with the id of an earlier one and other files."""
    if first != second:
        of, other = (recording.audio or recording.video for recording in (second, first))
        sentence = f"its audio is {of.name if of else 'none'}; an earlier row has "
        sentence += f"{other.name if other else 'none'} for the same file"
        raise UtteranceError(sentence, DropReason.BAD_LINE)


def _recording_id(video: Path, folder: Path) -> str:
    """The path relative to the table; a file elsewhere has a digest of its path in its id."""
    if video.is_relative_to(folder):
        return video.relative_to(folder).as_posix()
    place = hashlib.sha256(os.path.relpath(video, folder).encode("utf-8", "surrogateescape"))
    return f"{video.name}-{place.hexdigest()[:8]}"


def _span(row: Row, whole_s: float) -> tuple[float, float]:
    columns = [name for name in ("start_s", "end_s") if name in row.values]
    if len(columns) == 1:
        raise UtteranceError(f"it has only {columns[0]}", DropReason.BAD_SPAN)
    if not columns:
        return 0.0, whole_s
    start_s, end_s = (_number(row, name, "seconds", DropReason.BAD_SPAN) for name in columns)
    return start_s, end_s


def _rating(row: Row, column: str) -> float:
    if column not in row.values:
        return math.nan
    return _number(row, column, "a number", DropReason.BAD_LINE)


def _number(row: Row, column: str, expected: str, reason: DropReason) -> float:
    try:
        value = float(row.values[column])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        sentence = f"column {column}: found {row.values[column]!r}, expected {expected}"
        raise UtteranceError(sentence, reason)
    return value


def _view(row: Row) -> View:
    text = str(row.values.get("view", "full"))
    match = _VIEW.fullmatch(text)
    if match is None:
        sentence = f"column view: found {text!r}, expected left, right or full, or left:224"
        raise UtteranceError(sentence, DropReason.BAD_LINE)
    return View(cast("Half", match[1]), int(match[2]) if match[2] else None)


def _put_ends(found: Found, file: str) -> None:
    """Set the end of utterances without a span to the duration of the recording."""
    names = {u.recording_id for u in found.utterances if math.isinf(u.end_s)}
    probed = [recording for name, recording in found.recordings.items() if name in names]
    # Threads: each probe waits for its own process.
    with ThreadPoolExecutor(2 * (os.cpu_count() or 1)) as pool:
        lengths = dict(zip((r.id for r in probed), pool.map(_length, probed), strict=True))
    utterances, found.utterances = found.utterances, []
    for utterance in utterances:
        length = lengths[utterance.recording_id] if math.isinf(utterance.end_s) else None
        if isinstance(length, MediaError):
            why = length.reason, length.sentence, file
            found.dropped.append(Dropped(utterance.id, *why, utterance.recording_id))
        else:
            found.utterances.append(replace(utterance, end_s=length or utterance.end_s))


@staging()
def _length(recording: Recording) -> float | MediaError:
    """Duration of the longest of its files."""
    found: list[float | MediaError] = []
    files: tuple[tuple[Path | None, Kind], ...]
    files = (recording.video, "picture"), (recording.audio, "sound")
    for path, kind in files:
        known = kind == "sound" and path == recording.video and isinstance(found[0], float)
        if path is not None and not known:
            try:
                found.append(duration_s(path, kind=kind))
            except MediaError as error:
                found.append(error)
    return max((length for length in found if isinstance(length, float)), default=found[0])


TABLE = Corpus(
    name="table",
    title="Prepare any corpus that is given as a table: videos, spans, transcripts, labels.",
    raw="CSV, TSV, JSONL or Parquet file: one row per utterance.",
    example="meld.csv",
    scan=scan,
    options=TableOptions,
    require="",
)
