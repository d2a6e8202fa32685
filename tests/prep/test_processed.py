from __future__ import annotations

import dataclasses
import json
import os
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile
from typer.testing import CliRunner

from fv2es_prep.config import DEFAULT_MEDIA, FrameSettings, MediaSettings
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import NoOptions
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.corpora.processed import ProcessedOptions
from fv2es_prep.errors import (
    CorpusError,
    DropReason,
    MediaError,
    SettingsError,
    UtteranceError,
)
from fv2es_prep.media.picture_folder import PictureFolder
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.types import Example, Inventory, PictureFiles, Recording, Utterance
from pipelines.commands.prep import prep
from pipelines.commands.shards import shards
from pipelines.config import prep_config
from pipelines.plan import plan_corpus

CROP = 224
SIX = LabelChoice(("ang", "exc", "fru", "hap", "neu", "sad"))


@pytest.fixture(scope="session")
def raw(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One session of the generated corpus."""
    root = tmp_path_factory.mktemp("raw")
    (root / "Session1").symlink_to(corpus / "Session1")
    return root


@pytest.fixture(scope="session")
def turns(raw: Path) -> tuple[Utterance, ...]:
    return CORPORA.load("iemocap").scan(raw, SIX, NoOptions()).utterances


@pytest.fixture(scope="session")
def tree_once(
    raw: Path, turns: tuple[Utterance, ...], tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """The session as the published preprocessing writes it."""
    root = tmp_path_factory.mktemp("tree") / "IEMOCAP_RAW_PROCESSED"
    dialog = raw / "Session1/dialog"
    name = turns[0].recording_id
    pictures, fps = all_pictures(dialog / f"avi/DivX/{name}.avi")
    rate, sound = wavfile.read(dialog / f"wav/{name}.wav")
    meta = {}
    for turn in turns:
        folder = root / name / turn.id
        folder.mkdir(parents=True)
        span = (turn.start_s, turn.end_s)
        meta[turn.id] = {
            "start_time": span[0],
            "end_time": span[1],
            "label": turn.labels[0],
            "text": turn.transcript,
            "sr": rate,
            "fps": fps,
        }
        heard = sound[slice(*(int(rate * t) for t in span))]
        for suffix, part in (("", heard), ("_L", heard[:, 0]), ("_R", heard[:, 1])):
            wavfile.write(folder / f"audio{suffix}.wav", rate, part)
        for i, picture in enumerate(pictures[slice(*(int(fps * t) for t in span))]):
            middle = picture.shape[1] // 2
            for side, half in (("L", picture[:, :middle]), ("R", picture[:, middle:])):
                top, left = ((size - CROP) // 2 for size in half.shape[:2])
                cut = half[top : top + CROP, left : left + CROP]
                cv2.imwrite(str(folder / f"image_{side}_{i}.jpg"), cut)
    (root / "meta.pkl").write_bytes(pickle.dumps(meta, 3))
    return root


def all_pictures(path: Path) -> tuple[list[Any], float]:
    video, pictures = cv2.VideoCapture(str(path)), []
    while (found := video.read())[0]:
        pictures.append(found[1])
    fps = video.get(cv2.CAP_PROP_FPS)
    video.release()
    return pictures, fps


@pytest.fixture
def tree(tree_once: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage; files are linked, so only replace them."""
    return Path(shutil.copytree(tree_once, tmp_path / "tree", copy_function=os.link))


@pytest.fixture(scope="session")
def both(
    raw: Path, tree_once: Path, text_model: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, Path]:
    """Shards of the raw session and of its processed tree."""
    root = tmp_path_factory.mktemp("both")
    common = ["--tokenizer", text_model, "--executor", "inline", "--out"]
    invoke(prep, "iemocap", raw, *common, root / "raw")
    invoke(prep, "processed", tree_once, "--corpus", "iemocap", *common, root / "processed")
    return root / "raw", root / "processed"


def invoke(group: Any, *words: object) -> str:
    result = CliRunner().invoke(group, [str(word) for word in words])
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def scan(root: Path, layout: str = "iemocap", *labels: str) -> Inventory:
    return CORPORA.load("processed").scan(root, LabelChoice(labels), ProcessedOptions(layout))


def examples(directory: Path) -> dict[str, Example]:
    found = {}
    for path in sorted(directory.glob("*.h5")):
        with ShardReader(path) as reader:
            for row in range(len(reader)):
                example = reader.read(row)
                found[example.utterance.id] = example
    return found


def edit_meta(tree: Path, edit: Callable[[dict[str, Any]], object]) -> None:
    meta = pickle.loads((tree / "meta.pkl").read_bytes())
    edit(meta)
    (tree / "meta.pkl").unlink()
    (tree / "meta.pkl").write_bytes(pickle.dumps(meta))


def replace(path: Path, data: bytes) -> None:
    path.unlink()
    path.write_bytes(data)


def test_a_processed_tree_prepares_to_the_same_as_its_raw_source(both):
    """Acceptance: labels, words and spectrum are equal, faces are within the error of JPEG."""
    source, processed = map(examples, both)
    assert processed.keys() == source.keys()
    for name, found in processed.items():
        wanted = source[name]
        for field in ("id", "labels", "transcript", "speaker", "session"):
            assert getattr(found.utterance, field) == getattr(wanted.utterance, field)
        assert found.utterance.start_s == 0
        assert found.utterance.end_s == pytest.approx(wanted.utterance.duration_s, abs=1 / 16_000)
        np.testing.assert_array_equal(found.label, wanted.label)
        np.testing.assert_array_equal(found.tokens, wanted.tokens)
        # The wav files hold the very audio samples between int(rate * start) and int(rate * end).
        np.testing.assert_array_equal(found.mel.log_power, wanted.mel.log_power)
        moments = wanted.faces.times_s - wanted.utterance.start_s
        np.testing.assert_allclose(found.faces.times_s, moments, atol=2e-6)
        np.testing.assert_array_equal(found.faces.found, wanted.faces.found)
        # The detector sees JPEG's noise and moves a box by a pixel or a few.
        assert overlap(found.faces.box, wanted.faces.box).min() > 0.85
        apart = np.abs(found.faces.rgb.astype(int) - wanted.faces.rgb).mean((1, 2, 3))
        assert apart.max() < 20
        assert apart.mean() < 10


def overlap(first: Any, second: Any) -> Any:
    """Intersection over union of boxes, row by row."""
    low, high = np.maximum(first[:, :2], second[:, :2]), np.minimum(first[:, 2:], second[:, 2:])
    shared = (high - low).prod(axis=1)
    areas = [(box[:, 2:] - box[:, :2]).prod(axis=1) for box in (first, second)]
    return shared / (areas[0] + areas[1] - shared)


def test_the_very_pictures_of_the_raw_source_are_taken(raw, turns, tree_once):
    recordings = {recording.id: recording for recording in scan(tree_once).recordings}
    utterances = {utterance.id: utterance for utterance in scan(tree_once).utterances}
    (dialogue,) = CORPORA.load("iemocap").scan(raw, SIX, NoOptions()).recordings
    with OpenRecording(dialogue, turns, FrameSettings()) as source:
        for turn in turns:
            wanted = [rgb.astype(int) for _, rgb in source.frames(turn)]
            recording, utterance = recordings[turn.id], utterances[turn.id]
            before, same, after = (
                differences(recording, utterance, wanted, pictures) for pictures in (-1, 0, 1)
            )
            # What JPEG changes is less than what a picture is from the one before or after it.
            assert max(same) < 1.6
            assert sum(same) < 0.8 * min(sum(before), sum(after))


def differences(
    recording: Recording, utterance: Utterance, wanted: list[Any], pictures: int
) -> list[float]:
    """Mean difference from each wanted picture, with all pictures so many later."""
    files = recording.pictures
    assert files is not None and files.first_s is not None
    first_s = files.first_s + pictures / files.rate_hz
    late = dataclasses.replace(recording, pictures=dataclasses.replace(files, first_s=first_s))
    with OpenRecording(late, [utterance], FrameSettings()) as source:
        frames = [rgb for _, rgb in source.frames(utterance)]
    return [float(np.abs(a - b).mean()) for a, b in zip(frames, wanted, strict=True)]


def test_processed_shards_are_sound_and_derived_again_from_the_tree(both, tree_once):
    invoke(shards, "verify", both[1], "--against", tree_once, "--sample", 3)
    assert read_catalogue(both[1]).label_classes == ("ang", "exc", "fru", "hap", "neu", "sad")


def test_a_rerun_makes_only_the_faces_whose_pictures_changed(both, tree, text_model, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(both[1], out)
    given = {"raw": tree, "out": out, "tokenizer": str(text_model), "corpus.layout": "iemocap"}
    options = prep_config("processed", **given)
    assert not plan_corpus(options).todo
    first = scan(tree).recordings[0]
    shown = first.video / f"{first.pictures.prefix}0.jpg"
    replace(shown, (first.video / f"{first.pictures.prefix}1.jpg").read_bytes())
    missing = {
        p: sum(len(t.missing(p)) for t in plan_corpus(options).todo) for p in ("faces", "mel")
    }
    # The video's content is part of what decides a clamped span, so the spectrum goes along.
    assert missing == {"faces": 1, "mel": 1}


def test_a_sample_is_spread_evenly_and_the_tree_is_found_below(tree_once, text_model, tmp_path):
    given = {"raw": tree_once.parent, "out": tmp_path, "tokenizer": str(text_model), "sample": 2}
    options = prep_config("processed", **given, **{"corpus.layout": "iemocap"})
    ids = [u.id for u in scan(tree_once).utterances]
    assert [u.id for u in plan_corpus(options, dry_run=True).inventory.utterances] == ids[1::3]


def test_what_is_missing_is_left_out_with_its_reason(tree, turns):
    names = sorted(turn.id for turn in turns)
    dialogue = tree / turns[0].recording_id
    shutil.rmtree(dialogue / names[0])
    for path in (dialogue / names[1]).glob("audio*.wav"):
        path.unlink()
    for path in (dialogue / names[2]).glob("audio*.wav"):
        replace(path, b"RIFF, but no sound")
    edit_meta(tree, lambda meta: (meta.pop(names[3]), meta[names[4]].pop("text")))
    found = scan(tree)
    reasons = {entry.id: entry.reason for entry in found.dropped}
    assert reasons == {
        names[0]: DropReason.VIDEO_MISSING,
        names[1]: DropReason.AUDIO_MISSING,
        names[2]: DropReason.UNDECODABLE_AUDIO,
        names[3]: DropReason.NO_LABEL,
        names[4]: DropReason.NO_TRANSCRIPT,
    }
    assert [u.id for u in found.utterances] == [names[5]]


def test_a_damaged_picture_is_named_and_its_utterance_alone_is_left_out(tree, text_model, tmp_path):
    recording = scan(tree).recordings[0]
    whole = recording.video / f"{recording.pictures.prefix}15.jpg"
    replace(whole, whole.read_bytes()[:900])
    common = ["--tokenizer", text_model, "--executor", "inline", "--limit", 2]
    out = tmp_path / "out"
    said = CliRunner().invoke(
        prep,
        [str(w) for w in ("processed", tree, "--corpus", "iemocap", "--out", out, *common)],
    )
    assert said.exit_code == 1
    assert "prepared 1 utterances" in said.output
    lines = [json.loads(line) for line in (out / "dropped.jsonl").read_text().splitlines()]
    (entry,) = [line for line in lines if line["reason"] == "undecodable_video"]
    assert f"{recording.pictures.prefix}15.jpg cannot be decoded" in entry["sentence"]


def test_without_times_in_meta_the_sound_says_how_long_it_is(tree):
    def forget(meta: dict[str, Any]) -> None:
        for facts in meta.values():
            del facts["start_time"], facts["end_time"], facts["fps"]

    wanted = {u.id: u.end_s for u in scan(tree).utterances}
    edit_meta(tree, forget)
    found = scan(tree)
    assert {u.id: u.end_s for u in found.utterances} == pytest.approx(wanted, abs=1 / 16_000)
    assert found.recordings[0].pictures.first_s is None
    assert found.recordings[0].pictures.rate_hz == 29.97


def test_cmu_mosei_has_several_labels_or_none_and_two_pictures_a_second(tmp_path, text_model, raw):
    root = tmp_path / "MOSEI_RAW_PROCESSED"
    pictures, fps = all_pictures(raw / "Session1/dialog/avi/DivX/Ses01F_impro01.avi")
    rate, sound = wavfile.read(raw / "Session1/dialog/wav/Ses01F_impro01.wav")
    # Text and six numbers each; the pictures are those of int(2 * start) to int(2 * end).
    spans = {"vid_a_0": (0.4, 3.0), "vid_a_1": (2.9, 5.4), "vid_b_0": (5.2, 5.9)}
    labels = [[0, 0, 1, 1, 0, 0], np.zeros(6), (0, 0, 0, 0, 0, 2.0)]
    meta = {}
    for (name, (start, end)), label in zip(spans.items(), labels, strict=True):
        (root / name).mkdir(parents=True)
        kept = pictures[:: round(fps / 2)][int(2 * start) : int(2 * end)]
        for i, picture in enumerate(kept):
            cv2.imwrite(str(root / name / f"image_{i}.jpg"), picture)
        heard = sound[int(rate * start) : int(rate * end), 0]
        wavfile.write(root / name / "audio.wav", rate, heard)
        meta[name] = {"text": f"Words of {name}.", "label": label}
    (root / "meta.pkl").write_bytes(pickle.dumps(meta))
    out = tmp_path / "out"
    common = ["--tokenizer", text_model, "--executor", "inline", "--out", out]
    said = invoke(prep, "processed", tmp_path, "--corpus", "mosei", *common)
    assert "prepared 3 utterances" in said
    assert "clamped" not in said
    found = examples(out)
    assert [found[name].utterance.labels for name in spans] == [
        ("fear", "happy"),
        (),
        ("surprise",),
    ]
    for name, (start, end) in spans.items():
        count = min(int(2 * end) - int(2 * start), len(np.arange(0, end - start, 0.5)))
        assert len(found[name].faces.rgb) == count
        assert found[name].utterance.session == name[:5]
        assert len(found[name].mel.log_power) == 1 + (int(rate * end) - int(rate * start)) // 200
    invoke(shards, "verify", out, "--against", tmp_path, "--sample", 3)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ([1, 2], "meta.pkl holds a list, expected a dict"),
        ({"a": 3}, "meta.pkl, a: found a int, expected a dict"),
        ({"../a": {}}, r"meta.pkl has the id '../a', expected the name of a folder"),
        ({}, "no utterance of iemocap-processed is left"),
    ],
)
def test_a_meta_of_another_form_is_refused(tmp_path, value, said):
    (tmp_path / "meta.pkl").write_bytes(pickle.dumps(value))
    with pytest.raises(CorpusError) as error:
        scan(tmp_path)
    assert said in error.value.sentence


