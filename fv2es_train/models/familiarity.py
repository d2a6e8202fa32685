"""The distance of an input from the training data of a run: two distances for each modality.

The features are deliberately coarse: the mean of each mel band over the loud rows, so that pauses
hardly count, and the colours of the mean face in 6 x 6 fields. They detect another room,
microphone, camera or object, not another emotion. One distance detects values that are rare in
train. The other detects combinations of values that do not occur there: it is the residual of an
input after projection onto the main components of train. docs/experiments.md has detection rates.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from fv2es_prep.errors import DAMAGE, TrainError, words_of
from fv2es_prep.utils.files import read_regular, write_json
from fv2es_train.data.batches import missing_letters
from fv2es_train.models.run_files import FAMILIARITY, unpacked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example

_FIELDS = 6
# Smallest deviation of a feature: natural log of power, and colour on the scale 0..255.
_FLOOR = {"a": 0.1, "v": 2.0}
# A row of the spectrum is loud above this fraction between a quiet and a loud percentile.
_LOUD, _PERCENTILES = 1 / 3, (5, 95)
# The main components explain this share of the variance.
_EXPLAINED = 0.9
# A limit is this factor times the 95th percentile of the distances of train. Each fifth of train is
# measured by statistics of the other four, because distances on the fitted data are too small.
_QUANTILE, _MARGIN, _PARTS = 0.95, 1.5, 5
# Lower bounds of the limits, in case all of train is alike.
_LEAST = (1.0, 0.1)


@dataclass(frozen=True)
class Familiarity:
    """Statistics of a train subset; the keys are modality letters, ``a`` and ``v``.

    Attributes:
        mean: mean of each feature.
        deviation: standard deviation of each feature.
        limit: largest familiar distance from the mean, the root mean square of standard scores.
        components: main components of the standard scores, orthonormal rows.
        rest_limit: largest familiar distance from the space of the main components.
    """

    mean: Mapping[str, list[float]]
    deviation: Mapping[str, list[float]]
    limit: Mapping[str, float]
    components: Mapping[str, list[list[float]]] = field(default_factory=dict)
    rest_limit: Mapping[str, float] = field(default_factory=dict)

    def score(self, example: Example) -> dict[str, float]:
        """The larger distance / limit of each modality; above 1 the input is unfamiliar."""
        found = {}
        for letter, values in features_of(example).items():
            if letter in self.limit:
                limits = np.array([self.limit[letter], self.rest_limit.get(letter, np.inf)])
                found[letter] = float((self._shape(letter).distances(values) / limits).max())
        return found

    def _shape(self, letter: str) -> _Shape:
        components = np.array(self.components.get(letter, []))
        mean, deviation = np.array(self.mean[letter]), np.array(self.deviation[letter])
        return _Shape(mean, deviation, components.reshape(-1, len(mean)))


@dataclass(frozen=True)
class _Shape:
    """Mean and deviation (F,) of a feature table, and main components (K, F)."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    components: NDArray[np.float64]

    @classmethod
    def of(cls, table: NDArray[np.float64], floor: float) -> _Shape:
        """Fit on a table (N, F)."""
        mean, deviation = table.mean(axis=0), np.maximum(table.std(axis=0), floor)
        scores = (table - mean) / deviation
        # Several times as fast as a singular value decomposition of the table.
        variances, vectors = np.linalg.eigh(scores.T @ scores)
        variances = np.maximum(variances[::-1], 0)
        share = np.cumsum(variances) / max(variances.sum(), np.finfo(float).tiny)
        count = min(np.searchsorted(share, _EXPLAINED) + 1, len(table))
        return cls(mean, deviation, vectors[:, ::-1].T[:count])

    def distances(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Distances from the mean and from the space of the components: (..., F) to (..., 2)."""
        scores = (values - self.mean) / self.deviation
        rest = scores - scores @ self.components.T @ self.components
        found: NDArray[np.float64] = np.stack([scores, rest], axis=-2)
        return np.asarray(np.sqrt((found**2).mean(axis=-1)))


def features_of(example: Example) -> dict[str, NDArray[np.float64]]:
    """Modality letter -> features: ``a`` (M,), loud mel bands; ``v`` (108,), fields of the face."""
    missing, found = missing_letters(example), {}
    if "a" not in missing and len(example.mel.log_power):
        power = example.mel.log_power.astype(np.float64)
        level = power.mean(axis=1)
        quiet, loud = np.percentile(level, _PERCENTILES)
        found["a"] = power[level >= quiet + _LOUD * (loud - quiet)].mean(axis=0)
    if "v" not in missing and len(example.faces.rgb):
        face = example.faces.rgb.mean(axis=0, dtype=np.float64)
        side = len(face) // _FIELDS
        cut = face[: side * _FIELDS, : side * _FIELDS]
        fields = cut.reshape(_FIELDS, side, _FIELDS, side, 3).mean(axis=(1, 3))
        found["v"] = fields.ravel()
    return found


def measure_familiarity(examples: Iterable[Example]) -> Familiarity:
    """Compute the statistics of a train subset in one pass."""
    rows: dict[str, list[NDArray[np.float64]]] = {"a": [], "v": []}
    for example in examples:
        for letter, values in features_of(example).items():
            rows[letter].append(values)
    tables = {letter: np.stack(found) for letter, found in rows.items() if len(found) > 1}
    shapes = {letter: _Shape.of(table, _FLOOR[letter]) for letter, table in tables.items()}
    limits = {letter: _limits(table, _FLOOR[letter]) for letter, table in tables.items()}
    return Familiarity(
        mean={letter: shape.mean.tolist() for letter, shape in shapes.items()},
        deviation={letter: shape.deviation.tolist() for letter, shape in shapes.items()},
        limit={letter: float(pair[0]) for letter, pair in limits.items()},
        components={m: shape.components.round(6).tolist() for m, shape in shapes.items()},
        rest_limit={letter: float(pair[1]) for letter, pair in limits.items()},
    )


def _limits(table: NDArray[np.float64], floor: float) -> NDArray[np.float64]:
    """Compute the limit of both distances from a table (N, F), by cross-validation."""
    parts = np.array_split(np.arange(len(table)), _PARTS)
    found = [
        _Shape.of(np.delete(table, part, axis=0), floor).distances(table[part])
        for part in parts
        if len(part)
    ]
    kept = np.quantile(np.concatenate(found), _QUANTILE, axis=0)
    return np.maximum(kept * _MARGIN, _LEAST)


def write_familiarity(run: Path, familiarity: Familiarity) -> None:
    """Write RUN/familiarity.json; OutputError if it cannot be written."""
    write_json(run / FAMILIARITY, asdict(familiarity))


def read_familiarity(run: Path) -> Familiarity | None:
    """Read the statistics of a run, directory or packed; None for a run of an earlier version.

    Raises:
        TrainError: the file is damaged.
    """
    path = unpacked(run) / FAMILIARITY
    if not path.is_file():
        return None
    try:
        stored = json.loads(read_regular(path))
        # Earlier versions had other features.
        if "components" not in stored:
            return None
        found = msgspec.convert(stored, Familiarity)
        for letter in found.limit:
            if len(found.mean[letter]) != len(found.deviation[letter]):
                raise ValueError(f"mean and deviation of {letter!r} have different lengths")
        return found
    except DAMAGE as error:
        raise TrainError(
            f"{path} cannot be read: {words_of(error)}", "train again, or copy the whole run"
        ) from error
