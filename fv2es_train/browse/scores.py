"""The predictions of a run for the examples of a catalogue."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from fv2es_prep.errors import UsageError
from fv2es_prep.shards.catalogue import Catalogue
from fv2es_train.evaluation.predictions import FOLDER, join, read_predictions


class Scores:
    """The predictions of a run for the examples of a catalogue.

    Attributes:
        known: bool (N,), whether the run has a prediction for the example.
        right: bool (N,), whether the predicted classes equal the label.
        confidence: float64 (N,), the largest probability; infinite where unknown.
    """

    def __init__(self, run: Path, catalogue: Catalogue) -> None:
        files = sorted((run / FOLDER).glob("*.csv"))
        if not files:
            raise UsageError(
                f"{run} has no predictions",
                f"measure it first: fv2es eval --run {run} --shards SHARDS --split FILE",
            )
        parts = [read_predictions(path) for path in files]
        found = self._found = join(parts)
        self._subsets = [f.stem for f, part in zip(files, parts, strict=True) for _ in part.ids]
        rows = catalogue.rows_of(found.ids)
        there = np.flatnonzero(rows >= 0)
        # Row in the predictions; -1 for none.
        self._places = np.full(len(catalogue), -1)
        self._places[rows[there]] = there
        self.known = self._places >= 0
        right = (found.predicted == found.truth).all(axis=1)
        self.right = self.known & right[self._places]
        self.confidence = np.where(self.known, found.probability.max(axis=1)[self._places], np.inf)

    def of(self, row: int) -> dict[str, Any]:
        """The prediction for a row; empty if there is none."""
        place = int(self._places[row])
        if place < 0:
            return {}
        found, classes = self._found, self._found.classes
        return {
            "subset": self._subsets[place],
            "predicted": [c for c, p in zip(classes, found.predicted[place], strict=True) if p],
            "probability": {
                c: round(float(p), 4)
                for c, p in zip(classes, found.probability[place], strict=True)
            },
            "right": bool(self.right[row]),
        }
