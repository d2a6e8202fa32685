from __future__ import annotations

import dataclasses
import json
import math
import shutil
from collections import Counter
from fractions import Fraction
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from fv2es_prep.config import FrameSettings
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.corpora.mosei import MoseiOptions, view_of
from fv2es_prep.corpora.mosei import scan as scan_mosei
from fv2es_prep.corpora.mosei_files import Spoken, parse_transcript
from fv2es_prep.corpora.mosei_labels import EMOTIONS, read_raters
from fv2es_prep.errors import CorpusError, SettingsError
from fv2es_prep.errors import DropReason as Why
from fv2es_prep.media.recording import OpenRecording
from fv2es_prep.media.view import cut_view, halve_until
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.types import Dropped, Example, Inventory, View
from pipelines.commands.plan_text import describe
from pipelines.commands.prep import prep
from pipelines.config import PrepConfig, prep_config
from pipelines.plan import plan_corpus
from pipelines.rederive import rederive
from tests.prep.mosei_corpus import FILMS, make_mosei, number_in

SIX = LabelChoice(EMOTIONS)
RATERS, CSD = MoseiOptions(label_source="raters"), MoseiOptions(label_source="csd")

# What becomes of each id that occurs anywhere; None: it is prepared.
FATES: dict[str, Why | None] = {
    "_0efYOjQYRc_0": None,
    "_0efYOjQYRc_1": None,
    "_0efYOjQYRc_2": None,
    "_0efYOjQYRc_3": Why.SPAN_OUTSIDE_MEDIA,
    "_0efYOjQYRc_10": None,
    "_0efYOjQYRc_77": Why.NO_TRANSCRIPT,
    "-3g5yACwYnA_2": None,
    "-3g5yACwYnA_3": Why.BLACK_PICTURE,
    "-3g5yACwYnA_4": Why.BAD_SPAN,
    "-3g5yACwYnA_5": Why.NO_LABEL,
    "-3g5yACwYnA_10": None,
    "abc__0": None,
    "--x___0": Why.VIDEO_MISSING,
    "corrupt_0": Why.UNDECODABLE_VIDEO,
    "corrupt_1": Why.UNDECODABLE_VIDEO,
    "notext_0": Why.TRANSCRIPT_MISSING,
    "parts_0": None,
    "parts_1": Why.VIDEO_MISSING,
    "parts_9": Why.NO_TRANSCRIPT,
}
# What is no utterance's: files, and lines and rows that cannot be read or are further ones.
BESIDE = {
    "unused": Why.TRANSCRIPT_MISSING,
    "lonely": Why.TRANSCRIPT_MISSING,
    "._abc_.mp4": Why.NOT_A_RECORDING,
    "._abc_.txt": Why.NOT_A_RECORDING,
    "something else": Why.BAD_LINE,
    "-3g5yACwYnA______1.0___2.0___It has no number.": Why.NO_ID,
    "_": Why.NO_ID,
}
COUNTS = {
    "utterances": 19,
    "in_transcripts": 16,
    "in_labels": 16,
    "in_media": 17,
    "in_all_three": 12,
    "lacking_in_transcripts": 2,
    "lacking_in_labels": 2,
    "lacking_in_media": 2,
    "only_in_transcripts": 0,
    "only_in_labels": 0,
    "only_in_media": 1,
    "kept": 12,
    "kept_without_emotion": 1,
    "clamped_at_start": 1,
    "recordings": 5,
    "recordings_of_one_utterance": 1,
    "sound_from_video": 2,
}
PREPARED = sorted(name for name, fate in FATES.items() if fate is None)


