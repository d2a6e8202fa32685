from __future__ import annotations

import subprocess
import sys

import cv2
import numpy as np
import pytest
import torch
from facenet_pytorch import MTCNN
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import interpolate
from torchvision.ops import nms

from fv2es_prep.config import FaceSettings, FrameSettings
from fv2es_prep.corpora import iemocap
from fv2es_prep.corpora.iemocap import LABELS
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.detectors import pyramid
from fv2es_prep.detectors.compiled import fill_crops
from fv2es_prep.detectors.detector import FaceDetector
from fv2es_prep.detectors.facenet import Facenet
from fv2es_prep.detectors.mtcnn import keep, scales_of, sum_table
from fv2es_prep.detectors.pyramid import PyramidNetwork, Pyramids
from fv2es_prep.errors import SettingsError
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.stages.base import Pictures
from fv2es_prep.stages.faces import crop_faces

pytestmark = pytest.mark.usefixtures("detected_each_time")


@pytest.fixture(scope="module", params=["exact", "fast", "facenet"])
def detector(request) -> FaceDetector:
    return FaceDetector(FaceSettings(detector=request.param))


@pytest.fixture(scope="module")
def views(corpus) -> list[np.ndarray]:
    """What the speakers of the corpus's first recording look like, 224x224."""
    inventory = iemocap.scan(corpus, LabelChoice(LABELS))
    recording = inventory.recordings[0]
    spoken = [u for u in inventory.utterances if u.recording_id == recording.id]
    with OpenRecording(recording, spoken, FrameSettings()) as source:
        return [rgb for utterance in spoken for _, rgb in source.frames(utterance)]


@pytest.fixture(scope="module")
def pictures(views) -> list[np.ndarray]:
    """The views, and what else a detector meets: many faces, small ones, odd sizes, none."""
    rng = np.random.default_rng(0)
    many = np.concatenate([np.concatenate(views[i : i + 3], axis=1) for i in (0, 3)])
    small = many[::3, ::3].copy()
    large = np.repeat(np.repeat(views[0], 2, axis=0), 2, axis=1)
    odd = views[1][7:150, 20:201].copy()
    noise = rng.integers(0, 255, (131, 77, 3)).astype(np.uint8)
    thin = views[2][:, 90:120].copy()
    return [*views[:8], many, small, large, odd, noise, thin, np.zeros((90, 90, 3), np.uint8)]


def test_the_faces_are_facenet_pytorchs_own(pictures, detector):
    reference = MTCNN(image_size=48, margin=2, post_process=False)
    faces = crop_faces(Pictures(range(len(pictures)), pictures), detector)
    assert len(faces.rgb) == len(pictures)
    assert faces.found.sum() >= 0.6 * len(pictures)
    for place, picture in enumerate(pictures):
        crop, prob = reference(picture, return_prob=True)
        assert faces.found[place] == (crop is not None)
        if crop is None:
            continue
        boxes, _ = reference.detect(picture)
        assert np.abs(faces.box[place] - boxes[0]).max() <= 0.01
        assert faces.prob[place] == pytest.approx(prob, abs=1e-5)
        assert np.array_equal(faces.rgb[place], crop.permute(1, 2, 0).numpy())


def test_the_detector_facenet_pytorch_gives_the_very_same_numbers(views):
    detector = FaceDetector(FaceSettings(detector="facenet"))
    reference = MTCNN(image_size=48, margin=2, post_process=False)
    for face, view in zip(detector.largest(views[:6]), views[:6], strict=True):
        boxes, probs = reference.detect(view)
        crop = reference(view).permute(1, 2, 0).to(torch.uint8).numpy()
        assert np.array_equal(face.box, boxes[0])
        assert face.prob == probs[0]
        assert np.array_equal(face.rgb, crop)


def test_fast_misses_no_small_face_where_every_face_is_wanted(views):
    # The coarse levels find the large face, but not those of 25 pixels beside it.
    small = cv2.resize(views[0], (55, 55), interpolation=cv2.INTER_AREA)
    crowd = np.concatenate(
        [views[0], np.pad(np.concatenate([small] * 4, axis=0), ((0, 4), (0, 0), (0, 0)))], axis=1
    )
    exact, fast = (FaceDetector(FaceSettings(detector=name)) for name in ("exact", "fast"))
    (wanted,), (found,) = exact.every([crowd]), fast.every([crowd])
    assert len(wanted) >= 3
    assert [face.box.tolist() for face in found] == [face.box.tolist() for face in wanted]
    assert len(fast._finder.detect([crowd], every=False)[0]) < len(wanted)


