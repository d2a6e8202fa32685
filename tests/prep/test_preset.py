"""`--preset published` against the published code, told again here on lists of pictures."""

from __future__ import annotations

import csv
import io
import json
import math
from pathlib import Path

import av
import cv2
import ffmpeg
import numpy as np
import pytest
from facenet_pytorch import MTCNN
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torchvision import transforms
from typer.testing import CliRunner

from fv2es_prep.config import FaceSettings, FrameSettings, PrepSettings
from fv2es_prep.corpora.mosei import view_of
from fv2es_prep.detectors.detector import FaceDetector
from fv2es_prep.errors import MediaError, SettingsError, UsageError
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.media.frame_rules import numbered_moments, thinned_moments
from fv2es_prep.media.probe import pace_of
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.media.view import cut_view
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.types import Example, Recording, Utterance, View
from pipelines.commands.plan_text import describe
from pipelines.commands.prep import prep
from pipelines.config import prep_config
from pipelines.plan import plan_corpus
from pipelines.rederive import rederive
from tests.prep.mosei_corpus import Film, make_film

NTSC_HZ = 30_000 / 1001
RATES = st.sampled_from([NTSC_HZ, 24.0, 25.0, 30.0, 15.0, 50.0, 60_000 / 1001, 24_000 / 1001])
STARTS = st.floats(0, 300).map(lambda value: round(value, 4))
LENGTHS = st.floats(0.01, 40).map(lambda value: round(value, 4))


def numbered(pictures: list[int], start_s: float, end_s: float, fps: float) -> list[int]:
    """IEMOCAP's notebook and loader: every picture a file of each half, beside three of sound."""
    written = pictures[int(fps * start_s) : int(fps * end_s)]
    readable = (2 * len(written) + 3 - 5) // 2
    return [written[i] for i in range(0, readable, 15)]


def thinned(pictures: list[int], start_s: float, end_s: float, fps: float) -> list[int]:
    """CMU-MOSEI's notebook and loader."""
    every = int(np.round(0.5 * fps))
    extracted = [n for n in pictures[: int(fps * 280)] if n % every == 0]
    written = extracted[int(2 * start_s) : int(2 * end_s)]
    return written[::15]


RULES = {"numbered": (numbered, numbered_moments), "thinned": (thinned, thinned_moments)}


@pytest.mark.parametrize("rule", RULES)
@given(STARTS, LENGTHS, RATES)
def test_the_moments_are_those_of_the_published_numbers(rule, start_s, length_s, fps):
    theirs, ours = RULES[rule]
    end_s = start_s + length_s
    wanted = theirs(list(range(int(345 * fps))), start_s, end_s, fps)
    moments = ours(start_s, end_s, 15, fps)
    assert [math.floor(moment.sought_s * fps) for moment in moments] == wanted
    counted = [moment.counted_s for moment in moments]
    assert counted == sorted(counted)
    # As what the rule takes it for, a picture is within the span or just before it.
    assert all(start_s - 1 < time_s < end_s for time_s in counted)


def test_what_the_reference_says_of_the_rules():
    # A turn of ten pictures: the last one is never sampled, nor is one of a single picture.
    assert [len(numbered_moments(0, n / 25, 1, 25)) for n in (1, 2, 10)] == [0, 1, 9]
    # 25 pictures a second: 12 apart, 0.48 s, counted as 0.5 s.
    first, second = thinned_moments(0, 15, 15, 25)
    assert (first.sought_s, second.sought_s, second.counted_s) == (0.02, 7.22, 7.5)
    assert [m.counted_s for m in thinned_moments(270, 290, 15, 30)] == [270.0, 277.5]
    assert thinned_moments(281, 290, 15, 30) == []
    assert thinned_moments(3.1, 3.4, 15, 30) == []


FILES = {
    "dx50.avi": ("30000/1001", {"vcodec": "mpeg4", "vtag": "DX50"}),
    "ntsc.mp4": ("30000/1001", {"vcodec": "libx264", "bf": 3, "pix_fmt": "yuv420p"}),
    "pal.mp4": ("25", {"vcodec": "libx264", "bf": 2, "pix_fmt": "yuv420p"}),
    "thirty.mp4": ("30", {"vcodec": "libx264", "pix_fmt": "yuv420p"}),
    "slow.mp4": ("15", {"vcodec": "libx264", "pix_fmt": "yuv420p"}),
}


