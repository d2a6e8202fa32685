"""Whether the rows of a shard keep the numbered invariants of docs/shard-format.md.

Owns one check for each invariant that a single shard can break. Leaves what needs all shards of a
dataset to `verify`, and types and shapes, which are known to be right here, to `layout`.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import FrameSettings, PrepSettings
from fv2es_prep.errors import DropReason, ShardError
from fv2es_prep.shards.digests import digests_of, parts_of
from fv2es_prep.shards.schema import DAMAGE, columns_of
from fv2es_prep.shards.verify.finding import Finding
from fv2es_prep.shards.verify.layout import is_absolute
from fv2es_prep.stages.compact import JpegFaces

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Read example by example; all others are small.
_LARGE = ("faces/values", "mel/values")
_SHA256 = re.compile(r"[0-9a-f]{64}|unreadable")
# Times are whole microseconds.
_ROUNDING_S = 3e-6
_DROPPED_TEXT = ("id", "reason", "sentence", "file", "recording_id")


@dataclass(frozen=True)
class Rows:
    """The rows of one shard.

    Attributes:
        columns: path -> array, or list of str for text; for faces/values and mel/values the
            open column.
        settings: the settings that made the shard.
    """

    columns: dict[str, Any]
    settings: PrepSettings

    def __len__(self) -> int:
        return len(self.columns["id"])

    def row(self, number: int) -> dict[str, Any]:
        """Column path -> value of one example, for every column that a digest covers."""
        parts = parts_of(self.settings.storage)
        return {path: self._value(path, number) for paths in parts.values() for path in paths}

    def lengths(self, group: str) -> NDArray[np.int64]:
        """Rows of each example in a ragged group: int64 (N,)."""
        lengths: NDArray[np.int64] = np.diff(self.columns[f"{group}/offsets"])
        return lengths

    def any(self, group: str, bad: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Which examples have a bad row in a ragged group: bool (N,)."""
        sums = np.concatenate([[0], np.cumsum(bad, dtype=np.int64)])
        found: NDArray[np.bool_] = np.diff(sums[self.columns[f"{group}/offsets"]]) > 0
        return found

    @functools.cached_property
    def face_bytes(self) -> NDArray[np.int64]:
        """Where the file of each face begins in a compact shard, and where the last ends."""
        return np.concatenate([[0], np.cumsum(self.columns["faces/sizes"], dtype=np.int64)])

    def _value(self, path: str, number: int) -> Any:
        column = self.columns[path]
        group = path.split("/")[0]
        if f"{group}/offsets" not in self.columns:
            return column[number]
        begin, end = self.columns[f"{group}/offsets"][number : number + 2]
        if path == "faces/values" and "faces/sizes" in self.columns:
            begin, end = self.face_bytes[begin], self.face_bytes[end]
        return column[begin:end]


def read_rows(name: str, file: Any, settings: PrepSettings) -> tuple[list[Finding], Rows]:
    """The small columns of a shard whose layout is sound, and what of them cannot be read."""
    findings, columns = [], {}
    for column in columns_of(settings.storage):
        data = file[column.path]
        try:
            if column.path not in _LARGE:
                text = column.kind == "text"
                columns[column.path] = [v.decode() for v in data[()]] if text else data[()]
            else:
                columns[column.path] = data
        except DAMAGE as error:
            words = " ".join(str(error).split())
            findings.append(Finding("unreadable", name, f"{column.path}: {words}"))
    return findings, Rows(columns, settings)


def check_rows(name: str, rows: Rows) -> list[Finding]:
    """Check every invariant of a shard's rows.

    Args:
        name: the shard's name, for the findings.
        rows: from `read_rows`, without a finding.
    """
    if broken := list(_check_offsets(rows)):
        # Nothing can be said of an example whose rows are not known.
        return [Finding(code, name, sentence) for code, sentence in broken]
    findings = []
    with np.errstate(all="ignore"):
        for code, sentence, check in _CHECKS:
            if len(bad := np.flatnonzero(check(rows))):
                first = rows.columns["id"][bad[0]]
                findings.append(Finding(code, name, f"{sentence}: {_count(bad)}, first {first}"))
        problems = [*_check_dropped(rows), *_check_sources(rows), *_check_parts(rows)]
    return findings + [Finding(code, name, sentence) for code, sentence in problems]