def test_batches_on_another_device_find_the_same_faces(pictures):
    # A GPU takes batches; here the same road is taken on the CPU.
    batched = Facenet(FaceSettings())
    batched.batch = 4
    detector, single = FaceDetector(FaceSettings()), FaceDetector(FaceSettings())
    detector._finder = batched
    mixed = [*pictures, np.zeros_like(pictures[0]), np.zeros((10, 10, 3), np.uint8)]
    ours = crop_faces(Pictures(range(len(mixed)), mixed), detector)
    theirs = crop_faces(Pictures(range(len(mixed)), mixed), single)
    assert np.array_equal(ours.found, theirs.found)
    assert np.abs(ours.box - theirs.box).max() < 0.05


@pytest.mark.parametrize("shape", [(480, 360), (173, 217), (20, 20), (7, 5)])
def test_pyramid_levels_are_torchs_bit_for_bit(shape):
    rgb = np.random.default_rng(0).integers(0, 256, (*shape, 3)).astype(np.uint8)
    planes = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    for height, width in ((shape[0] * 3 // 5 + 1, shape[1] * 3 // 5 + 1), (13, 12), (48, 48)):
        level = np.empty((height, width, 3), np.float32)
        fill_crops(sum_table(rgb), np.array([[0, 0, shape[1], shape[0]]]), level[None])
        theirs = (interpolate(planes, size=(height, width), mode="area") - 127.5) * 0.0078125
        assert np.array_equal(level, theirs[0].permute(1, 2, 0).numpy())


def test_sums_of_a_picture_too_large_for_32_bits_are_exact():
    rgb = np.full((3000, 3000, 3), 255, np.uint8)
    level = np.empty((20, 20, 3), np.float32)
    fill_crops(sum_table(rgb), np.array([[0, 0, 3000, 3000]]), level[None])
    assert (level == np.float32(127.5 / 128)).all()


@pytest.fixture
def busy() -> np.ndarray:
    """A picture with two faces, an odd height and 100,000 windows."""
    from skimage.data import astronaut

    rgb = cv2.resize(astronaut(), (601, 487), interpolation=cv2.INTER_CUBIC)
    return np.concatenate([rgb, rgb[:, ::-1]], axis=1)


def _filled(network: PyramidNetwork, rgb: np.ndarray) -> PyramidNetwork:
    whole = np.array([[0, 0, rgb.shape[1], rgb.shape[0]]])
    for level in network.pyramid:
        fill_crops(sum_table(rgb), whole, level[None])
    return network


def _sizes(rgb: np.ndarray) -> tuple[tuple[int, int], ...]:
    height, width = rgb.shape[:2]
    scales = scales_of(height, width, FaceSettings())
    return tuple((int(height * scale + 1), int(width * scale + 1)) for scale in scales)


@pytest.mark.parametrize("threshold", [0.6, 0.9, 0.25, 0.05])
def test_the_rough_pass_loses_no_window_and_moves_no_bit(busy, threshold):
    noise = np.random.default_rng(0).integers(0, 255, (131, 90, 3)).astype(np.uint8)
    for rgb in (busy, busy[:120, :121], noise):
        once, twice = (
            _filled(PyramidNetwork(_sizes(rgb), rough), rgb).run(threshold)
            for rough in (False, True)
        )
        for one, two in zip(once, twice, strict=True):
            assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))
    assert sum(len(level.places) for level in once) or threshold == 0.9


def test_the_smaller_windows_at_odd_edges_are_checked_too(busy):
    # A face in the last, smaller window: every window is near the threshold.
    rgb = busy[:37, :35]
    network = _filled(PyramidNetwork(((37, 35),), rough=True), rgb)
    every = np.argwhere(np.ones((14, 13)))
    (checked,) = network._windows([every])
    (whole,) = network._run_exact(0)
    assert all(np.array_equal(a, b) for a, b in zip(checked, whole, strict=True))