@pytest.fixture(scope="module")
def mosei(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_mosei(tmp_path_factory.mktemp("mosei"))


@pytest.fixture(scope="module")
def by_raters(mosei: Path) -> Inventory:
    return scan(mosei, RATERS)


@pytest.fixture(scope="module")
def by_csd(mosei: Path) -> Inventory:
    return scan(mosei, CSD)


@pytest.fixture
def copy(mosei: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(mosei, tmp_path / "copy", copy_function=link))


@pytest.fixture(scope="module")
def asked(mosei, text_model, tmp_path_factory) -> PrepConfig:
    out = tmp_path_factory.mktemp("out") / "shards"
    return prep_config("mosei", raw=mosei, out=out, tokenizer=str(text_model), shard_mb=0.05)


@pytest.fixture(scope="module")
def shards(asked, prepare):
    _, summary = prepare(asked)
    return asked.out, summary


def scan(root: Path, *options: MoseiOptions) -> Inventory:
    return scan_mosei(root, SIX, *options)


def link(source: str, target: str) -> None:
    """Media are linked: no test writes into them; all else is copied."""
    if Path(source).suffix in (".mp4", ".wav"):
        Path(target).hardlink_to(source)
    else:
        shutil.copyfile(source, target)


def example_of(directory: Path, name: str) -> Example:
    catalogue, index = read_catalogue(directory), read_index(directory)
    place = int(catalogue.rows_of([name])[0])
    with ShardReader(directory / index.shards[catalogue.shard[place]].name) as reader:
        return reader.read(int(catalogue.row[place]))


NAMES = st.text("_-aZ09", min_size=1, max_size=12)
WORDS = st.text(st.characters(exclude_characters="\n\r", exclude_categories=["Cs"]), max_size=40)
TIMES = st.floats(-10, 10_000).map(lambda value: round(value, 3))


@given(NAMES, st.integers(0, 9999), TIMES, TIMES, WORDS)
def test_a_line_comes_back_whatever_its_id_and_text(video, number, start_s, end_s, words):
    (line,) = parse_transcript(video, f"{video}___{number}___{start_s}___{end_s}___ {words}x\r\n")
    assert isinstance(line, Spoken)
    assert (line.id, line.video) == (f"{video}_{number}", video)
    assert (line.start_s, line.end_s) == (start_s, end_s)
    expected = f"{words}x".strip()
    assert line.text == expected or (expected.startswith("___") and expected.endswith(line.text))


@given(NAMES, st.lists(st.text("_-.a1 \n", max_size=20), max_size=8))
def test_any_line_is_read_or_dropped(video, fields):
    text = "___".join([video, *fields])
    entries = list(parse_transcript(video, text))
    assert all(isinstance(entry, Spoken | Dropped) for entry in entries)
    assert len(entries) == sum(1 for line in text.split("\n") if line.strip())


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("v___1___0.5___2___a ___ b", ("v_1", 0.5, 2.0, "a ___ b")),
        ("v___1___0.5___2______a", ("v_1", 0.5, 2.0, "a")),
        ("v___1___-0.5___2___", ("v_1", -0.5, 2.0, "")),
        ("v___07___.5___2.___a___", ("v_7", 0.5, 2.0, "a")),
        ("v___1______2___3___a", Why.BAD_SPAN),
        ("v___1___0_1___2___a", Why.BAD_SPAN),
        ("v___1___nan___2___a", Why.BAD_SPAN),
        ("v______0___2___a", Why.NO_ID),
        ("v___1___0___2", Why.BAD_LINE),
        ("w___1___0___2___a", Why.BAD_LINE),
    ],
)
def test_an_empty_field_shifts_no_other(line, expected):
    (entry,) = parse_transcript("v", line)
    if isinstance(expected, tuple):
        assert (entry.id, entry.start_s, entry.end_s, entry.text) == expected
    else:
        assert entry.reason is expected


@pytest.mark.parametrize("name", ["by_raters", "by_csd"])
def test_transcripts_labels_and_media_are_reconciled(name, request):
    inventory = request.getfixturevalue(name)
    counts = inventory.reconciliation
    assert counts == COUNTS
    regions = [n for key, n in counts.items() if key.startswith(("lacking", "only", "in_all"))]
    assert sum(regions) == counts["utterances"]
    lost = [d for d in inventory.dropped if d.id.partition("@")[0] not in BESIDE]
    again = [d.id for d in lost if d.reason is Why.DUPLICATE_ID]
    assert again == ["-3g5yACwYnA_2"]
    assert len(lost) - len(again) + len(inventory.utterances) == counts["utterances"]


def test_both_sources_agree(by_raters, by_csd):
    assert by_raters.options == {"label_source": "raters"}
    assert by_csd.options == {"label_source": "csd"}
    assert by_raters.recordings == by_csd.recordings
    for one, other in zip(by_raters.utterances, by_csd.utterances, strict=True):
        assert dataclasses.replace(one, ratings=()) == dataclasses.replace(other, ratings=())
        assert one.ratings[0] == pytest.approx(other.ratings[0], abs=1e-6)
        # The SDK's file has means alone.
        assert all(map(math.isnan, other.ratings[1:]))