def test_a_wrong_directory_and_a_wrong_corpus_are_told(tmp_path):
    with pytest.raises(CorpusError, match=r"holds meta\.pkl"):
        scan(tmp_path)
    with pytest.raises(SettingsError, match="'ravdess'"):
        scan(tmp_path, "ravdess")
    words = ["processed", str(tmp_path), "--corpus", "ravdess", "--out", str(tmp_path)]
    result = CliRunner().invoke(prep, words)
    assert result.exit_code == 2 and "ravdess" in result.output


def test_a_meta_that_would_run_code_is_refused_and_nothing_is_prepared(tree, tmp_path):
    """Acceptance: refused by name, through the command, and no file is made."""
    mark = tmp_path / "mark"
    payload = b"cos\nsystem\n(S'touch " + bytes(mark) + b"'\ntR."
    replace(tree / "meta.pkl", payload)
    words = ["processed", str(tree), "--corpus", "iemocap", "--out", str(tmp_path / "out")]
    result = CliRunner().invoke(prep, words)
    assert "meta.pkl holds os.system, which is not plain data" in str(result.exception)
    assert not mark.exists()
    assert not (tmp_path / "out").exists()


@pytest.fixture
def numbered(tmp_path: Path) -> Path:
    """Pictures 0 to 11 without 4 and 5; each is as grey as its number times 20."""
    for number in {*range(12)} - {4, 5}:
        grey = Image.new("RGB", (32, 24), (20 * number,) * 3)
        grey.save(tmp_path / f"image_{number}.jpg", quality=95)
    (tmp_path / "image_L_3.jpg").write_bytes(b"another prefix")
    (tmp_path / "image_03.jpg").write_bytes(b"another name")
    return tmp_path