def test_a_rough_pass_of_doubtful_precision_is_repeated_in_float32(busy, monkeypatch):
    network = _filled(PyramidNetwork(_sizes(busy), rough=True), busy)
    network.run(0.6)
    assert network._exact is None
    monkeypatch.setattr(pyramid, "_DOUBT", 1e-9)
    network.run(0.6)
    assert network._exact is not None


def test_small_pyramids_get_no_rough_pass():
    assert PyramidNetwork(((100, 100),))._rough is None


def test_pyramids_of_many_sizes_of_pictures_take_bounded_memory():
    sizes = [((20, 20 + n), (14, 14)) for n in range(5)]
    held = Pyramids(most=4, most_pixels=2000)
    first = held.of(sizes[0])
    assert held.of(sizes[0]) is first
    for n in range(5):
        held.of(sizes[n])
    # Each has at least 596 pixels.
    assert len(held) == 3
    assert held.of(sizes[0]) is not first
    # The two of one picture stay, however large they are.
    large = [((200, 200),), ((100, 100),)]
    networks = [held.of(size) for size in large]
    assert len(held) == 2
    assert [held.of(size) for size in large] == networks


@settings(deadline=None)
@given(boxes=st.lists(st.tuples(*[st.integers(0, 40)] * 4, st.integers(1, 999)), max_size=25))
def test_suppression_is_torchvisions(boxes):
    rows = np.array(boxes, np.float32).reshape(-1, 5)
    rows[:, 2:4] += rows[:, :2] + 1
    theirs = nms(torch.from_numpy(rows[:, :4]), torch.from_numpy(rows[:, 4]), 0.5)
    assert keep(rows, 0.5).tolist() == theirs.tolist()


def test_an_unknown_detector_is_refused_by_name():
    with pytest.raises(SettingsError, match="'haar'"):
        FaceSettings(detector="haar")


def test_without_a_face_the_centre_stands_in_and_is_marked(detector):
    rng = np.random.default_rng(0)
    blank = (np.full((224, 224, 3), 90) + rng.integers(0, 5, (224, 224, 3))).astype(np.uint8)
    faces = crop_faces(Pictures([1.5], [blank]), detector)
    assert not faces.found[0]
    assert faces.prob[0] == 0
    assert np.array_equal(faces.rgb[0], blank[88:136, 88:136])
    assert np.array_equal(faces.box[0], [88, 88, 136, 136])
    assert faces.times_s[0] == 1.5


def test_one_face_among_none_is_found(views, detector):
    blank = np.zeros_like(views[0])
    seen = next(v for v, face in zip(views, detector.largest(views), strict=True) if face.found)
    faces = crop_faces(Pictures([0.0, 0.5, 1.0], [blank, seen, blank]), detector)
    assert faces.found.tolist() == [False, True, False]


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (19, 300), (20, 20), (47, 31)])
def test_tiny_pictures_have_no_face_and_do_no_harm(shape, detector):
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (*shape, 3)).astype(np.uint8)
    (face,) = detector.largest([rgb])
    assert not face.found
    assert face.rgb.shape == (48, 48, 3)


def test_no_picture_gives_no_faces(detector):
    faces = crop_faces(Pictures([], []), detector)
    assert faces.rgb.shape == (0, 48, 48, 3)
    assert faces.box.shape == (0, 4)


def test_a_signal_finds_the_process_whole_when_networks_have_gone():
    program = """
import faulthandler, gc, os, signal
faulthandler.enable()
from fv2es_prep.detectors.networks import CropNetwork
from fv2es_prep.detectors.pyramid import Pyramids
held = [CropNetwork("rnet"), CropNetwork("onet")]
pyramids = Pyramids(most=3)
for side in (20, 30, 40, 50, 60):
    pyramids.of(((side, side),))
del held, pyramids
gc.collect()
heard = []
signal.signal(signal.SIGUSR1, lambda *_: heard.append(1))
os.kill(os.getpid(), signal.SIGUSR1)
assert heard == [1]
"""
    assert subprocess.run([sys.executable, "-c", program], timeout=120).returncode == 0
