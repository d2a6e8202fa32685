"""The speaker's face is chosen over the utterance: by person and certainty, not by size."""

from __future__ import annotations

import numpy as np
import pytest

from fv2es_prep.config import FaceSettings, PrepSettings
from fv2es_prep.detectors.detector import Face
from fv2es_prep.detectors.tracks import find_tracks, speaker_track
from fv2es_prep.stages.base import Pictures
from fv2es_prep.stages.faces import FACES
from fv2es_prep.stages.landmarks import LANDMARKS
from fv2es_prep.stages.registry import StageContext


def face(x: float, y: float, side: float, prob: float = 0.9999) -> Face:
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(np.zeros((48, 48, 3), np.uint8), box, prob, True)


def test_hands_and_smaller_faces_beside_the_speaker_are_not_the_speaker():
    speaker = [face(100 + i, 50, 60, 0.9995) for i in range(20)]
    hands = [face(20, 200, 110, 0.72) for _ in range(20)]
    smaller = [face(300, 60, 30) for _ in range(20)]
    found = speaker_track(list(zip(hands, speaker, smaller, strict=True)))
    assert [found[i] for i in range(20)] == speaker
    assert len(find_tracks(list(zip(hands, speaker, smaller, strict=True)))) == 3


def test_a_head_that_jumps_is_the_same_person_and_somebody_elsewhere_is_not():
    jumping = [[face(100, 50, 60)]] * 4 + [[face(155, 50, 58)]] * 3
    assert speaker_track(jumping).keys() == {*range(7)}
    leaving = [[face(100, 50, 60)]] * 4 + [[face(400, 50, 60)]] * 3
    assert speaker_track(leaving).keys() == {*range(4)}
    assert speaker_track([[], []]) == {}


def test_settings_of_today_are_stored_as_before():
    today, track = FaceSettings(), FaceSettings(select="track")
    assert "select" not in PrepSettings(faces=today).to_json()["faces"]
    assert PrepSettings(faces=track).to_json()["faces"]["select"] == "track"
    for faces in (today, track):
        settings = PrepSettings(faces=faces)
        assert PrepSettings.from_json(settings.to_json()) == settings
    assert FACES.identity(PrepSettings(faces=today)) != FACES.identity(PrepSettings(faces=track))


@pytest.fixture(scope="module")
def planted() -> tuple[list[np.ndarray], np.ndarray]:
    """An astronaut who moves beside a larger cat and a smaller copy of herself, in 20 pictures."""
    import cv2
    from skimage.data import astronaut, cat

    head, rng = astronaut()[0:180, 140:300], np.random.default_rng(0)
    hands = cv2.resize(cat()[40:300, 90:370], (300, 300), interpolation=cv2.INTER_AREA)
    small = cv2.resize(np.roll(head, 3, axis=1)[:, ::-1], (72, 81), interpolation=cv2.INTER_AREA)
    pictures, places = [], []
    for _ in range(20):
        rgb = np.full((480, 640, 3), 90, np.uint8)
        x, y = 300 + rng.integers(-12, 13), 60 + rng.integers(-12, 13)
        rgb[y : y + 180, x : x + 160] = head
        rgb[170:470, 4:304][:, : max(x - 4, 0)] = hands[:, : max(x - 4, 0)]
        rgb[300:381, 520:592] = small
        pictures.append(rgb)
        places.append((x + 80, y + 85))
    return pictures, np.array(places)


@pytest.mark.parametrize("detector", ["exact", "facenet"])
def test_the_speaker_is_kept_beside_what_is_planted(planted, detector):
    rgb, places = planted
    settings = PrepSettings(
        faces=FaceSettings(detector=detector, select="track"), stages=("faces", "landmarks")
    )
    context = StageContext(settings, "", ())
    parts, points = [], []
    for number, one in enumerate(rgb):
        pictures = Pictures([number / 2], [one])
        parts.append(context.maker(FACES)(pictures))
        points.append(context.maker(LANDMARKS)(pictures))
    assert parts[0] is points[0]  # detected once for both stages
    faces = FACES.join(parts)
    centres = (faces.box[:, :2] + faces.box[:, 2:]) / 2
    right = faces.found & (np.abs(centres - places).max(axis=1) < 60)
    assert right.mean() >= 0.95
    marks = LANDMARKS.join(points)
    inside = (marks >= faces.box[:, None, :2]) & (marks <= faces.box[:, None, 2:])
    assert inside.all(axis=(1, 2))[faces.found].all()