def _check_offsets(rows: Rows) -> Iterator[tuple[str, str]]:
    for group in ("faces", "mel", "tokens"):
        offsets = rows.columns[f"{group}/offsets"]
        if offsets[0] != 0 or (offsets[1:] < offsets[:-1]).any():
            yield "I3", f"{group}/offsets does not begin at 0 and rise"
        for column in columns_of(rows.settings.storage):
            if column.kind == "ragged" and column.path.startswith(f"{group}/"):
                found = len(rows.columns[column.path])
                if offsets[-1] != found:
                    sentence = f"ends at {offsets[-1]}, {column.path} has {found} row(s)"
                    yield "I3", f"{group}/offsets {sentence}"
    if "faces/sizes" in rows.columns:
        found, wanted = len(rows.columns["faces/values"]), rows.face_bytes[-1]
        if found != wanted:
            yield "I25", f"faces/sizes add up to {wanted}, faces/values has {found} byte(s)"


def _i8(rows: Rows) -> NDArray[np.bool_]:
    start, end = rows.columns["start_s"], rows.columns["end_s"]
    bad: NDArray[np.bool_] = ~(np.isfinite(end) & (start >= 0) & (start < end))
    return bad


def _i9(rows: Rows) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = (rows.columns["label"] > 1).any(axis=1)
    return bad


def _i10(rows: Rows) -> NDArray[np.bool_]:
    times, frames = rows.columns["faces/times_s"], rows.settings.frames
    offsets, bad = rows.columns["faces/offsets"], rows.lengths("faces") < 1
    for i, (start, end) in enumerate(
        zip(rows.columns["start_s"].tolist(), rows.columns["end_s"].tolist(), strict=True)
    ):
        found = times[offsets[i] : offsets[i + 1]].tolist()
        bad[i] |= bool(found) and not (found[-1] < round(end, 6) and _on_time(found, start, frames))
    return bad


def _on_time(times: list[float], start_s: float, frames: FrameSettings) -> bool:
    """Whether faces are of the moments that the rule of their shard gives."""
    places = range(len(times))
    if frames.rule == "time":
        return times == [round(start_s + k * frames.interval_s, 6) for k in places]
    if frames.rule == "thinned":
        return times == [(int(2 * start_s) + k * frames.step) / 2 for k in places]
    # How many pictures a second there were is not stored: they are equally far apart.
    each_s = (times[-1] - times[0]) / max(len(times) - 1, 1)
    even = all(abs(times[0] + k * each_s - times[k]) < _ROUNDING_S for k in places)
    return even and each_s >= 0 and start_s - 1 < times[0] < start_s + _ROUNDING_S


def _i11(rows: Rows) -> NDArray[np.bool_]:
    found, prob = rows.columns["faces/found"], rows.columns["faces/prob"]
    box, side = rows.columns["faces/box"], rows.settings.faces.image_size_px
    bad = (found > 1) | ~((prob >= 0) & (prob <= 1)) | ~np.isfinite(box).all(axis=1)
    centre = (prob == 0) & (box[:, 2] - box[:, 0] == side) & (box[:, 3] - box[:, 1] == side)
    return rows.any("faces", bad | ((found == 0) & ~centre))


