"""The columns of a catalogue in memory: arrays, and text that comes again as numbers.

Owns the values that splits are made and judged from. Leaves the file to `catalogue`.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Names of columns in the file: the times, and what stands before the name of a class.
TIMES = ("start_s", "end_s")
LABEL = "label/"


@dataclass(frozen=True)
class Names:
    """A text column in which values come again: numbers into a sorted list of what occurs.

    Attributes:
        codes: int32 (N,), place in ``values``.
        values: each text that occurs, once, in order of code points.
    """

    codes: NDArray[np.int32]
    values: list[str]

    @functools.cached_property
    def known(self) -> NDArray[np.bool_]:
        """Bool (N,): where the text is not empty."""
        known: NDArray[np.bool_] = self.codes != (0 if self.values[:1] == [""] else -1)
        return known


class CatalogueTable:
    """The columns of a catalogue, each read when it is first asked for; N rows.

    Args:
        label_classes: names of the label columns.
        rows: N.
        column: gives a column by its name in the file, as a `pyarrow.ChunkedArray`.
        stages: names of the stages that have a digest in the file.
    """

    def __init__(
        self,
        label_classes: tuple[str, ...],
        rows: int,
        column: Callable[[str], Any],
        stages: Collection[str],
    ) -> None:
        self.label_classes, self._stages = label_classes, stages
        self._rows, self._column = rows, column

    def __len__(self) -> int:
        return self._rows

    @functools.cached_property
    def ids(self) -> Any:
        """Utterance ids, a `pyarrow.LargeStringArray`."""
        return self._text("id")

    @functools.cached_property
    def texts(self) -> Any:
        """Transcripts, a `pyarrow.LargeStringArray`."""
        return self._text("text")

    @functools.cached_property
    def recordings(self) -> Names:
        """The recordings of the utterances."""
        return names_of(self._text("recording_id"))

    @functools.cached_property
    def speakers(self) -> Names:
        """Their speakers; empty where not known."""
        return names_of(self._text("speaker"))

    @functools.cached_property
    def sessions(self) -> Names:
        """Their sessions; empty where not known."""
        return names_of(self._text("session"))

    @functools.cached_property
    def spans_us(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Start and end, int64 (N,) each, in whole microseconds: sums of them are exact."""
        start, end = (np.rint(self._column(name).to_numpy() * 1e6) for name in TIMES)
        return start.astype(np.int64), end.astype(np.int64)

    @functools.cached_property
    def label(self) -> NDArray[np.uint8]:
        """uint8 (N, C)."""
        label = np.zeros((len(self), len(self.label_classes)), np.uint8)
        for place, name in enumerate(self.label_classes):
            label[:, place] = self._column(LABEL + name).to_numpy()
        return label

    def content(self, stage: str) -> NDArray[np.int32]:
        """Numbers of the stored values, int32 (N,): equal where the digests are equal.

        All differ where the dataset does not have the stage.
        """
        if stage not in self._stages:
            return np.arange(len(self), dtype=np.int32)
        encoded = _whole(self._column(stage)).dictionary_encode()
        codes: NDArray[np.int32] = encoded.indices.to_numpy()
        return codes

    def _text(self, name: str) -> Any:
        import pyarrow as pa

        return _whole(self._column(name).cast(pa.large_string()))


def names_of(texts: Any) -> Names:
    """A text column by number.

    Args:
        texts: a `pyarrow.Array` of text, N rows, or a list of str.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = texts if isinstance(texts, pa.Array) else pa.array(texts, pa.large_string())
    encoded = column.dictionary_encode()
    order = pc.sort_indices(encoded.dictionary).to_numpy()
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    codes = place[encoded.indices.to_numpy()] if len(order) else np.zeros(0, np.int32)
    return Names(codes, encoded.dictionary.take(pa.array(order)).to_pylist())


def _whole(column: Any) -> Any:
    """A chunked column as one array."""
    return column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
