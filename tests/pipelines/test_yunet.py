"""Faces found by YuNet, with the user's model file."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fv2es_prep.config import FaceSettings, PrepSettings
from fv2es_prep.detectors.detector import FaceDetector
from fv2es_prep.detectors.yunet import with_model
from fv2es_prep.errors import SettingsError, TokenizerError, UsageError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.stages.registry import StageContext
from fv2es_prep.utils.files import sha256_of
from fv2es_train.predict.encoder_sources import check_encoders, find_encoders
from pipelines.rederive import rederive
from tests.yunet_model import write_yunet


@pytest.fixture(scope="module", params=[None, 640], ids=["any size", "640x640"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_yunet(tmp_path_factory.mktemp("yunet") / "yunet.onnx", request.param)


def picture(height: int, width: int, side: int = 96) -> np.ndarray:
    """A bright square whose left and top are 160 and 96, on black."""
    rgb = np.zeros((height, width, 3), np.uint8)
    rgb[96 : 96 + side, 160 : 160 + side] = 255
    return rgb


@pytest.mark.parametrize(("height", "width"), [(353, 477), (720, 1280)])
def test_the_largest_face_has_its_box_and_points(height: int, width: int, model: Path) -> None:
    detector = FaceDetector(with_model(FaceSettings(), model), model=str(model))
    dark, face = detector.largest([np.zeros((224, 224, 3), np.uint8), picture(height, width)])
    assert not dark.found
    assert face.found and face.prob > 0.99 and face.points is not None
    assert face.box.tolist() == [160, 96, 256, 192]
    assert face.points[0].tolist() == [192, 128] and face.points[4].tolist() == [224, 160]
    # The margin is black.
    assert face.rgb.shape == (48, 48, 3) and face.rgb[4:-4, 4:-4].min() == 255


def test_small_faces_are_left_out(model: Path) -> None:
    settings = with_model(FaceSettings(min_face_px=100), model)
    assert not FaceDetector(settings, model=str(model)).largest([picture(353, 477)])[0].found


def test_only_the_file_of_the_settings_is_used(model: Path, tmp_path: Path) -> None:
    settings = with_model(FaceSettings(), model)
    assert settings.model_sha256 == sha256_of(model)
    other = tmp_path / "other.onnx"
    other.write_bytes(model.read_bytes() + b"\0")
    for path, said in ((None, "none is there"), (str(other), "is another one")):
        with pytest.raises(TokenizerError, match=said) as caught:
            FaceDetector(settings, model=path)
        assert "--encoder faces:FILE" in caught.value.hint
    other.write_bytes(b"no model")
    with pytest.raises(TokenizerError, match="is not a model of YuNet"):
        with_model(FaceSettings(), other)
    with pytest.raises(TokenizerError, match="is missing"):
        with_model(FaceSettings(), tmp_path / "none.onnx")


def test_a_dataset_is_prepared_and_made_again_with_it(
    corpus: Path, tmp_path: Path, text_model: Path, prepare: Any, options_for: Any
) -> None:
    model = write_yunet(tmp_path / "yunet.onnx")
    out = tmp_path / "shards"
    stages = (f"faces:{model}", "mel", "tokens")
    options = options_for(corpus, out, text_model, limit=2, stages=stages)
    prepare(options)
    stored = read_index(out).settings.faces
    assert (stored.detector, stored.model_sha256) == ("yunet", sha256_of(model))
    assert verify(out) == []
    with ShardReader(next(out.glob("*.h5"))) as reader:
        assert not reader.read(0).faces.found.all()
    # `shards verify --against` finds the file again, and prediction takes it from the shards.
    assert rederive(out, corpus, 2) == []
    moved = model.rename(tmp_path / "moved.onnx")
    findings = rederive(out, corpus, 2, encoders={"faces": str(moved)})
    assert findings == []
    with pytest.raises(SettingsError, match="yunet has no model file"):
        prepare(dataclasses.replace(options, stages=("faces",), faces=stored))


def test_a_run_finds_its_file_or_asks_for_it(tmp_path: Path) -> None:
    model = write_yunet(tmp_path / "yunet.onnx")
    settings = PrepSettings(faces=with_model(FaceSettings(), model))
    given = find_encoders(tmp_path / "packed", settings, [f"faces:{model}"])
    assert given == {"faces": str(model)}
    check_encoders(StageContext(settings, "", (), encoders=tuple(given.items())))
    with pytest.raises(TokenizerError, match="needs its model file"):
        check_encoders(StageContext(settings, "", ()))
    with pytest.raises(UsageError, match="does not read the encoder stage faces"):
        find_encoders(tmp_path / "packed", PrepSettings(), [f"faces:{model}"])