def make_video(path: Path, rate: str, seconds: float, **options: object) -> Path:
    """A moving test picture; every frame differs from the next."""
    source = ffmpeg.input(f"testsrc2=s=96x64:r={rate}:d={seconds}", f="lavfi")
    chosen = {"g": 25, "threads": 1, "preset": "ultrafast", **options}
    if chosen["vcodec"] == "mpeg4":
        del chosen["preset"]
    ffmpeg.output(source, str(path), loglevel="error", **chosen).run(cmd=ffmpeg_path())
    return path


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("name", FILES)
def test_the_pictures_are_those_of_the_published_numbers(tmp_path, name, rule):
    rate, options = FILES[name]
    path = make_video(tmp_path / name, rate, 20, **options)
    with av.open(str(path)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    fps = cv2.VideoCapture(str(path)).get(cv2.CAP_PROP_FPS)
    assert pace_of(path).rate_hz == fps
    # They overlap, and by the second rule the last pictures of 15 a second come after their end.
    spans = [(0.0, 1.9), (0.3337, 17.2), (1.2345, 4.0), (4.0, 18.51), (18.2, 18.9), (19.3, 19.32)]
    utterances = [Utterance(f"u{a}", "r", a, b, "", ()) for a, b in spans]
    recording, taken = Recording("r", path, path), 0
    with OpenRecording(recording, utterances, FrameSettings(rule=rule)) as source:
        for utterance in utterances:
            numbers = list(range(len(pictures)))
            wanted = RULES[rule][0](numbers, utterance.start_s, utterance.end_s, fps)
            found = [rgb for _, rgb in source.frames(utterance)]
            assert len(found) == len(wanted)
            assert all(
                np.array_equal(rgb, pictures[n]) for rgb, n in zip(found, wanted, strict=True)
            )
            taken += len(found)
    assert taken >= 6


def test_a_picture_that_comes_late_is_still_number_0(tmp_path):
    made = make_video(tmp_path / "a.mp4", "25", 4, vcodec="libx264", pix_fmt="yuv420p")
    path = tmp_path / "late.mkv"
    sound = ffmpeg.input("sine=d=5", f="lavfi")
    late = ffmpeg.input(str(made), itsoffset=0.33)
    ffmpeg.output(late, sound, str(path), vcodec="copy", acodec="flac", loglevel="error").run(
        cmd=ffmpeg_path()
    )
    assert pace_of(path) == pytest.approx((25.0, 0.33), abs=0.002)
    with av.open(str(made)) as file:
        pictures = [frame.to_ndarray(format="rgb24") for frame in file.decode(video=0)]
    utterance = Utterance("u", "r", 1.0, 3.0, "", ())
    settings = FrameSettings(rule="numbered")
    with OpenRecording(Recording("r", path, path), [utterance], settings) as source:
        found = list(source.frames(utterance))
    assert [time_s for time_s, _ in found] == [1.0, 1.6, 2.2, 2.8]
    for (_, rgb), number in zip(found, (25, 40, 55, 70), strict=True):
        assert np.array_equal(rgb, pictures[number])


def test_a_file_that_tells_nothing_is_left_to_its_reader(tmp_path):
    text = tmp_path / "text.avi"
    text.write_text("no video\n" * 100)
    assert pace_of(text) == (NTSC_HZ, 0.0)
    with pytest.raises(MediaError, match="No such file"):
        pace_of(tmp_path / "missing.avi")


@pytest.mark.parametrize(("side", "columns"), [(224, (64, 112)), (360, (132, 180))])
def test_the_published_patch_lies_left_of_the_middle(side, columns):
    rgb = np.random.default_rng(0).integers(0, 60, (side, side, 3)).astype(np.uint8)
    (face,) = FaceDetector(FaceSettings(fallback="published")).largest([rgb])
    top = (side - 48) // 2
    assert not face.found
    assert np.array_equal(face.rgb, rgb[top : top + 48, slice(*columns)])
    assert face.box.tolist() == [columns[0], top, columns[1], top + 48]
    (centre,) = FaceDetector(FaceSettings()).largest([rgb])
    assert np.array_equal(centre.rgb, rgb[top : top + 48, top : top + 48])


def test_where_the_published_patch_is_outside_the_centre_stands_in():
    tall = np.zeros((300, 60, 3), np.uint8)
    ours, theirs = (FaceDetector(FaceSettings(fallback=f)) for f in ("centre", "published"))
    assert np.array_equal(ours.largest([tall])[0].box, theirs.largest([tall])[0].box)


def test_the_published_picture_is_halved_once():
    rgb = np.random.default_rng(0).integers(0, 256, (1080, 1920, 3)).astype(np.uint8)
    halved = (rgb.reshape(540, 2, 960, 2, 3).astype(int).sum(axis=(1, 3)) + 2) // 4
    assert np.array_equal(cut_view(rgb, view_of("published")), halved[90:450, 300:660])
    small = cut_view(rgb[:480, :854], view_of("published"))
    assert not small[:60].any() and small[60:300].any() and not small[300:].any()


def test_pictures_go_through_the_files_of_the_published_code(tmp_path):
    """Written by OpenCV, read by Pillow; CMU-MOSEI's are halved and cut by torchvision."""
    rgb = np.random.default_rng(0).integers(0, 256, (30, 48, 3)).astype(np.uint8)
    rgb = cv2.resize(rgb, (1280, 720), interpolation=cv2.INTER_CUBIC)

    def read(picture):
        cv2.imwrite(str(tmp_path / "image.jpg"), picture[..., ::-1])
        return Image.open(tmp_path / "image.jpg")

    cut = cut_view(rgb[:480, :720], View("left", crop_px=224), "cut")
    assert np.array_equal(cut, read(rgb[128:352, 68:292]))
    halve = transforms.Compose([transforms.Resize([360, 640]), transforms.CenterCrop(360)])
    theirs = halve(read(rgb))
    assert np.array_equal(cut_view(rgb, view_of("published"), "whole"), theirs)
    assert not np.array_equal(cut_view(rgb, view_of("published")), theirs)


def published_faces(video: Path, half: str, numbers: list[int]) -> list[np.ndarray]:
    """Faces of some pictures, uint8 (48, 48, 3) each, by the published way."""
    detector = MTCNN(image_size=48, margin=2, post_process=False)
    reader, found, number = cv2.VideoCapture(str(video)), [], 0
    while len(found) < len(numbers):
        read, bgr = reader.read()
        assert read
        if number in numbers:
            middle = bgr.shape[1] // 2
            side = bgr[:, :middle] if half == "left" else bgr[:, middle:]
            top, left = ((length - 224) // 2 for length in side.shape[:2])
            _, file = cv2.imencode(".jpg", side[top : top + 224, left : left + 224])
            face = detector(np.float32(Image.open(io.BytesIO(file.tobytes()))))
            found.append(face.permute(1, 2, 0).numpy().round().astype(np.uint8))
        number += 1
    return found


def test_settings_that_count_no_picture_are_refused():
    assert (FrameSettings(0.5, "numbered").step, FrameSettings(0.034, "thinned").step) == (15, 1)
    with pytest.raises(SettingsError, match="step of 0 pictures"):
        FrameSettings(0.033, "numbered")
    with pytest.raises(SettingsError, match="rule is"):
        FrameSettings(rule="random")  # type: ignore[arg-type]
    with pytest.raises(SettingsError, match="fallback"):
        FaceSettings(fallback="left")  # type: ignore[arg-type]


def test_settings_from_before_are_ours():
    stored = PrepSettings().to_json()
    del stored["frames"]["rule"], stored["faces"]["fallback"]
    assert PrepSettings.from_json(stored) == PrepSettings()


def examples_of(directory: Path) -> dict[str, Example]:
    catalogue, index = read_catalogue(directory), read_index(directory)
    found = {}
    for place, name in enumerate(catalogue.ids.to_pylist()):
        with ShardReader(directory / index.shards[catalogue.shard[place]].name) as reader:
            found[name] = reader.read(int(catalogue.row[place]))
    return found


def test_iemocap_by_the_preset_is_sound_and_derived_again(
    corpus, prepared, text_model, tmp_path, options_for, prepare
):
    out = tmp_path / "shards"
    prepare(options_for(corpus, out, text_model, preset="published"))
    settings = read_index(out).settings
    assert (settings.frames.rule, settings.faces.fallback) == ("numbered", "published")
    assert verify(out) == []
    assert rederive(out, corpus, 100) == []
    ours, theirs = examples_of(prepared), examples_of(out)
    assert ours.keys() == theirs.keys()
    for name, example in theirs.items():
        start_s, end_s = example.utterance.start_s, example.utterance.end_s
        numbers = numbered(list(range(10_000)), start_s, end_s, NTSC_HZ)
        assert example.faces.times_s.tolist() == [round(n / NTSC_HZ, 6) for n in numbers]
        # Sound and words are the same.
        assert np.array_equal(example.mel.log_power, ours[name].mel.log_power)
        assert np.array_equal(example.tokens, ours[name].tokens)
    # One utterance of each half of the picture.
    for name in ("Ses01F_impro01_M000", "Ses01F_impro01_F000"):
        one = theirs[name]
        span = (one.utterance.start_s, one.utterance.end_s)
        numbers = numbered(list(range(10_000)), *span, NTSC_HZ)
        video = corpus / "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
        wanted = published_faces(video, "left" if name[5] == name[15] else "right", numbers)
        assert one.faces.found.all()
        apart = np.abs(one.faces.rgb.astype(int) - np.stack(wanted)).mean((1, 2, 3))
        # A picture on which the two detectors differ in a last bit may differ more.
        assert np.median(apart) == 0 and apart.mean() < 1
    # Going back to ours makes faces alone.
    described = describe(plan_corpus(options_for(corpus, out, text_model)), 1)
    assert (described["faces_to_make"], described["mel_to_make"]) == (18, 0)


@pytest.mark.parametrize("rule", RULES)
def test_a_time_that_the_rule_does_not_give_is_found(rule, make_dataset, break_shard, tmp_path):
    # Its examples are half a second apart, which is no time of the second rule.
    directory = make_dataset(tmp_path / rule, frames=FrameSettings(0.5, rule))
    assert (verify(directory) == []) == (rule == "numbered")

    def later(file):
        file["faces/times_s"][0] += 0.1

    break_shard(directory, later)
    assert [finding.code for finding in verify(directory)] == ["I10"]


def make_mosei(root: Path) -> Path:
    """One video of 18 s with three utterances, the last of which holds no extracted picture."""
    for name in ("Videos/Full/Combined", "Transcript/Segmented/Combined", "Labels"):
        (root / name).mkdir(parents=True)
    video = root / "Videos/Full/Combined/v.mp4"
    make_film(video, Film("25", seconds=18.0), root / "v.wav")
    lines = [(0, 0.3, 2.9), (1, 1.6, 17.5), (2, 17.1, 17.4)]
    text = "".join(f"v___{n}___{start}___{end}___Words.\n" for n, start, end in lines)
    (root / "Transcript/Segmented/Combined/v.txt").write_text(text)
    names = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "sentiment")
    with (root / "Labels/a.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["Input.VIDEO_ID", "Input.CLIP", *(f"Answer.{name}" for name in names)])
        table.writerows(["v", n, 1, 0, 0, 0, 0, 0, 1] for n, _, _ in lines)
    return root


def test_mosei_by_the_preset_is_thinned_twice(tmp_path, text_model, prepare):
    raw, out = make_mosei(tmp_path / "raw"), tmp_path / "shards"
    given = {"raw": raw, "out": out, "tokenizer": str(text_model), "preset": "published"}
    prepare(prep_config("mosei", **given))
    settings = read_index(out).settings
    assert (settings.frames.rule, settings.corpus["picture"]) == ("thinned", "published")
    found = examples_of(out)
    times = {name: example.faces.times_s.tolist() for name, example in found.items()}
    assert times == {"v_0": [0.0], "v_1": [1.5, 9.0, 16.5]}
    (lost,) = read_dropped(out)
    assert (lost["id"], lost["reason"]) == ("v_2", "no_frame_in_span")
    assert verify(out) == []
    assert rederive(out, raw, 100) == []


def test_the_command_takes_the_preset_where_there_is_one(corpus, text_model, tmp_path):
    out, run = tmp_path / "shards", CliRunner().invoke
    common = ["--out", str(out), "--tokenizer", str(text_model), "--executor", "inline", "--json"]
    command = ["iemocap", str(corpus), *common, "--preset", "published", "--sample", "2"]
    assert json.loads(run(prep, command).stdout)["prepared"] == 2
    assert read_index(out).settings.frames.rule == "numbered"
    (tmp_path / "a.csv").write_text("video,labels\na.mp4,b\n")
    for words in (["table", str(tmp_path / "a.csv")], ["processed", ".", "--corpus", "mosei"]):
        error = run(prep, [*words, *common, "--preset", "published"]).exception
        assert isinstance(error, UsageError)
        assert "unknown preset" in error.sentence
    error = run(prep, [*command, "--preset", "mine"]).exception
    assert isinstance(error, UsageError)