def test_what_no_transcript_has_stands_under_its_span_in_the_csd(by_raters, by_csd):
    fates = {entry.id: entry.reason for entry in by_csd.dropped}
    assert fates["_0efYOjQYRc@50-60"] is Why.NO_TRANSCRIPT
    assert fates["notext@0-1.5"] is Why.TRANSCRIPT_MISSING
    fates = {entry.id: entry.reason for entry in by_raters.dropped}
    assert fates["_0efYOjQYRc_77"] is Why.NO_TRANSCRIPT
    assert fates["notext_0"] is Why.TRANSCRIPT_MISSING


def test_an_utterance_has_its_emotions_sentiment_words_and_view(by_raters):
    known = {utterance.id: utterance for utterance in by_raters.utterances}
    first = known["_0efYOjQYRc_0"]
    assert (first.start_s, first.end_s, first.clamped) == (0.0, 2.025, True)
    assert first.labels == ("anger", "sad")
    assert first.ratings[0] == pytest.approx(-4 / 3)
    votes = dict(zip(by_raters.rating_names[1:], first.ratings[1:], strict=True))
    assert votes["raters"] == 3
    assert {name for name, n in votes.items() if n} == {"raters", "votes_anger", "votes_sad"}
    assert (first.session, first.speaker) == ("_0efYOjQYRc", "")
    assert first.view == View(max_lines=360)
    assert known["abc__0"].labels == ()
    assert known["-3g5yACwYnA_10"].transcript == "One ___ and another."
    assert known["-3g5yACwYnA_2"].transcript == ""
    own = known["parts_0"]
    assert (own.recording_id, own.session, own.start_s, own.end_s) == ("parts[0]", "parts", 0, 1.5)


def test_the_sound_is_the_wav_where_there_is_one(by_raters):
    sounds = {r.id: r.audio for r in by_raters.recordings}
    assert sounds["abc_"].name == "abc_.wav"
    assert sounds["-3g5yACwYnA"].name == "-3g5yACwYnA.mp4"


@pytest.mark.parametrize("source", ["raters", "csd"])
def test_the_threshold_is_of_the_mean_in_both_sources(mosei, source):
    settings = MoseiOptions(label_source=source, label_threshold=0.9)
    known = {u.id: u.labels for u in scan(mosei, settings).utterances}
    assert known["_0efYOjQYRc_0"] == ("anger",)
    assert known["_0efYOjQYRc_1"] == ("happy",)
    assert known["_0efYOjQYRc_10"] == ()


def test_the_source_that_is_there_is_taken_and_said(copy):
    assert scan(copy).options == {"label_source": "raters"}
    shutil.rmtree(copy / "Raw/Labels")
    assert scan(copy).options == {"label_source": "csd"}
    with pytest.raises(CorpusError, match=r"no Labels/\*.csv"):
        scan(copy, RATERS)
    (copy / "CMU_MOSEI_Labels.csd").unlink()
    with pytest.raises(CorpusError, match="and no CMU_MOSEI_Labels.csd"):
        scan(copy)
    with pytest.raises(SettingsError, match="unknown label source 'both'"):
        scan(copy, MoseiOptions(label_source="both"))


def test_the_directory_may_be_raw_or_hold_it_in_any_case(copy, by_raters):
    names = [u.id for u in by_raters.utterances]
    assert [u.id for u in scan(copy / "Raw", RATERS).utterances] == names
    (copy / "Raw/Videos").rename(copy / "Raw/videos")
    (copy / "Raw").rename(copy / "RAW")
    assert [u.id for u in scan(copy, CSD).utterances] == names


def test_a_corpus_that_is_none_is_refused(copy, tmp_path):
    with pytest.raises(CorpusError, match="is not a directory"):
        scan(tmp_path / "nowhere")
    shutil.rmtree(copy / "Raw/Videos")
    with pytest.raises(CorpusError, match="holds no Videos; it holds CMU_MOSEI_Labels.csd, Raw"):
        scan(copy)
    (copy / "Raw/Videos/Full").mkdir(parents=True)
    with pytest.raises(CorpusError, match="holds no Videos/Full/Combined"):
        scan(copy)


def test_a_whole_video_is_preferred_to_its_parts(copy):
    parts = copy / "Raw/Videos/Segmented/Combined"
    shutil.copy(parts / "parts_0.mp4", parts / "abc__0.mp4")
    inventory = scan(copy, RATERS)
    assert inventory.reconciliation == COUNTS
    assert {u.id: u.recording_id for u in inventory.utterances}["abc__0"] == "abc_"


