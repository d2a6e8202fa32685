"""Each modality of a video is used where it is there, and nothing is decided where none is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.familiarity import Familiarity
from fv2es_train.predict.outputs import UtterancePrediction
from fv2es_train.predict.predictor import Predictor
from fv2es_train.predict.render import csv_head, csv_row, table_lines
from fv2es_train.predict.request import Request, Span
from tests.planted import planted_pictures, right_share
from tests.train.media import LEFT, ffmpeg, film_of

SPANS = (Span(0, 6, view=LEFT), Span(3, 5, view=LEFT))


def scored(predictor: Predictor, video: Path) -> list[UtterancePrediction]:
    return list(predictor.predict(Request(video, spans=SPANS)))


@pytest.mark.parametrize(
    ("ends", "removed", "used"),
    [
        (("-c:v", "copy", "-af", "atrim=0:2"), ("-c:v", "copy", "-an"), "v"),
        (("-c:a", "copy", "-vf", "trim=0:2"), ("-c:a", "copy", "-vn"), "a"),
    ],
)
def test_a_source_that_ends_early_takes_nothing_from_the_other(
    ends: tuple[str, ...],
    removed: tuple[str, ...],
    used: str,
    predictor: Predictor,
    talk: Path,
    tmp_path: Path,
) -> None:
    ffmpeg("-i", talk, "-t", "8", *ends, tmp_path / "short.mkv")
    ffmpeg("-i", talk, "-t", "8", *removed, tmp_path / "without.mkv")
    found = scored(predictor, tmp_path / "short.mkv")
    expected = scored(predictor, tmp_path / "without.mkv")
    assert [(one.start_s, one.end_s) for one in found] == [(0, 6), (3, 5)]
    for one, other in zip(found, expected, strict=True):
        assert one.used == other.used == used and not one.undecided
        assert one.probability == pytest.approx(other.probability, abs=1e-6)
        assert one.missing.keys() == {*"tva"} - {used}


def test_pictures_after_the_end_of_the_sound_are_scored(
    predictor: Predictor, talk: Path, tmp_path: Path
) -> None:
    short, told = tmp_path / "short.mkv", list[str]()
    ffmpeg("-i", talk, "-c:v", "copy", "-af", "atrim=0:5", short)
    found = list(predictor.predict(Request(short, views=(LEFT,)), told.append))
    heard = [one for one in found if "a" in one.used]
    after = [one for one in found if "a" not in one.used]
    assert heard and max(one.end_s for one in heard) <= 5.1
    assert after and {one.used for one in after} == {"v"} and after[0].start_s >= 4.9
    assert after[-1].end_s == pytest.approx(8, abs=0.2)
    assert any("the sound ends at 5" in note for note in told)


def test_without_a_verified_face_nothing_is_decided_from_pictures(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    video = tmp_path / "card.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=d=4:s=640x480:r=25", "-pix_fmt", "yuv420p", video)
    predictor = Predictor.load(trained("v"), "cpu", None, "none")
    (one,) = predictor.predict(Request(video, spans=(Span(0, 4),)))
    assert (one.used, one.boxes, one.decided, one.probability) == ("", (), (), {})
    assert "no face" in one.undecided and (one.faces_found, one.faces_seen > 0) == (0, True)
    assert "not decided: no face" in "\n".join(table_lines(one, predictor.classes))
    assert csv_row("v", one, predictor.classes).count(",") == csv_head(predictor.classes).count(",")
    assert one.undecided in csv_row("v", one, predictor.classes)


def test_the_face_is_the_speakers_unless_the_largest_is_requested(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    pictures, places = planted_pictures(6)
    video = film_of(tmp_path / "planted.mkv", pictures, 2, "-c:v", "ffv1")
    predictor = Predictor.load(trained("v"), "cpu", None, "none")

    def share(**faces: Any) -> float:
        (one,) = predictor.predict(Request(video, spans=(Span(0, 3),), **faces))
        assert one.faces_found == one.faces_seen == 6 and one.decided
        edges = [[box.left, box.top, box.right, box.bottom] for box in one.boxes]
        return right_share(np.array(edges), places)

    assert share() == 1
    assert share(faces="largest") <= 0.5


def test_a_run_that_keeps_the_centre_still_does(
    trained: Callable[[str], Path], tmp_path: Path
) -> None:
    video = tmp_path / "card.mp4"
    ffmpeg("-f", "lavfi", "-i", "testsrc2=d=4:s=640x480:r=25", "-pix_fmt", "yuv420p", video)
    checkpoint = load_checkpoint(trained("v"))
    kept = dataclasses.replace(checkpoint.train, unverified_faces="keep")
    predictor = Predictor(dataclasses.replace(checkpoint, train=kept))
    (one,) = predictor.predict(Request(video, spans=(Span(0, 4),)))
    assert one.used == "v" and one.probability and len(one.boxes) == one.faces_seen


def test_an_input_unlike_the_training_is_not_decided(
    trained: Callable[[str], Path], talk: Path
) -> None:
    checkpoint = load_checkpoint(trained("a"))
    bands = checkpoint.settings.mel.n_mels
    strange = Familiarity({"a": [9.0] * bands}, {"a": [0.1] * bands}, {"a": 1.0})
    (one,) = Predictor(checkpoint, familiarity=strange).predict(Request(talk, spans=(Span(0, 4),)))
    assert one.probability and one.decided == () and one.unfamiliar["a"] > 1
    assert one.undecided == f"out-of-distribution audio ({one.unfamiliar['a']:.1f} times the limit)"
    known = Predictor.load(trained("a"), "cpu", None, "none")
    (other,) = known.predict(Request(talk, spans=(Span(0, 4),)))
    assert other.undecided == "" and other.unfamiliar == {}
