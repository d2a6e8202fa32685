"""How far an input lies from what a run was trained on: a distance for each modality.

The features are coarse on purpose: the mean of each mel band, and the colours of the mean face in
6 x 6 fields. They tell another room, microphone, camera or thing, not another emotion.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from fv2es_prep.errors import TrainError
from fv2es_prep.utils.files import write_json
from fv2es_train.data.batches import missing_letters
from fv2es_train.models.run_files import FAMILIARITY, unpacked

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.types import Example

_FIELDS = 6
# Smallest deviation of a feature: natural log of power, and colour of 0..255.
_FLOOR = {"a": 0.1, "v": 2.0}
# The limit is this much beyond the distance that 99.9 % of the train subset keep.
_QUANTILE, _MARGIN = 0.999, 1.5


@dataclass(frozen=True)
class Familiarity:
    """Statistics of a train subset; the keys are modality letters, ``a`` and ``v``.

    Attributes:
        mean: mean of each feature.
        deviation: standard deviation of each feature.
        limit: distance beyond which an input is unfamiliar.
    """

    mean: Mapping[str, list[float]]
    deviation: Mapping[str, list[float]]
    limit: Mapping[str, float]

    def score(self, example: Example) -> dict[str, float]:
        """Distance / limit of each modality that is there; above 1, the input is unfamiliar.

        The distance is the root mean square of the features' standard scores.
        """
        return {
            letter: float(
                _distance(values, np.array(self.mean[letter]), np.array(self.deviation[letter]))
                / self.limit[letter]
            )
            for letter, values in features_of(example).items()
            if letter in self.limit
        }


def features_of(example: Example) -> dict[str, NDArray[np.float64]]:
    """Modality letter -> features: ``a`` (M,), mel bands; ``v`` (108,), fields of the mean face."""
    missing, found = missing_letters(example), {}
    if "a" not in missing and len(example.mel.log_power):
        found["a"] = example.mel.log_power.mean(axis=0, dtype=np.float64)
    if "v" not in missing and len(example.faces.rgb):
        face = example.faces.rgb.mean(axis=0, dtype=np.float64)
        side = len(face) // _FIELDS
        cut = face[: side * _FIELDS, : side * _FIELDS]
        fields = cut.reshape(_FIELDS, side, _FIELDS, side, 3).mean(axis=(1, 3))
        found["v"] = fields.ravel()
    return found


def measure_familiarity(examples: Iterable[Example]) -> Familiarity:
    """The statistics of a train subset, read once."""
    found: dict[str, list[NDArray[np.float64]]] = {"a": [], "v": []}
    for example in examples:
        for letter, values in features_of(example).items():
            found[letter].append(values)
    mean, deviation, limit = {}, {}, {}
    for letter, rows in found.items():
        if rows:
            table = np.stack(rows)
            middle = table.mean(axis=0)
            spread = np.maximum(table.std(axis=0), _FLOOR[letter])
            mean[letter], deviation[letter] = middle.tolist(), spread.tolist()
            kept = np.quantile(_distance(table, middle, spread), _QUANTILE)
            limit[letter] = float(max(kept, 1.0) * _MARGIN)
    return Familiarity(mean, deviation, limit)


def write_familiarity(run: Path, familiarity: Familiarity) -> None:
    """Write RUN/familiarity.json; OutputError if it cannot be written."""
    write_json(run / FAMILIARITY, asdict(familiarity))


def read_familiarity(run: Path) -> Familiarity | None:
    """The statistics of a run, directory or packed; None for one of an earlier version.

    Raises:
        TrainError: the file is damaged.
    """
    path = unpacked(run) / FAMILIARITY
    if not path.is_file():
        return None
    try:
        return Familiarity(**json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise TrainError(
            f"{path} cannot be read: {error}", "train again, or copy the whole run"
        ) from error


def _distance(
    values: NDArray[np.float64], mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> NDArray[np.float64]:
    scores: NDArray[np.float64] = np.sqrt((((values - mean) / deviation) ** 2).mean(axis=-1))
    return scores