def shown(folder: Path, files: PictureFiles, *times_s: float) -> list[tuple[int, int]]:
    reader = PictureFolder(folder, files, times_s, DEFAULT_MEDIA)
    found = []
    while (pair := reader.next()) is not None:
        found.append((pair[0], round(float(pair[1].mean()) / 20)))
    return found


def test_the_picture_on_screen_is_the_last_that_came(numbered):
    files = PictureFiles("image_", 2.0)
    times = (0.0, 0.49, 0.5, 2.1, 2.9, 3.0, 4.5, 5.0, 5.99, 6.0, 7.0)
    wanted = [0, 0, 1, 3, 3, 6, 9, 10, 11]
    assert shown(numbered, files, *times) == list(enumerate(wanted))
    early = PictureFiles("image_", 2.0, first_s=-0.3)
    assert shown(numbered, early, 0.0, 0.2, 5.6, 5.7) == [(0, 0), (1, 1), (2, 11)]
    assert shown(numbered, PictureFiles("image_", 2.0, 0.4), 0.0) == [(0, 0)]


def test_the_end_of_the_pictures_is_open_where_their_beginning_is_not_known(numbered):
    for first_s, reached_s in ((0.0, 6.0), (-0.2, 5.8), (None, 6.5)):
        reader = PictureFolder(numbered, PictureFiles("image_", 2.0, first_s), (), DEFAULT_MEDIA)
        assert reader.next() is None
        assert reader.ended and reader.reached_s == pytest.approx(reached_s)


def test_pictures_that_cannot_be_read_are_named(numbered):
    files = PictureFiles("image_", 2.0)
    (numbered / "image_0.jpg").write_bytes(b"no picture")
    with pytest.raises(MediaError, match=r"image_0\.jpg cannot be decoded: it is not a JPEG file"):
        shown(numbered, files, 0.0)
    (numbered / "image_0.jpg").unlink()
    os.mkfifo(numbered / "image_0.jpg")
    with pytest.raises(MediaError, match=r"image_0\.jpg is a pipe"):
        shown(numbered, files, 0.0)
    with pytest.raises(MediaError, match=r"image_1\.jpg has more than 700 pixels"):
        PictureFolder(numbered, files, (0.5,), MediaSettings(max_pixels=700)).next()
    with pytest.raises(UtteranceError, match="holds no image_R_0"):
        shown(numbered, PictureFiles("image_R_", 2.0), 0.0)
    with pytest.raises(MediaError, match="the folder none: No such file"):
        shown(numbered / "none", files, 0.0)
