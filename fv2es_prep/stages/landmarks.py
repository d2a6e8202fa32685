"""The stage ``landmarks``: five points of the speaker's face in each sampled picture.

MTCNN finds them together with the face of the stage ``faces``; both share one detection.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from fv2es_prep.config import PrepSettings
from fv2es_prep.stages.base import Check, Column, Pictures, Stage
from fv2es_prep.stages.faces import SeenFaces, largest_faces
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.stages.stage_rows import StageRows

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from fv2es_prep.detectors.detector import Face

_NO_FACE = np.full((5, 2), np.nan, np.float32)


def _infinite(rows: StageRows) -> NDArray[np.bool_]:
    return rows.any(np.isinf(rows["points"]).any(axis=(1, 2)))


def _points(faces: Sequence[Face]) -> NDArray[np.float32]:
    found = [_NO_FACE if face.points is None else face.points for face in faces]
    return np.array(found, np.float32).reshape(-1, 5, 2)


class LandmarksStage(Stage):
    """Eyes, nose and corners of the mouth of the face that ``faces`` selects."""

    name, needs, noun, symbol, section = "landmarks", ("video",), "landmarks", "ΣP", "faces"
    main, can_drop = "points", False
    checks = (Check("I27", "a point is infinite", _infinite),)

    def columns(self, settings: PrepSettings) -> tuple[Column, ...]:
        meaning = "x, y in the view of eyes, nose, mouth corners; NaN where no face was found"
        return (Column("points", "ragged", "<f4", (5, 2), "px", meaning),)

    def load(self, context: StageContext) -> Callable[[Pictures], NDArray[np.float32] | SeenFaces]:
        if context.settings.faces.select == "track":
            return lambda pictures: SeenFaces.of(pictures, context.detector)
        return lambda pictures: _points(largest_faces(pictures, context.detector))

    def join(self, parts: Sequence[Any]) -> Any:
        if isinstance(parts[0], SeenFaces):
            return _points(SeenFaces.speaker(parts))
        return super().join(parts)

    def batch(self, context: StageContext) -> int:
        return context.detector.batch


LANDMARKS = LandmarksStage()
