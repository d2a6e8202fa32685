"""Every utterance of a corpus as a row: the examples of a dataset, then those left out.

Owns filters and order. Opens no shard: the columns come from the catalogue.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from fv2es_prep.config import MODALITY_NAMES
from fv2es_prep.shards.catalogue import Names, names_of, read_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.review import REVIEW_NAME, Review, add_review, read_review
from fv2es_prep.splits import SUBSETS, Split, read_split
from fv2es_train.browse.scores import Scores

Mask = NDArray[np.bool_]
State = Literal["", "kept", "left_out", "marked", "right", "wrong"]
Order = Literal["corpus", "id", "seconds", "faces", "confidence"]
_HELD = 8


@dataclass(frozen=True)
class Query:
    """Which rows to show, in which order; an empty value filters nothing.

    Attributes:
        text: words of the transcript, or a part of the id; ignores case.
        label: a class.
        speaker: a speaker.
        session: a session.
        reason: why an utterance was left out.
        missing: a missing modality: text, audio or video.
        subset: subset of the split.
        state: kept, left_out, marked; or right or wrong by the first run.
        most_faces: largest share of pictures with a face.
        least_s: shortest length in seconds.
        most_s: longest length in seconds.
        order: sort key.
        descending: largest first.
    """

    text: str = ""
    label: str = ""
    speaker: str = ""
    session: str = ""
    reason: str = ""
    missing: str = ""
    subset: str = ""
    state: State = ""
    most_faces: float = 1.0
    least_s: float = 0.0
    most_s: float = float("inf")
    order: Order = "corpus"
    descending: bool = False


class Table:
    """The rows of a dataset: N examples, then the utterances that were left out.

    Args:
        directory: the dataset.
        runs: directories of runs, to show their predictions.
        split: file of a split, to show its subsets.

    Raises:
        UsageError: the dataset does not exist, or a run has no predictions.
        SplitError: the split cannot be read.
        ShardError: the dataset is damaged.
        TrainError: predictions are damaged.
    """

    def __init__(
        self, directory: Path, runs: Sequence[Path] = (), split: Path | None = None
    ) -> None:
        self.directory = directory
        self.catalogue = read_catalogue(directory)
        self.left_out = [e for e in read_dropped(directory) if e.get("id")]
        self.runs = {run.name or str(run): Scores(run, self.catalogue) for run in runs}
        self._subsets = self._subsets_of(read_split(split)) if split else None
        path = directory / REVIEW_NAME
        self._reviews = read_review(path) if path.exists() else {}
        # A mark changes the result of a query.
        self._find = functools.lru_cache(_HELD)(self._rows)
        # Read the columns now, so that the first page does not wait for them.
        self.rows(self.find(Query())[:1].tolist())

    def __len__(self) -> int:
        return len(self.catalogue) + len(self.left_out)

    def find(self, query: Query) -> NDArray[np.int64]:
        """Find the rows of a query, int64 (n,), in its order."""
        return self._find(query)

    def rows(self, numbers: Sequence[int]) -> list[dict[str, Any]]:
        """Rows as JSON values."""
        return [self._row(int(number)) for number in numbers]

    def number_of(self, id_: str) -> int:
        """The row of an utterance; -1 if there is none."""
        number = int(self.catalogue.rows_of([id_])[0])
        return self._left_out_rows.get(id_, -1) if number < 0 else number

    def choices(self) -> dict[str, list[str]]:
        """The possible values of each filter with a fixed list."""
        table = self.catalogue
        return {
            "label": list(table.label_classes),
            "speaker": [name for name in table.speakers.values if name],
            "session": [name for name in table.sessions.values if name],
            "reason": sorted({str(entry["reason"]) for entry in self.left_out}),
            "missing": list(table.missing_counts()),
            "subset": [] if self._subsets is None else list(SUBSETS),
        }

    def review(self, id_: str) -> Review:
        """The marks of an utterance."""
        return self._reviews.get(id_, Review(id_))

    def mark(self, id_: str, marks: Sequence[str], note: str) -> Review:
        """Mark an utterance; see `add_review`."""
        review = add_review(self.directory / REVIEW_NAME, id_, marks, note)
        self._reviews[id_] = review
        self._find.cache_clear()
        return review

    def reviews(self) -> list[Review]:
        """All marks, in the order of ids."""
        return [r for _, r in sorted(self._reviews.items()) if not r.is_empty]

    def scores(self, number: int) -> dict[str, dict[str, Any]]:
        """Run -> its prediction for an example; without runs that have none."""
        found = {name: run.of(number) for name, run in self.runs.items()}
        return {name: score for name, score in found.items() if score}

    @functools.cached_property
    def _face_share(self) -> NDArray[np.float64]:
        """Share of pictures with a face, float64 (N,); 1 without pictures."""
        pictures = self.catalogue.count("faces")
        found = self.catalogue.count("faces/found")
        return np.where(pictures > 0, found / np.maximum(pictures, 1), 1.0)

    @functools.cached_property
    def _left_out_rows(self) -> dict[str, int]:
        return {name: row for row, name in enumerate(self._left_out_ids, len(self.catalogue))}

    @functools.cached_property
    def _left_out_ids(self) -> list[str]:
        return [str(entry["id"]) for entry in self.left_out]

    def _subsets_of(self, split: Split) -> NDArray[np.int8]:
        """Index in `SUBSETS` of each example, int8 (N,); -1 for none."""
        found = np.full(len(self.catalogue), -1, np.int8)
        for place, subset in enumerate(SUBSETS):
            rows = self.catalogue.rows_of(split.ids(subset))
            found[rows[rows >= 0]] = place
        return found

    def _rows(self, query: Query) -> NDArray[np.int64]:
        keep = np.ones(len(self), bool)
        for mask in self._masks(query):
            keep &= mask
        rows = np.flatnonzero(keep)
        keys = self._keys(query.order)
        if keys is not None:
            ordered = np.argsort(keys[rows], kind="stable")
            rows = rows[ordered]
        return rows[::-1] if query.descending else rows

    def _masks(self, query: Query) -> Iterator[Mask]:
        table, nothing = self.catalogue, np.zeros(len(self.left_out), bool)

        def both(kept: NDArray[Any], left_out: Mask = nothing) -> Mask:
            return np.concatenate([kept.astype(bool), left_out])

        if query.text:
            yield self._containing(query.text)
        if query.label:
            chosen = [name == query.label for name in table.label_classes]
            yield both(table.label[:, chosen].max(axis=1, initial=0) > 0)
        for value, names in ((query.speaker, "speakers"), (query.session, "sessions")):
            if value:
                yield both(_equal(getattr(table, names), value))
        if query.reason:
            reasons = [str(entry["reason"]) == query.reason for entry in self.left_out]
            yield both(np.zeros(len(table), bool), np.array(reasons, bool))
        if query.missing:
            letters = [key for key, name in MODALITY_NAMES.items() if name == query.missing]
            lacking = np.zeros(len(table), bool)
            for letter in letters:
                lacking |= table.missing[letter].known
            yield both(lacking)
        if query.subset:
            place = SUBSETS.index(query.subset) if query.subset in SUBSETS else len(SUBSETS)
            here = self._subsets == place if self._subsets is not None else np.zeros(len(table))
            yield both(here)
        if query.most_faces < 1:
            yield both(self._face_share <= query.most_faces)
        if query.least_s > 0 or query.most_s < float("inf"):
            yield both((table.seconds >= query.least_s) & (table.seconds <= query.most_s))
        yield from self._of_state(query.state, both)

    def _of_state(self, state: State, both: Callable[..., Mask]) -> Iterator[Mask]:
        table = self.catalogue
        if state in ("kept", "left_out"):
            kept = np.full(len(table), state == "kept")
            yield both(kept, np.full(len(self.left_out), state != "kept"))
        elif state == "marked":
            marked = {review.id for review in self.reviews()}
            rows = np.zeros(len(table), bool)
            rows[[row for row in table.rows_of(sorted(marked)) if row >= 0]] = True
            yield both(rows, np.array([name in marked for name in self._left_out_ids], bool))
        elif state:
            run = next(iter(self.runs.values()), None)
            known = run.known if run else np.zeros(len(table), bool)
            right = run.right if run else known
            yield both(known & (right if state == "right" else ~right))

    def _containing(self, text: str) -> Mask:
        import pyarrow as pa
        import pyarrow.compute as pc

        def contains(texts: Any) -> Mask:
            found = pc.match_substring(texts, text, ignore_case=True)
            mask: Mask = found.to_numpy(zero_copy_only=False)
            return mask

        kept = contains(self.catalogue.texts) | contains(self.catalogue.ids)
        return np.concatenate([kept, contains(pa.array(self._left_out_ids, pa.large_string()))])

    def _keys(self, order: Order) -> NDArray[Any] | None:
        """The sort keys, (N + left out,); None for the order of the corpus."""
        table, last = self.catalogue, np.full(len(self.left_out), np.inf)
        if order == "id":
            import pyarrow as pa

            others = pa.array(self._left_out_ids, pa.large_string())
            return names_of(pa.concat_arrays([table.ids, others])).codes
        if order == "seconds":
            return np.concatenate([table.seconds, last])
        if order == "faces":
            return np.concatenate([self._face_share, last])
        if order == "confidence" and self.runs:
            return np.concatenate([next(iter(self.runs.values())).confidence, last])
        return None

    def _subset(self, number: int) -> str:
        """The subset of an example in the split; empty without one."""
        place = -1 if self._subsets is None else int(self._subsets[number])
        return SUBSETS[place] if place >= 0 else ""

    def _row(self, number: int) -> dict[str, Any]:
        table = self.catalogue
        if number >= len(table):
            entry = self.left_out[number - len(table)]
            review = self.review(str(entry["id"]))
            own = {"id": entry["id"], "reason": entry["reason"], "sentence": entry.get("sentence")}
            return {**own, "marks": review.marks, "note": review.note}
        id_ = table.ids[number].as_py()
        review = self.review(id_)
        held = zip(table.label_classes, table.label[number], strict=True)
        return {
            "id": id_,
            "text": table.texts[number].as_py(),
            "labels": [name for name, is_held in held if is_held],
            "speaker": table.speakers.at([number])[0],
            "session": table.sessions.at([number])[0],
            "recording": table.recordings.at([number])[0],
            "seconds": round(float(table.seconds[number]), 3),
            "faces": round(float(self._face_share[number]), 3),
            "pictures": int(table.count("faces")[number]),
            "subset": self._subset(number),
            "scores": self.scores(number),
            "marks": review.marks,
            "note": review.note,
        }


def _equal(names: Names, value: str) -> Mask:
    codes = [code for code, name in enumerate(names.values) if name == value]
    return np.isin(names.codes, codes)
