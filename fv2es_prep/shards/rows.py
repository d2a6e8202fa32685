"""The rows of one shard as examples, put together quickly: it is done for each of each epoch.

Owns what is computed once per shard so that an example costs a few slices. Leaves the open file to
the reader and the columns of a stage to the stage.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from fv2es_prep.config import PrepSettings
from fv2es_prep.stages.registry import stages_of
from fv2es_prep.stages.stage_rows import StageRows
from fv2es_prep.types import Example, Utterance

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_TEXTS = ("id", "recording_id", "text", "speaker", "session")
_NUMBERS = ("start_s", "end_s", "ratings", "clamped", "label")


class ShardRows:
    """All that the examples of a shard are made of.

    Args:
        name: the shard, for messages.
        settings: the settings that made it.
        utterances: one for each row.
        label: uint8 (N, C).
        stages: the rows of each stage.
    """

    def __init__(
        self,
        name: str,
        settings: PrepSettings,
        utterances: list[Utterance],
        label: NDArray[np.uint8],
        stages: list[StageRows],
    ) -> None:
        self.utterances, self._label, self._settings = utterances, label, settings
        self._places = [f"{name}, row {row}," for row in range(len(utterances))]
        # This is called for each example of each epoch: nothing is looked up twice.
        self._stages = [(rows.stage.name, rows.stage.decode, rows.row) for rows in stages]

    def example(self, row: int) -> Example:
        """One example.

        Raises:
            ValueError: a part of it does not lie within its columns, or has another shape.
        """
        settings, place = self._settings, self._places[row]
        parts = {name: decode(of(row), settings, place) for name, decode, of in self._stages}
        return Example(self.utterances[row], self._label[row], **parts)


def make_rows(
    name: str,
    settings: PrepSettings,
    label_classes: tuple[str, ...],
    column: Callable[[str], Any],
) -> ShardRows:
    """Compute once what examples are made of.

    Args:
        name: the shard, for messages.
        settings: the settings that made it.
        label_classes: names of the label columns.
        column: gives a column by its path: small ones whole, ragged ones to be sliced.

    Raises:
        ValueError: columns that should be of one length are not; others of `schema.DAMAGE` where
            their types are damaged.
    """
    utterances = list(_utterances(column, label_classes))
    stages = [StageRows(stage, settings, column) for stage in stages_of(settings)]
    for rows in stages:
        if rows.ragged and len(rows.slices) != len(utterances):
            raise ValueError(f"{rows.stage.name}/offsets is not one longer than id")
    return ShardRows(name, settings, utterances, column("label"), stages)


def _utterances(
    column: Callable[[str], Any], label_classes: tuple[str, ...]
) -> Iterator[Utterance]:
    """Who said it and when; the view is not stored and comes back as the default."""
    columns = {name: column(name) for name in _TEXTS}
    columns |= {name: column(name).tolist() for name in _NUMBERS}
    for values in zip(*columns.values(), strict=True):
        row = dict(zip(columns, values, strict=True))
        names = zip(label_classes, row["label"], strict=True)
        yield Utterance(
            id=row["id"],
            recording_id=row["recording_id"],
            start_s=float(row["start_s"]),
            end_s=float(row["end_s"]),
            transcript=row["text"],
            labels=tuple(name for name, holds in names if holds),
            speaker=row["speaker"],
            session=row["session"],
            ratings=tuple(map(float, row["ratings"])),
            clamped=bool(row["clamped"]),
        )