def test_rows_and_spans_that_are_none_are_told(copy):
    with h5py.File(copy / "CMU_MOSEI_Labels.csd", "a") as file:
        group = file["All Labels/data/abc_"]
        features, spans = group["features"][:], group["intervals"][:]
        del group["features"], group["intervals"]
        group["features"] = np.repeat(features, 2, axis=0)
        group["intervals"] = np.repeat(spans, 2, axis=0)
        del file["All Labels/data/corrupt/intervals"]
        file["All Labels/data/corrupt/intervals"] = np.zeros((5, 2))
    fates = Counter((entry.id, entry.reason) for entry in scan(copy, CSD).dropped)
    assert fates["abc__0", Why.DUPLICATE_ID] == 1
    assert fates["corrupt", Why.BAD_LINE] == 1
    assert fates["corrupt_0", Why.NO_LABEL] == 1
    (copy / "CMU_MOSEI_Labels.csd").write_text("version https://git-lfs")
    with pytest.raises(CorpusError, match="cannot be read as a csd"):
        scan(copy, CSD)


def test_raters_who_gave_no_number_do_not_count(tmp_path):
    names = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "sentiment")
    head = ["Input.VIDEO_ID", "Input.CLIP", *(f"Answer.{name}" for name in names)]
    rows = ["v,1.0,1,0,0,0,0,0,-1", "v,1,,0,0,0,0,0,", "v,2,,,,,,,", "v,3,0"]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([",".join(head), *rows]))
    other = tmp_path / "b.csv"
    other.write_text("id,label\n1,2\n")
    dropped: list[Dropped] = []
    rated = read_raters([(path, "a.csv"), (other, "b.csv")], dropped)
    assert list(rated) == ["v_1", "v_3"]
    assert (rated["v_1"].emotions, rated["v_1"].sentiment) == ((1.0, 0, 0, 0, 0, 0), -1.0)
    assert [rated[name].votes for name in rated] == [(2, 1, 0, 0, 0, 0, 0), (1, 0, 0, 0, 0, 0, 0)]
    assert [(entry.id, entry.reason) for entry in dropped] == [("b.csv", Why.BAD_LINE)]


def test_a_table_without_sentiments_keeps_its_labels(tmp_path):
    names = ("anger", "disgust", "fear", "happiness", "sadness", "surprise")
    head = ["Input.VIDEO_ID", "Input.CLIP", *(f"Answer.{name}" for name in names)]
    path = tmp_path / "a.csv"
    path.write_text("\n".join([",".join(head), "v,1,0,2,0,0,0,0"]))
    rated = read_raters([(path, "a.csv")], [])["v_1"]
    assert rated.emotions == (0, 2, 0, 0, 0, 0)
    assert math.isnan(rated.sentiment)


