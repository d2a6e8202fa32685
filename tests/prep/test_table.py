from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import ffmpeg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from fv2es_prep.config import PrepSettings
from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import provenance_of
from fv2es_prep.corpora.iemocap import IEMOCAP
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.corpora.table import TABLE, TableOptions
from fv2es_prep.corpora.table import scan as scan_table
from fv2es_prep.errors import CorpusError, DropReason
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.media.probe import duration_s
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.index import make_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.splits import Split, read_split, write_split
from fv2es_prep.splits.audit import audit_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.types import Inventory, Provenance, View
from fv2es_train.training.loop import train
from fv2es_train.training.run_config import train_config
from pipelines.commands.prep import prep
from pipelines.commands.shards import shards
from pipelines.config import prep_config
from pipelines.plan import plan_corpus

FIRST, SECOND = "Ses01F_impro01", "Ses02F_impro01"


@pytest.fixture(scope="session")
def clips(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six clips of 1.5 s, each with its own sound, cut out of the generated dialogues."""
    folder = tmp_path_factory.mktemp("table") / "clips"
    folder.mkdir()
    for number in range(6):
        session = f"Session{1 + number % 3}/dialog"
        name = f"Ses{1 + number % 3:02d}F_impro01"
        begin = {"ss": 2 + 3 * (number // 3), "t": 1.5}
        picture = ffmpeg.input(str(corpus / session / "avi/DivX" / f"{name}.avi"), **begin)
        sound = ffmpeg.input(str(corpus / session / "wav" / f"{name}.wav"), **begin)
        left = picture.video.crop(0, 0, "iw/2", "ih")
        made = ffmpeg.output(
            left, sound.audio, str(folder / f"clip{number}.mkv"), vcodec="mpeg4", acodec="flac"
        )
        made.run(cmd=ffmpeg_path(), quiet=True)
    return folder


def write(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)
    return path


def scan(path: Path, *labels: str, **merge: str) -> Inventory:
    return scan_table(path, LabelChoice(labels, merge))


@pytest.fixture
def table(clips: Path, tmp_path: Path) -> Any:
    """Writes a table beside a link to the clips."""
    (tmp_path / "clips").symlink_to(clips)
    return lambda columns, *rows: write(tmp_path / "table.csv", columns.split(","), rows)


def left_out(inventory: Inventory) -> dict[str, tuple[DropReason, str]]:
    return {entry.id: (entry.reason, entry.sentence) for entry in inventory.dropped}


def test_clips_without_spans_and_text_prepare_and_train(clips, text_model, tmp_path):
    """Acceptance: whole clips, no words, from the command to a trained run."""
    (tmp_path / "clips").symlink_to(clips)
    rows = [(f"clips/clip{i}.mkv", ("joy", "anger")[i % 2], f"s{i}") for i in range(6)]
    path = write(tmp_path / "table.csv", ("video", "labels", "speaker"), rows)
    out, split, run = tmp_path / "shards", tmp_path / "split.json", tmp_path / "run"
    whole = ["--tokenizer", str(text_model), "--executor", "inline"]
    said = invoke(prep, "table", path, "--out", out, *whole)
    assert "prepared 6 utterances" in said
    assert [line for line in said.splitlines() if "text" in line] == [
        "no text        6 utterances: no_transcript"
    ]
    catalogue = read_catalogue(out)
    assert catalogue.ids.to_pylist() == [f"clip{i}" for i in range(6)]
    assert catalogue.recordings.at([0])[0] == "clips/clip0.mkv"
    assert catalogue.label_classes == ("anger", "joy")
    assert catalogue.texts.to_pylist() == [""] * 6
    assert catalogue.seconds == pytest.approx([1.5] * 6, abs=0.05)
    assert "utterances without text" in (out / "report.html").read_text("utf-8")
    with ShardReader(out / "table-00000.h5") as reader:
        example = reader.read(0)
    assert example.missing == {"t": "no_transcript"}
    assert example.keys() == {"faces", "mel"}
    assert len(example.faces.rgb) == 3
    assert example.faces.found.all()
    invoke(shards, "verify", out, "--against", path, "--sample", 2)
    invoke(shards, "show", out, "clip0", "--image", tmp_path / "clip0.png")
    ids = ("clip0", "clip1"), ("clip2", "clip3"), ("clip4", "clip5")
    write_split(Split("tests", {}, *ids, class_counts={}), split)
    train(train_config("fv2es-tiny", shards=out, split=split, out=run, epochs=1))
    assert list(run.glob("**/*.safetensors"))


@pytest.mark.parametrize(
    ("columns", "missing"),
    [
        ("id,audio,labels", {"text": {"no_transcript": 6}, "video": {"no_video": 6}}),
        ("id,text,labels", {"audio": {"no_audio": 6}, "video": {"no_video": 6}}),
    ],
)
def test_a_corpus_of_one_modality_is_prepared_verified_split_and_audited(
    table, text_model, tmp_path, columns, missing
):
    source = "clips/clip{}.mkv" if "audio" in columns else "What I say, {} times."
    path = table(columns, *((f"u{i}", source.format(i), "ab"[i % 2]) for i in range(6)))
    out, split = tmp_path / "shards", tmp_path / "split.json"
    given = ("--tokenizer", text_model, "--executor", "inline")
    assert "prepared 6 utterances" in invoke(prep, "table", path, "--out", out, *given)
    catalogue = read_catalogue(out)
    assert catalogue.missing_counts() == missing
    invoke(shards, "verify", out, "--against", path, "--sample", 2)
    write_split(next(build_splits(catalogue, Rule(shares=(0.4, 0.3, 0.3)))), split)
    shared = {s.kind: s for s in audit_split(catalogue, read_split(split)).pairs[1].shared}
    absent = {"faces"} if "audio" in columns else {"faces", "audio"}
    assert {
        kind for kind in ("faces", "audio") if shared[kind].unknown == shared[kind].of
    } == absent


def test_rows_become_utterances_with_all_that_the_columns_say(table):
    path = table(
        "id,video,start_s,end_s,text,labels,audio,speaker,group,view,note",
        (
            "a",
            "clips/clip0.mkv",
            0.25,
            1,
            "Well, «yes».",
            "joy|fear",
            "",
            "Ann",
            "S1",
            "left:64",
            7,
        ),
        ("b", "clips/clip0.mkv", "", "", "  ", "fear", "", "", "", "", ""),
        ("c", "clips/clip1.mkv", 0, 1.2, "No", "joy", "clips/clip2.mkv", "Ben", "S1", "right", ""),
    )
    inventory = scan(path)
    first, second, third = sorted(inventory.utterances, key=lambda u: u.id)
    assert (first.start_s, first.end_s, first.transcript) == (0.25, 1.0, "Well, «yes».")
    assert (first.labels, first.speaker, first.session) == (("fear", "joy"), "Ann", "S1")
    assert (first.view, third.view) == (View("left", 64), View("right"))
    assert (second.start_s, second.transcript, second.view) == (0.0, "", View())
    assert second.end_s == pytest.approx(1.5, abs=0.05)
    assert [r.id for r in inventory.recordings] == ["clips/clip0.mkv", "clips/clip1.mkv"]
    assert [r.audio.name for r in inventory.recordings] == ["clip0.mkv", "clip2.mkv"]
    assert inventory.label_classes == ("fear", "joy")
    assert inventory.without_text == 1


@pytest.mark.parametrize(
    ("row", "reason", "said"),
    [
        (("x", "clips/none.mkv", 0, 1, "a", ""), "video_missing", "none.mkv does not exist"),
        (
            ("x", "/no/where.mkv", 0, 1, "a", ""),
            "video_missing",
            "where.mkv does not exist",
        ),
        (("x", "", 0, 1, "a", ""), "video_missing", "its column video is empty"),
        (("", "clips/clip1.mkv", 0, 1, "a", ""), "no_id", "it has no id"),
        (("x", "clips/clip1.mkv", 0, "", "a", ""), "bad_span", "it has only start_s"),
        (("x", "clips/clip1.mkv", 1, 1, "a", ""), "bad_span", "its span is 1.0 s to 1.0 s"),
        (
            ("x", "clips/clip1.mkv", "0:01", 2, "a", ""),
            "bad_span",
            "found '0:01', expected seconds",
        ),
        (("x", "clips/clip1.mkv", 0, "inf", "a", ""), "bad_span", "found 'inf'"),
        (("x", "clips/clip1.mkv", 0, 1, " | ", ""), "no_label", "it has no label"),
        (("x", "clips/clip1.mkv", 0, 1, "a", "top"), "bad_line", "found 'top', expected left"),
        (("x", "clips/clip1.mkv", 0, 1), "bad_line", "it has 4 cells, expected 6"),
        (
            ("good", "clips/clip1.mkv", 0, 1, "a", ""),
            "duplicate_id",
            "has the same id",
        ),
    ],
)
def test_a_bad_row_is_left_out_alone_with_its_reason(table, row, reason, said):
    good = ("good", "clips/clip0.mkv", 0, 1, "a", "")
    inventory = scan(table("id,video,start_s,end_s,labels,view", good, row))
    assert [u.id for u in inventory.utterances] == ["good"]
    (entry,) = inventory.dropped
    assert entry.reason == reason
    assert said in entry.sentence
    assert "/no/where" not in entry.sentence


def test_a_clip_that_cannot_be_opened_is_left_out_and_a_second_sound_is_refused(table, tmp_path):
    (tmp_path / "broken.mp4").write_bytes(b"no video at all")
    path = table(
        "id,video,labels,audio",
        ("a", "broken.mp4", "joy", ""),
        ("b", "clips/clip0.mkv", "joy", ""),
        ("c", "clips/clip0.mkv", "joy", "clips/clip1.mkv"),
    )
    found = left_out(scan(path))
    assert found["a"][0] == DropReason.UNDECODABLE_VIDEO
    assert "broken.mp4 cannot be decoded" in found["a"][1]
    assert found["c"][0] == DropReason.BAD_LINE
    assert found["c"][1].startswith("line 4: its audio is clip1.mkv")


def test_one_modality_is_enough(table):
    path = table(
        "id,video,audio,text,labels",
        ("sound", "", "clips/clip0.mkv", "", "joy"),
        ("words", "", "", "Well, yes.", "fear"),
        ("both", "clips/clip1.mkv", "clips/clip2.mkv", "", "joy"),
        ("none", "", "", "", "joy"),
    )
    inventory = scan(path)
    recordings = {
        r.id: (r.video and r.video.name, r.audio and r.audio.name) for r in inventory.recordings
    }
    assert recordings == {
        "clips/clip0.mkv": (None, "clip0.mkv"),
        "clips/clip1.mkv": ("clip1.mkv", "clip2.mkv"),
        "words": (None, None),
    }
    ends = {u.id: u.end_s for u in inventory.utterances}
    assert ends == {"sound": pytest.approx(1.5, abs=0.05), "both": ends["sound"], "words": 1.0}
    (lost,) = inventory.dropped
    assert lost.sentence == "line 5: its columns video and audio and text are empty"
    assert inventory.exclusive


def test_a_corpus_of_sound_or_of_words_alone(table):
    sound = scan(table("audio,labels", ("clips/clip0.mkv", "joy"), ("clips/clip1.mkv", "fear")))
    assert [(u.id, u.recording_id) for u in sound.utterances] == [
        ("clip0", "clips/clip0.mkv"),
        ("clip1", "clips/clip1.mkv"),
    ]
    words = scan(table("text,labels", ("Yes.", "joy"), ("No.", "fear|joy")))
    assert [(u.id, u.transcript) for u in words.utterances] == [
        ("line-2", "Yes."),
        ("line-3", "No."),
    ]
    assert not words.exclusive


def test_numeric_columns_become_ratings(table):
    columns = "id,text,labels,valence,arousal"
    path = table(columns, ("a", "Yes.", "joy", 0.5, ""), ("b", "No.", "joy", "high", 1))
    options = TableOptions(("valence", "arousal"))
    inventory = scan_table(path, LabelChoice(()), options)
    assert inventory.rating_names == ("valence", "arousal")
    (kept,) = inventory.utterances
    assert kept.ratings[0] == 0.5
    assert math.isnan(kept.ratings[1])
    assert left_out(inventory)["b"] == (
        DropReason.BAD_LINE,
        "line 3: column valence: found 'high', expected a number",
    )
    with pytest.raises(CorpusError, match="no column of ratings 'dominance'"):
        scan_table(path, LabelChoice(()), TableOptions(("dominance",)))


def test_provenance_is_that_of_the_file_beside_the_table_else_of_the_corpus(
    table, corpus, tmp_path
):
    path = table("text,labels", ("Yes.", "joy"))
    assert provenance_of(TABLE, path) == Provenance("table")
    (tmp_path / "provenance.json").write_text('{"name": "mine", "licence": "CC0", "version": "2"}')
    assert provenance_of(TABLE, path) == Provenance("mine", False, "CC0", "2")
    (tmp_path / "provenance.json").write_text('{"generated": "yes"}')
    with pytest.raises(CorpusError, match="provenance.json cannot be read"):
        provenance_of(TABLE, path)
    demo = provenance_of(IEMOCAP, corpus)
    assert demo.generated
    assert "Southern California" not in demo.licence
    assert demo.may_be_handed_on


@pytest.mark.parametrize(
    ("licence", "spdx", "handed_on"),
    [
        ("cc-by-nc-sa-4.0", "CC-BY-NC-SA-4.0", True),
        ("CC-BY-NC-ND-4.0", "CC-BY-NC-ND-4.0", False),
        ("Free for any use.", "", False),
        ("", "", False),
    ],
)
def test_an_open_licence_lets_shards_be_handed_on(licence, spdx, handed_on):
    source = Provenance("mine", licence=licence)
    assert (source.spdx, source.may_be_handed_on) == (spdx, handed_on)
    assert replace(source, redistributable=True).may_be_handed_on
    other = Provenance("mine", licence="As I say.", redistributable=True).under(licence)
    assert other == Provenance("mine", licence=spdx or licence)


@pytest.mark.parametrize("corpus", CORPORA.builtin)
def test_no_corpus_of_ours_may_be_handed_on_by_itself(corpus, tmp_path):
    assert not provenance_of(CORPORA.load(corpus), tmp_path).may_be_handed_on


def test_a_licence_of_the_command_line_takes_the_place_of_the_corpus_s(table, text_model, tmp_path):
    path = table("text,labels", ("Yes.", "joy"))
    given = {"tokenizer": str(text_model), "stages": ("tokens",), "modalities": "t"}
    config = prep_config("table", raw=path, out=tmp_path / "out", licence="cc0-1.0", **given)
    source = plan_corpus(config, dry_run=True).inventory.provenance
    assert source == Provenance("table", licence="CC0-1.0")
    head = "table", ("joy",), (), PrepSettings(), []
    assert make_index(*head, provenance=source).may_be_handed_on
    assert not make_index(*head).may_be_handed_on


def test_one_column_for_each_class(table):
    path = table(
        "id,video,start_s,end_s,joy,fear,take",
        ("a", "clips/clip0.mkv", 0, 1, 1, 1, 3),
        ("b", "clips/clip1.mkv", 0, 1, 0, 1, 1),
        ("c", "clips/clip2.mkv", 0, 1, 0, 0, 2),
    )
    by_id = {u.id: u.labels for u in scan(path).utterances}
    assert by_id == {"a": ("fear", "joy"), "b": ("fear",), "c": ()}
    chosen = scan(path, "joy")
    assert chosen.label_classes == ("joy",)
    assert {u.id for u in chosen.utterances} == {"a", "c"}
    with pytest.raises(CorpusError, match=r"line 2, column 'take': found '3', expected 0 or 1"):
        scan(path, "joy", "take")
    with pytest.raises(
        CorpusError, match=r"no column for the class 'anger'; its columns are id, video"
    ):
        scan(path, "anger")


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        (
            "id,file,labels",
            "none of the columns video, audio and text; its columns are id, file, labels",
        ),
        ("id,Video,labels", "a column 'Video'; did you mean video?"),
        ("id,video,label", "a column 'label'; did you mean labels?"),
        ("id,video,labels,start_s", "only one of the columns start_s and end_s"),
        ("id,video,emotion", "neither a column labels nor columns of 0 and 1"),
        ("id,video,video,labels", "the column 'video' twice"),
        ("", "no columns"),
    ],
)
def test_missing_and_misnamed_columns_are_refused_by_name(table, columns, said):
    with pytest.raises(CorpusError) as error:
        scan(table(columns, ["x"] * len(columns.split(","))))
    assert said in error.value.sentence


def test_ids_made_of_names_must_differ(table):
    rows = (("clips/clip0.mkv", "joy"), ("clips/clip0.mkv", "fear"))
    with pytest.raises(CorpusError, match=r"no column id, and line 2 and line 3"):
        scan(table("video,labels", *rows))


def test_nothing_left_says_why(table):
    with pytest.raises(CorpusError, match="left for any class: 1 video_missing"):
        scan(table("video,labels", ("none.mkv", "joy")))


def test_every_format_gives_the_same(table, tmp_path):
    columns = ("id", "video", "start_s", "end_s", "text", "labels")
    rows = [
        ("a", "clips/clip0.mkv", 0.5, 1.25, "Line\u2028one, two", "joy|fear"),
        ("b", "clips/clip1.mkv", None, None, None, "joy"),
    ]
    wanted = scan(table(",".join(columns), *[["" if c is None else c for c in r] for r in rows]))
    tabs = tmp_path / "table.tsv"
    tabs.write_text((tmp_path / "table.csv").read_text("utf-8").replace(",", "\t"), "utf-8-sig")
    dicts = [dict(zip(columns, row, strict=True)) for row in rows]
    lines = [json.dumps({**d, "labels": d["labels"].split("|")}) for d in dicts]
    (tmp_path / "table.jsonl").write_text("\n".join(lines), "utf-8")
    pq.write_table(pa.Table.from_pylist(dicts), tmp_path / "table.parquet")
    for name in ("table.jsonl", "table.parquet"):
        assert scan(tmp_path / name) == wanted, name
    assert [u.labels for u in scan(tabs).utterances] == [u.labels for u in wanted.utterances]


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("t.csv", b"id,video\n1,caf\xe9\n", "t.csv, line 2: the byte 0xe9 is not UTF-8"),
        ("t.csv", b'id,video\n"1,' + b"x" * 200_000, "field larger than field limit"),
        ("t.parquet", b"PAR1 or so", "t.parquet cannot be read as Parquet"),
        ("t.xlsx", b"PK", "has the suffix .xlsx, expected .csv"),
    ],
)
def test_a_file_that_cannot_be_read_is_refused(tmp_path, name, data, said):
    path = tmp_path / name
    path.write_bytes(data)
    with pytest.raises(CorpusError) as error:
        scan(path)
    assert said in str(error.value)
    with pytest.raises(CorpusError, match="the table cannot be read: none.csv"):
        scan(tmp_path / "none.csv")


def test_lines_that_are_no_objects_are_left_out(clips, tmp_path):
    video = str(clips / "clip0.mkv")
    good = json.dumps({"id": "a", "video": video, "labels": "joy", "start_s": 0, "end_s": 1})
    path = tmp_path / "t.jsonl"
    path.write_text(good + "\n[1]\n{oh\n", "utf-8")
    inventory = scan(path)
    assert [entry.reason for entry in inventory.dropped] == [DropReason.BAD_LINE] * 2
    # Of a video that does not lie below the table no place on this machine is told.
    assert inventory.recordings[0].id.startswith("clip0.mkv-")
    assert str(clips) not in repr(inventory.dropped) + inventory.recordings[0].id


def test_a_file_that_announces_no_length_is_decoded(clips, tmp_path):
    path = tmp_path / "stream.mkv"
    made = ffmpeg.output(
        ffmpeg.input(str(clips / "clip0.mkv")), "pipe:", format="matroska", c="copy"
    )
    path.write_bytes(made.run(cmd=ffmpeg_path(), capture_stdout=True, quiet=True)[0])
    assert duration_s(path) == pytest.approx(duration_s(clips / "clip0.mkv"), abs=0.05)
    assert math.isfinite(duration_s(path))


def invoke(group: Any, *words: object) -> str:
    result = CliRunner().invoke(group, [str(word) for word in words])
    assert result.exit_code == 0, result.output
    return result.output
