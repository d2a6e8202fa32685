"""`fv2es predict`: many videos, what it prints, and how it fails."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_train.predict.subtitles import parse_transcript
from fv2es_train.predict.videos import output_paths
from tests.train.media import NAME, ffmpeg

VIEW = ("--view", "left:224:0", "--asr", "none")


def call(*words: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, ["predict", *map(str, words)])
    return result.exit_code, result.stdout, result.stderr


@pytest.fixture(scope="session")
def tav(trained: Callable[[str], Path]) -> Path:
    return trained("tav")


def test_a_broken_file_among_good_ones_is_told_and_the_others_go_on(
    tav: Path,
    talk: Path,
    tmp_path: Path,
) -> None:
    folder = tmp_path / "in"
    (folder / "deep").mkdir(parents=True)
    shutil.copy(talk, folder / "deep" / "good.mp4")
    (folder / "bad.mp4").write_text("no video")
    (folder / "notes.txt").write_text("no video either")
    code, out, err = call(folder, "--run", tav, *VIEW, "--json", "--plot", tmp_path / "png")
    assert code == 1
    bad, good = json.loads(out)["videos"]
    assert "bad.mp4" in bad["error"] and "bad.mp4" in err
    assert good["utterances"] and set(good["probability"]) == set(json.loads(out)["classes"])
    with Image.open(tmp_path / "png" / "deep" / "good.png") as picture:
        assert picture.width > 800


def test_a_table_goes_utterance_by_utterance(tav: Path, talk: Path) -> None:
    code, out, err = call(talk, "--run", tav, *VIEW)
    assert code == 0, err
    assert "whole video: " in out and "no transcript" in err and " va " in out


def test_what_is_printed_can_be_read_back(tav: Path, talk: Path) -> None:
    whole = json.loads(call(talk, "--run", tav, *VIEW, "--json")[1])["videos"][0]
    rows = list(csv.DictReader(io.StringIO(call(talk, "--run", tav, *VIEW, "--csv")[1])))
    cues = parse_transcript(call(talk, "--run", tav, *VIEW, "--srt")[1]).spans
    for one, row, cue in zip(whole["utterances"], rows, cues, strict=True):
        assert float(row["start_s"]) == one["start_s"] == pytest.approx(cue.start_s, abs=1e-3)
        assert float(row["p_ang"]) == pytest.approx(one["probability"]["ang"], abs=1e-6)
        assert row["top"] == one["top"] and one["top"] in str(cue.text)


def test_what_was_written_as_json_gives_the_spans_again(
    tav: Path,
    talk: Path,
    tmp_path: Path,
) -> None:
    first = json.loads(call(talk, "--run", tav, *VIEW, "--json")[1])["videos"][0]
    (tmp_path / "spans.json").write_text(json.dumps(first))
    again = call(talk, "--run", tav, "--spans", tmp_path / "spans.json", "--asr", "none", "--json")
    second = json.loads(again[1])["videos"][0]
    for one, other in zip(first["utterances"], second["utterances"], strict=True):
        assert one["probability"] == pytest.approx(other["probability"])


def test_a_transcription_of_iemocap_says_who_sits_where(
    tav: Path,
    demo: Path,
    files: tuple[Path, Path],
    text_model: Path,
) -> None:
    words = demo / "Session1" / "dialog" / "transcriptions" / f"{NAME}.txt"
    given = ("--transcript", words, "--view", "iemocap", "--tokenizer", text_model)
    code, out, err = call(files[0], "--sound", files[1], "--run", tav, *given, "--json")
    assert code == 0, err
    found = json.loads(out)["videos"][0]["utterances"]
    assert {one["used"] for one in found} == {"tva"}
    assert {one["view"] for one in found} == {"left:224:0", "right:224:1"}


def test_the_film_has_the_sound_and_is_as_long(tav: Path, talk: Path, tmp_path: Path) -> None:
    from fv2es_prep.media.probe import duration_s

    code, _, err = call(talk, "--run", tav, *VIEW, "--video", tmp_path / "film.mp4")
    assert code == 0, err
    assert duration_s(tmp_path / "film.mp4") == pytest.approx(duration_s(talk), abs=0.3)
    ffmpeg("-i", tmp_path / "film.mp4", "-vn", tmp_path / "sound.wav")
    ffmpeg("-ss", "2", "-i", tmp_path / "film.mp4", "-frames:v", "1", tmp_path / "film.png")
    with Image.open(tmp_path / "film.png") as picture:
        assert picture.size == (720, 480 + 136)


def test_outputs_keep_their_folders_and_never_meet() -> None:
    out, names = Path("out"), ("a/1.mp4", "b/1.mp4", "b/1.mkv", "b/c/../2.mp4")
    found = output_paths(out, [Path(name) for name in names], ".png")
    expected = ("a/1.png", "b/1.mp4.png", "b/1.mkv.png", "b/2.png")
    assert list(found.values()) == [out / name for name in expected]
    assert output_paths(Path("x.png"), [Path("1.mp4")], ".png") == {Path("1.mp4"): Path("x.png")}
    assert output_paths(None, [Path("1.mp4")], ".png") == {}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("nowhere.mp4",), "nowhere.mp4 does not exist"),
        (("TALK", "--json", "--csv"), "cannot be combined"),
        (("TALK", "--view", "up"), "the view is"),
        (("TALK", "--faces", "some"), "is not one of"),
        (("TALK", "TALK2", "--srt"), "for one video"),
        (("TALK", "TALK2", "--spans", "x.json"), "for one video"),
        (("TALK", "TALK2", "--plot", "x.png"), "pass a folder"),
        (("TALK", "--view", "iemocap"), "needs spans with ids"),
        (("TALK", "--transcript", "nowhere.srt"), "cannot be read"),
    ],
)
def test_wrong_usage_is_refused(
    words: tuple[str, ...],
    said: str,
    tav: Path,
    talk: Path,
    tmp_path: Path,
) -> None:
    other = shutil.copy(talk, tmp_path / "other.mp4")
    places: dict[str, Any] = {"TALK": talk, "TALK2": other}
    code, _, err = call(*(places.get(word, word) for word in words), "--run", tav)
    assert code == 2 and said in " ".join(err.split())


def test_a_run_that_is_none_is_refused(talk: Path, tmp_path: Path) -> None:
    code, _, err = call(talk, "--run", tmp_path)
    assert code == 2 and "contains no checkpoint" in err


def test_a_recogniser_that_is_none_is_refused(tav: Path, talk: Path, tmp_path: Path) -> None:
    code, _, err = call(talk, "--run", tav, "--asr", tmp_path)
    assert code == 1 and "the speech model" in " ".join(err.split())