def _i12(rows: Rows) -> NDArray[np.bool_]:
    mel = rows.settings.mel
    seconds = rows.columns["end_s"] - rows.columns["start_s"]
    found = rows.lengths("mel")
    # How many audio samples there were is not stored: one row more for rounding and resampling.
    most = 2 + np.floor(seconds * mel.rate_hz / mel.hop)
    bad: NDArray[np.bool_] = (found < 1 + (mel.n_fft // 2 + 1) // mel.hop) | ~(found <= most)
    return bad


def _i13(rows: Rows) -> NDArray[np.bool_]:
    text, tokens = rows.settings.text, rows.columns["tokens/values"]
    outside = rows.any("tokens", (tokens < 0) | (tokens >= text.vocabulary_size))
    return outside | (rows.lengths("tokens") > text.max_tokens)


def _i14(rows: Rows) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = np.isinf(rows.columns["ratings"]).any(axis=1)
    return bad


def _i21(rows: Rows) -> NDArray[np.bool_]:
    bad: NDArray[np.bool_] = rows.columns["clamped"] > 1
    return bad


_CHECKS: tuple[tuple[str, str, Callable[[Rows], NDArray[np.bool_]]], ...] = (
    ("I8", "the span is not 0 <= start_s < end_s", _i8),
    ("I9", "label holds other values than 0 and 1", _i9),
    ("I10", "there is no face, or one of another moment than its place says", _i10),
    ("I11", "found, prob and box of a face contradict each other", _i11),
    ("I12", "the spectrum has more or fewer rows than the span allows", _i12),
    ("I13", "there are tokens out of the vocabulary, or too many", _i13),
    ("I14", "ratings are neither finite nor NaN", _i14),
    ("I21", "clamped is neither 0 nor 1", _i21),
)


def _check_dropped(rows: Rows) -> Iterator[tuple[str, str]]:
    prepared = set(rows.columns["id"])
    known = {reason.value for reason in DropReason}
    for place, text in enumerate(rows.columns["dropped"]):
        entry = _object(text)
        if not all(isinstance(entry.get(name), str) for name in _DROPPED_TEXT):
            yield "I15", f"entry {place} of dropped is not the object that it should be"
        elif entry["reason"] not in known:
            yield "I15", f"{entry['id']} was dropped for the unknown reason {entry['reason']!r}"
        elif entry["id"] in prepared:
            yield "I15", f"{entry['id']} is both an example and dropped"
        elif is_absolute(entry["file"]):
            yield "I17", f"the dropped {entry['id']} names the path {entry['file']}"


def _check_sources(rows: Rows) -> Iterator[tuple[str, str]]:
    entries = [_object(text) for text in rows.columns["source"]]
    names = [entry.get("recording_id") for entry in entries]
    digests = [entry.get(part) for entry in entries for part in ("video", "audio")]
    sound = all(isinstance(text, str) and _SHA256.fullmatch(text) for text in digests)
    if not sound or not all(isinstance(name, str) for name in names):
        yield "I22", "an entry of source is not the object that it should be"
        return
    if len(set(names)) < len(names):
        yield "I22", "source names a recording twice"
    if unknown := sorted(set(rows.columns["recording_id"]) - set(names)):
        yield "I22", f"source lacks the recording {unknown[0]}"


def _check_parts(rows: Rows) -> Iterator[tuple[str, str]]:
    """The digests of each example, and its spectrum's floor, in one pass over the large columns."""
    floor = np.log(np.float64(rows.settings.mel.floor)).astype(np.float16)
    low = []
    for number, name in enumerate(rows.columns["id"]):
        try:
            row = rows.row(number)
        except DAMAGE as error:
            yield "unreadable", f"{name}: {' '.join(str(error).split())}"
            continue
        found = digests_of(row, rows.settings.storage)
        stored = {part: rows.columns[f"digest/{part}"][number].tobytes() for part in found}
        if damaged := [part for part in found if found[part] != stored[part]]:
            yield "I23", f"{name} is damaged in its {', '.join(damaged)}"
        if problem := _bad_files(row, rows.settings):
            yield "I25", f"{name}: {problem}"
        mel = row["mel/values"]
        if not (np.isfinite(mel) & (mel >= floor)).all():
            low.append(name)
    if low:
        count = _count(np.array(low))
        yield "I12", f"the spectrum is below the floor or not finite: {count}, first {low[0]}"


def _bad_files(row: dict[str, Any], settings: PrepSettings) -> str:
    """What is wrong with the files of an example's faces; empty where nothing is."""
    if settings.storage.faces == "raw":
        return ""
    faces = JpegFaces(
        files=row["faces/values"],
        sizes=row["faces/sizes"],
        side_px=settings.faces.image_size_px,
        times_s=row["faces/times_s"],
        found=row["faces/found"],
        box=row["faces/box"],
        prob=row["faces/prob"],
        place="a face",
    )
    try:
        _ = faces.rgb
    except ShardError as error:
        return error.sentence
    return ""


def _object(text: str) -> dict[str, Any]:
    """A JSON object; an empty one for what is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def _count(bad: NDArray[Any]) -> str:
    return f"{len(bad)} utterance(s)"
