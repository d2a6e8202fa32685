from __future__ import annotations

import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN

from fv2es_prep.corpora import adapter
from fv2es_prep.corpora.iemocap import LABELS
from fv2es_prep.inventory import LabelChoice
from fv2es_prep.media.faces import FaceDetector, crop_faces
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.settings import FaceSettings, FrameSettings


@pytest.fixture(scope="module")
def detector() -> FaceDetector:
    return FaceDetector(FaceSettings())


@pytest.fixture(scope="module")
def views(corpus) -> list[np.ndarray]:
    """What the speakers of the corpus's first recording look like, 224x224."""
    inventory = adapter("iemocap").scan(corpus, LabelChoice(LABELS))
    recording = inventory.recordings[0]
    spoken = [u for u in inventory.utterances if u.recording_id == recording.id]
    with OpenRecording(recording, spoken, FrameSettings()) as source:
        return [rgb for utterance in spoken for _, rgb in source.frames(utterance)]


def test_faces_are_facenet_pytorchs_own_pixel_for_pixel(views, detector):
    reference = MTCNN(image_size=48, margin=2, post_process=False)
    faces = crop_faces(enumerate(views), detector)
    assert len(faces.rgb) == len(views) > 20
    assert faces.found.sum() >= 0.8 * len(views)
    for place, view in enumerate(views):
        crop, prob = reference(view, return_prob=True)
        if crop is None:
            assert not faces.found[place]
            continue
        boxes, _ = reference.detect(view)
        assert np.array_equal(faces.rgb[place], crop.permute(1, 2, 0).to(torch.uint8).numpy())
        assert np.array_equal(faces.box[place], boxes[0])
        assert faces.prob[place] == np.float32(prob)


def test_without_a_face_the_centre_stands_in_and_is_marked(detector):
    rng = np.random.default_rng(0)
    blank = (np.full((224, 224, 3), 90) + rng.integers(0, 5, (224, 224, 3))).astype(np.uint8)
    faces = crop_faces([(1.5, blank)], detector)
    assert not faces.found[0]
    assert faces.prob[0] == 0
    assert np.array_equal(faces.rgb[0], blank[88:136, 88:136])
    assert np.array_equal(faces.box[0], [88, 88, 136, 136])
    assert faces.times_s[0] == 1.5


def test_one_face_among_none_is_found(views, detector):
    blank = np.zeros_like(views[0])
    seen = next(view for view in views if detector.largest(view).found)
    faces = crop_faces([(0.0, blank), (0.5, seen), (1.0, blank)], detector)
    assert faces.found.tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (19, 300), (20, 20), (47, 31)])
def test_tiny_pictures_have_no_face_and_do_no_harm(shape, detector):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (*shape, 3)).astype(np.uint8)
    face = detector.largest(rgb)
    assert not face.found
    assert face.rgb.shape == (48, 48, 3)


def test_no_picture_gives_no_faces(detector):
    faces = crop_faces([], detector)
    assert faces.rgb.shape == (0, 48, 48, 3)
    assert faces.box.shape == (0, 4)