@pytest.mark.parametrize("size", [(1080, 1920), (721, 1283), (360, 640), (362, 3)])
def test_a_view_is_halved_until_it_fits(size):
    rgb = np.random.default_rng(0).integers(0, 256, (*size, 3)).astype(np.uint8)
    expected = rgb.astype(int)
    while len(expected) > 360:
        height, width = len(expected) // 2, expected.shape[1] // 2
        cut = expected[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
        expected = (cut.sum(axis=(1, 3)) + 2) // 4
    assert np.array_equal(halve_until(rgb, 360), expected)
    assert np.array_equal(cut_view(rgb, view_of("whole")), expected)
    published = cut_view(rgb, view_of("published"))
    once = halve_until(rgb, 360, times=1)
    assert len(once) == (size[0] // 2 if size[0] > 360 else size[0])
    assert np.array_equal(published, cut_view(once, View(crop_px=360)))


@pytest.mark.parametrize("video", ["_0efYOjQYRc", "-3g5yACwYnA", "abc_"])
def test_a_picture_is_taken_every_500_ms_truly(by_raters, video):
    recording = next(r for r in by_raters.recordings if r.id == video)
    utterances = [u for u in by_raters.utterances if u.recording_id == video]
    film, taken = FILMS[video], 0
    with OpenRecording(recording, utterances, FrameSettings()) as source:
        for utterance in utterances:
            for k, (time_s, view) in enumerate(source.frames(utterance)):
                assert time_s == round(utterance.start_s + 0.5 * k, 6)
                shown = int(Fraction(str(time_s)) * Fraction(film.fps))
                if time_s < film.black_from_s:
                    assert number_in(view, 270 if film.lines_px == 1080 else 360) == shown
                taken += 1
    assert taken >= 4


def test_every_id_is_prepared_or_dropped_with_its_reason(shards):
    out, summary = shards
    fates = dict.fromkeys(read_catalogue(out).ids.to_pylist())
    entries = read_dropped(out)
    fates |= {entry["id"]: Why(entry["reason"]) for entry in reversed(entries)}
    again = [entry["id"] for entry in entries if entry["reason"] == "duplicate_id"]
    assert again == ["-3g5yACwYnA_2"]
    assert fates == {**FATES, **BESIDE, "-3g5yACwYnA_2": Why.DUPLICATE_ID}
    assert sorted(read_catalogue(out).ids.to_pylist()) == PREPARED
    assert summary.prepared + summary.dropped_in_preparation == COUNTS["kept"]
    assert len(entries) + summary.prepared == len(FATES) + len(BESIDE) + len(again)
    assert summary.recordings_failed == ("corrupt",)


def test_examples_are_whole_and_clamped_where_the_media_end(shards):
    out, _ = shards
    spans = {name: example_of(out, name).utterance for name in PREPARED}
    assert {name for name, u in spans.items() if u.clamped} == {"_0efYOjQYRc_0", "_0efYOjQYRc_2"}
    assert spans["_0efYOjQYRc_2"].end_s == pytest.approx(6.0, abs=0.05)
    for name in PREPARED:
        example = example_of(out, name)
        assert example.faces.found.all(), name
        assert len(example.mel.log_power) > 60
    assert not example_of(out, "abc__0").label.any()


def test_the_reconciliation_is_stored_and_shown(shards):
    out, summary = shards
    index = read_index(out)
    assert index.reconciliation == summary.to_json()["reconciliation"] == COUNTS
    assert index.settings.corpus == {"label_source": "raters"}
    assert json.loads((out / "index.json").read_text())["reconciliation"] == COUNTS
    page = (out / "report.html").read_text()
    assert "<h2>Reconciliation</h2>" in page and "sound_from_video" in page


def test_shards_are_sound_and_are_derived_again(shards, mosei, text_model):
    out, _ = shards
    assert verify(out) == []
    assert rederive(out, mosei, 100) == []


def test_other_labels_decode_nothing(asked, shards, mosei):
    for own in (CSD, MoseiOptions(label_threshold=1.5)):
        described = describe(plan_corpus(dataclasses.replace(asked, corpus=own)), 1)
        assert described["faces_to_make"] == described["mel_to_make"] == 0
    published = MoseiOptions(picture="published")
    described = describe(plan_corpus(dataclasses.replace(asked, corpus=published)), 1)
    # Another view may show more: the four that were dropped on the way are tried again.
    assert (described["faces_to_make"], described["mel_to_make"]) == (12, 4)


def test_a_face_at_the_edge_is_kept_whole_and_cut_by_the_published_rule(
    asked, shards, mosei, copy, prepare
):
    whole = example_of(shards[0], "abc__0").faces
    assert whole.found.all()
    # The square in the middle of 480 x 270 begins at 60.
    assert (whole.box[:, 0] < 55).all() and (whole.box[:, 2] > 65).all()
    for path in (copy / "Raw/Videos").rglob("*.mp4"):
        if path.stem != "abc_":
            path.unlink()
    own = MoseiOptions(picture="published")
    out = copy / "published"
    prepare(dataclasses.replace(asked, raw=copy, out=out, corpus=own))
    cut = example_of(out, "abc__0").faces
    # The square in the middle of 960 x 540 begins at 300.
    assert (np.abs(cut.box[:, 0] + 300 - 2 * whole.box[:, 0]) > 10).all()
    assert read_index(out).settings.corpus["picture"] == "published"


def test_the_command_shows_its_plan(mosei, text_model, tmp_path):
    command = ["mosei", str(mosei), "--out", str(tmp_path / "x"), "--dry-run"]
    command += ["--tokenizer", str(text_model), "--label-source", "csd", "--executor", "inline"]
    described = json.loads(CliRunner().invoke(prep, [*command, "--json"]).stdout)
    assert described["reconciliation"] == COUNTS
    assert "      2 sound_from_video" in CliRunner().invoke(prep, command).stdout
