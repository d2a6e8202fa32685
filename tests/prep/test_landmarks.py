"""The stage ``landmarks``: its points are facenet-pytorch's own."""

from __future__ import annotations

import numpy as np
import pytest
from facenet_pytorch import MTCNN

from fv2es_prep.config import FaceSettings, PrepSettings
from fv2es_prep.stages.base import Pictures
from fv2es_prep.stages.faces import FACES
from fv2es_prep.stages.landmarks import LANDMARKS
from fv2es_prep.stages.registry import StageContext


@pytest.mark.parametrize("detector", ["exact", "fast", "facenet"])
def test_the_points_are_facenet_pytorchs_own(detector):
    from skimage.data import astronaut

    seen = np.ascontiguousarray(astronaut()[:256])
    shifted, blank = np.roll(seen, 30, axis=1), np.zeros_like(seen)
    pictures = Pictures([0.0, 0.5, 1.0], [seen, blank, shifted])
    settings = PrepSettings(faces=FaceSettings(detector=detector), stages=("faces", "landmarks"))
    context = StageContext(settings, "", ())
    faces = context.maker(FACES)(pictures)
    calls = pictures.shared["largest_faces"]
    points = context.maker(LANDMARKS)(pictures)
    assert pictures.shared["largest_faces"] is calls  # detected once for both stages
    assert (points.dtype, points.shape) == (np.float32, (3, 5, 2))
    assert faces.found.tolist() == [True, False, True]
    assert np.isnan(points[1]).all()
    reference = MTCNN(min_face_size=20)
    for place in (0, 2):
        boxes, _, expected = reference.detect(pictures.rgb[place], landmarks=True)
        assert np.abs(points[place] - expected[0]).max() < 0.01
        left, top, right, bottom = boxes[0]
        assert ((points[place] > [left, top]) & (points[place] < [right, bottom])).all()
    assert LANDMARKS.join([points[:1], points[1:]]).shape == (3, 5, 2)
    assert LANDMARKS.batch(context) == context.detector.batch
