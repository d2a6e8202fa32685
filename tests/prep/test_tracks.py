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
from tests.planted import planted_pictures, right_share

pytestmark = pytest.mark.usefixtures("detected_each_time")

COUNT = 10


def face(x: float, y: float, side: float, prob: float = 0.9999) -> Face:
    box = np.array([x, y, x + side, y + side], np.float32)
    return Face(np.zeros((48, 48, 3), np.uint8), box, prob, True)


def test_hands_and_smaller_faces_beside_the_speaker_are_not_the_speaker():
    speaker = [face(100 + i, 50, 60, 0.9995) for i in range(20)]
    hands = [face(20, 200, 110, 0.72) for _ in range(20)]
    smaller = [face(300, 60, 30) for _ in range(20)]
    found = speaker_track(list(zip(hands, speaker, smaller, strict=True)))
    assert all(found[i] is speaker[i] for i in range(20))
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
    return planted_pictures(COUNT)


@pytest.mark.parametrize("detector", ["exact", "facenet"])
def test_the_speaker_is_kept_beside_what_is_planted(planted, detector):
    pictures, places = planted
    largest = StageContext(PrepSettings(faces=FaceSettings(detector=detector)), "", ())
    taken = largest.maker(FACES)(Pictures(range(COUNT), pictures))
    assert right_share(taken.box, places) < 0.5
    track = FaceSettings(detector=detector, select="track")
    context = StageContext(PrepSettings(faces=track, stages=("faces", "landmarks")), "", ())
    parts, points = [], []
    for number, rgb in enumerate(pictures):
        one = Pictures([number / 2], [rgb])
        parts.append(context.maker(FACES)(one))
        points.append(context.maker(LANDMARKS)(one))
    assert parts[0] is points[0]  # detected once for both stages
    faces = FACES.join(parts)
    assert faces.found.all() and right_share(faces.box, places) >= 0.95
    assert faces.times_s.tolist() == [number / 2 for number in range(COUNT)]
    marks = LANDMARKS.join(points)
    inside = (marks >= faces.box[:, None, :2]) & (marks <= faces.box[:, None, 2:])
    assert inside.all()
