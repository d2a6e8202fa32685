"""`fv2es shards`: what its commands do, in this process; a few as a user types them."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from fv2es_prep.config import FrameSettings
from fv2es_prep.errors import OutputError, ShardError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.index import INDEX_NAME, read_index, write_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.export import DESCRIPTION_NAME, FORMATS, export
from fv2es_prep.shards.tools.export.croissant import CROISSANT_NAME
from fv2es_prep.shards.tools.export.dataset_card import CARD_NAME
from fv2es_prep.shards.tools.info import dataset_info, info_text
from fv2es_prep.shards.tools.merge import merge
from fv2es_prep.shards.tools.prune import prune
from fv2es_prep.shards.tools.show import (
    draw_to_file,
    example_text,
    example_values,
    extract_example,
    find_example,
)
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.splits.manifest import write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.utils.files import sha256_of
from pipelines.commands.shards import shards as shards_app
from tests.command_line import fv2es


def test_info_counts_everything(dataset):
    info = dataset_info(dataset)
    assert (info["corpus"], info["utterances"], info["recordings"]) == ("tests", 5, 3)
    assert info["classes"] == {"ang": 1, "neu": 4}
    assert (info["speakers"], info["sessions"]) == ({"F": 5}, {"1": 4, "2": 1})
    assert info["hours"] == round((0.5 * 3 + 1 + 1.5) / 3600, 4)
    assert info["dropped"] == {"no_label": 1, "no_frame_in_span": 2}
    assert (info["clamped"], info["shards"], info["merged"]) == (0, 2, [])
    assert info["settings"] == read_index(dataset).settings.to_json()
    bytes_ = info["bytes"]
    assert bytes_["total"] == sum(path.stat().st_size for path in dataset.glob("*.h5"))
    assert bytes_["total"] == sum(bytes_[part] for part in ("faces", "mel", "tokens", "rest"))
    assert bytes_["mel"] == (41 * 3 + 81 + 121) * 128 * 2 + (3 + 1 + 2 + 1) * 8
    catalogue = read_catalogue(dataset)
    share = catalogue.counts["faces/found"] / catalogue.counts["faces"]
    low = [
        name for name, found in zip(catalogue.ids.to_pylist(), share, strict=True) if found < 0.5
    ]
    assert info["stages"]["faces"]["found"]["utterances_below_half"] == low
    assert info["stages"]["faces"]["found"]["count"] == catalogue.counts["faces/found"].sum()
    json.dumps(info, allow_nan=False)
    for words in ("tests, format 1.2", "no_frame_in_span", "mel.hop", "ang"):
        assert words in info_text(info)


def test_an_example_is_shown_in_words_values_and_files(dataset, tmp_path):
    shown = find_example(dataset, "1A_é1")
    assert (shown.shard, shown.row) == ("tests-00000.h5", 1)
    values = example_values(shown)
    assert values["text"] == "Words 1."
    assert values["ratings"] == {"valence": None}
    assert values["faces"]["shape"] == [2, 48, 48, 3]
    assert len(values["tokens"]) == 4
    text = example_text(shown)
    for words in ("1A_é1", "2.000 to 3.000 s", "Words 1.", "81 rows of 128 bands", "row 1"):
        assert words in text
    draw_to_file(shown, tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    paths = extract_example(shown, tmp_path / "out")
    assert [path.name for path in paths] == ["1A_é1.json", "1A_é1-000.png", "1A_é1-001.png"]
    assert json.loads(paths[0].read_text("utf-8")) == values
    from matplotlib.image import imread

    for path, rgb in zip(paths[1:], shown.example.faces.rgb, strict=True):
        np.testing.assert_array_equal((imread(path)[..., :3] * 255).round(), rgb)


def test_an_id_that_is_not_there_is_refused_with_those_that_are_near(dataset):
    with pytest.raises(UsageError, match="1A_é1") as error:
        find_example(dataset, "1A_e1")
    assert "1A_é1" in error.value.hint
    with pytest.raises(UsageError, match="dropped.jsonl"):
        find_example(dataset, "?")


@pytest.fixture
def others(make_dataset, tmp_path) -> Path:
    return make_dataset(tmp_path / "others", prefix="X", corpus="others")


def test_merged_datasets_hold_all_and_are_sound(dataset, others, tmp_path):
    out = tmp_path / "merged"
    index = merge([dataset, others], out)
    assert index == read_index(out)
    assert index.corpus == "tests+others"
    assert [(part.corpus, part.shards) for part in index.merged] == [("tests", 2), ("others", 2)]
    assert [entry.name for entry in index.shards] == [f"merged-{i:05d}.h5" for i in range(4)]
    assert verify(out) == []
    ids = [*read_catalogue(dataset).ids.to_pylist(), *read_catalogue(others).ids.to_pylist()]
    assert read_catalogue(out).ids.to_pylist() == ids
    assert dataset_info(out)["dropped"] == {"no_label": 2, "no_frame_in_span": 4}
    assert [e["id"] for e in read_dropped(out)[:3]] == ["x", "x", "1A_9"]
    before = [entry.sha256 for path in (dataset, others) for entry in read_index(path).shards]
    assert [entry.sha256 for entry in index.shards] == before
    assert (out / "merged-00000.h5").samefile(dataset / "tests-00000.h5")


def test_a_merged_dataset_can_be_merged_and_in_any_order(dataset, others, make_dataset, tmp_path):
    third = make_dataset(tmp_path / "third", prefix="0", corpus="third")
    merge([others, dataset], tmp_path / "two")
    index = merge([tmp_path / "two", third], tmp_path / "three")
    assert index.corpus == "others+tests+third"
    assert len(index.merged) == 3
    assert verify(tmp_path / "three") == []


def test_files_are_copied_where_links_are_not_possible(dataset, others, tmp_path, monkeypatch):
    def refuse(*_: object) -> None:
        raise OSError("no links here")

    monkeypatch.setattr(os, "link", refuse)
    merge([dataset, others], tmp_path / "merged")
    assert verify(tmp_path / "merged") == []
    assert not (tmp_path / "merged/merged-00000.h5").samefile(dataset / "tests-00000.h5")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rating_names": ("arousal",)}, "rating names valence, .* has arousal"),
        ({"label_classes": ("ang", "sad")}, "classes ang, neu, .* has ang, sad"),
        ({"format_version": "1.9"}, "format version 1.2, .* has 1.9"),
    ],
)
def test_what_differs_between_datasets_is_named(changes, said, dataset, others, tmp_path):
    import dataclasses

    write_index(others, dataclasses.replace(read_index(others), **changes))
    with pytest.raises(UsageError, match=said):
        merge([dataset, others], tmp_path / "merged")
    assert not (tmp_path / "merged").exists()


def test_merging_is_refused_where_it_makes_no_sense(dataset, others, make_dataset, tmp_path):
    out = tmp_path / "merged"
    with pytest.raises(UsageError, match="only one"):
        merge([dataset], out)
    with pytest.raises(UsageError, match="share 5 utterance.*1A_é0, 1A_é1"):
        merge([dataset, dataset], out)
    with pytest.raises(UsageError, match="is not empty"):
        merge([dataset, others], others)
    slower = make_dataset(tmp_path / "slow", prefix="S", frames=FrameSettings(0.25))
    with pytest.raises(UsageError, match=r"frames.interval_s 0.5, .* has 0.25"):
        merge([dataset, slower], out)
    assert not out.exists()
    shard = others / "others-00001.h5"
    content = bytearray(shard.read_bytes())
    content[len(content) // 2] ^= 1
    shard.write_bytes(content)
    with pytest.raises(ShardError, match="other bytes than its index says"):
        merge([dataset, others], out)
    assert not (out / INDEX_NAME).exists()


def test_recordings_are_not_shared_either(dataset, make_dataset, tmp_path, break_shard):
    other = make_dataset(tmp_path / "other", shards=1)

    def rename(file):
        for number in range(3):
            file["id"][number] = f"Z{number}".encode()

    break_shard(other, rename)
    with pytest.raises(UsageError, match="share 1 recording.*1A"):
        merge([dataset, other], tmp_path / "merged")


def test_prune_takes_what_does_not_belong_and_nothing_else(dataset):
    before = {path.name: sha256_of(path) for path in dataset.iterdir()}
    (dataset / "old-00009.h5").write_bytes(b"12345")
    (dataset / ".tests-00000.h5.999999999.tmp").touch()
    (dataset / ".odd.tmp").touch()
    ours = dataset / f".tests-00000.h5.{os.getpid()}.tmp"
    ours.touch()
    (dataset / "notes.txt").touch()
    told = prune(dataset, dry_run=True)
    assert [entry.name for entry in told] == [
        ".odd.tmp",
        ".tests-00000.h5.999999999.tmp",
        "old-00009.h5",
    ]
    assert told[-1].size_bytes == 5
    assert (dataset / "old-00009.h5").exists()
    assert prune(dataset) == told
    assert prune(dataset) == []
    # A living process still writes its own; other files are none of ours.
    assert ours.exists()
    assert before.items() <= {path.name: sha256_of(path) for path in dataset.iterdir()}.items()
    assert len(list(dataset.iterdir())) == len(before) + 2


def test_prune_touches_nothing_without_an_index(dataset, edit_index):
    edit_index(dataset, lambda value: value["shards"].pop(), mend=False)
    with pytest.raises(ShardError, match="was edited"):
        prune(dataset)
    (dataset / INDEX_NAME).unlink()
    with pytest.raises(UsageError, match="holds no index.json"):
        prune(dataset)
    assert len(list(dataset.glob("*.h5"))) == 2


def test_webdataset_files_hold_the_examples(dataset, tmp_path):
    paths = export(dataset, "webdataset", tmp_path / "out")
    names = ["data/tests-00000.tar", "data/tests-00001.tar", CARD_NAME]
    names += [CROISSANT_NAME, DESCRIPTION_NAME]
    assert [path.relative_to(tmp_path / "out").as_posix() for path in paths] == names
    with tarfile.open(paths[0]) as tar:
        assert {member.mtime for member in tar} == {0}
        files = {member.name: tar.extractfile(member).read() for member in tar}
    assert list(files)[:4] == [
        f"1A_é0.{part}" for part in ("json", "faces.npy", "mel.npy", "tokens.npy")
    ]
    with ShardReader(dataset / "tests-00000.h5") as reader:
        for row in range(len(reader)):
            example = reader.read(row)
            stem = example.utterance.id
            for part, values in (
                ("faces", example.faces.rgb),
                ("mel", example.mel.log_power),
                ("tokens", example.tokens),
            ):
                found = np.load(io.BytesIO(files[f"{stem}.{part}.npy"]), allow_pickle=False)
                assert found.dtype == values.dtype
                np.testing.assert_array_equal(found, values)
            told = json.loads(files[f"{stem}.json"])
            assert told["text"] == example.utterance.transcript
            assert (told["start_s"], told["end_s"]) == (
                example.utterance.start_s,
                example.utterance.end_s,
            )
            assert list(told["label"].values()) == example.label.tolist()
    description = json.loads(paths[-1].read_text("utf-8"))
    assert description["files"] == {"data/tests-00000.tar": 3, "data/tests-00001.tar": 2}
    assert description["label_classes"] == ["ang", "neu"]


def test_parquet_files_hold_the_examples(dataset, tmp_path):
    import pyarrow.parquet as pq

    paths = export(dataset, "parquet", tmp_path / "out")
    table = pq.read_table(paths[0])
    assert json.loads(table.schema.metadata[b"fv2es"])["label_classes"] == ["ang", "neu"]
    rows = table.to_pylist()
    assert len(rows) == 3
    with ShardReader(dataset / "tests-00000.h5") as reader:
        for row, found in enumerate(rows):
            example = reader.read(row)
            faces = np.frombuffer(found["faces"], np.uint8).reshape(found["faces_shape"])
            mel = np.frombuffer(found["mel"], np.float16).reshape(found["mel_shape"])
            np.testing.assert_array_equal(faces, example.faces.rgb)
            np.testing.assert_array_equal(mel, example.mel.log_power)
            np.testing.assert_array_equal(found["tokens"], example.tokens)
            np.testing.assert_array_equal(np.float32(found["faces_box"]), example.faces.box)
            assert found["text"] == example.utterance.transcript
            assert found["label"] == example.label.tolist()
    assert rows[0]["ratings"] == [2.5]
    assert rows[1]["ratings"] == [None]


@pytest.mark.parametrize("kind", [*FORMATS.builtin])
def test_equal_shards_give_equal_exports(kind, dataset, tmp_path):
    done: list[int] = []
    first = export(dataset, kind, tmp_path / "one", done.append)
    second = export(dataset, kind, tmp_path / "two")
    assert sum(done) == 5
    assert [sha256_of(path) for path in first] == [sha256_of(path) for path in second]


def test_keys_have_no_dot_and_are_unique(dataset, break_shard, tmp_path):
    def dots(file):
        file["id"][0], file["id"][1] = b"1.A/", b"1_A/"

    break_shard(dataset, dots)
    export(dataset, "webdataset", tmp_path / "out")
    with tarfile.open(tmp_path / "out/data/tests-00000.tar") as tar:
        keys = {name.split(".")[0] for name in tar.getnames()}
    assert keys == {"1_A_", "1_A_-1", "1A_é2"}


def test_exporting_is_refused_where_it_makes_no_sense(dataset, tmp_path):
    with pytest.raises(UsageError, match="unknown format 'csv'"):
        export(dataset, "csv", tmp_path / "out")
    with pytest.raises(UsageError, match="is not empty"):
        export(dataset, "webdataset", dataset)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot write"):
        export(dataset, "webdataset", tmp_path / "file" / "out")


def test_the_commands_as_typed(dataset, others, tmp_path):
    told = json.loads(fv2es("shards", "info", dataset, "--json").stdout)
    assert told["utterances"] == 5
    sound = fv2es("shards", "verify", dataset)
    assert (sound.returncode, sound.stdout) == (0, f"{dataset}: OK\n")
    shown = fv2es(
        "shards", "show", dataset, "1A_é2", "--image", tmp_path / "a.png", "--extract", tmp_path
    )
    assert "Words 2." in shown.stdout, shown.stderr
    assert (tmp_path / "a.png").is_file() and (tmp_path / "1A_é2-002.png").is_file()
    merged = fv2es("shards", "merge", dataset, others, "--out", tmp_path / "merged", "--json")
    assert json.loads(merged.stdout)["examples"] == 10
    shard = tmp_path / "merged/merged-00001.h5"
    content = shard.read_bytes()
    # A link to the shard of the part: another file takes its place.
    shard.unlink()
    shard.write_bytes(content[:-9])
    broken = fv2es("shards", "verify", tmp_path / "merged", "--json")
    findings = json.loads(broken.stdout)["findings"]
    assert broken.returncode == 1
    assert {finding["file"] for finding in findings} == {"merged-00001.h5"}
    assert {"size", "sha256"} <= {finding["code"] for finding in findings}
    lines = fv2es("shards", "verify", tmp_path / "merged")
    assert (lines.returncode, len(lines.stdout.splitlines())) == (1, len(findings))
    (others / "odd-00000.h5").touch()
    assert "would remove 1 file(s)" in fv2es("shards", "prune", others, "--dry-run").stdout
    assert "removed 1 file(s)" in fv2es("shards", "prune", others).stdout
    exported = fv2es(
        "shards", "export", dataset, "--format", "webdataset", "--out", tmp_path / "tars"
    )
    assert exported.stdout == f"exported 5 files to {tmp_path / 'tars'}\n"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("info", "nowhere"), "is not a directory"),
        (("verify", "nowhere"), "is not a directory"),
        (("verify", ".", "--sample", "5"), "needs the raw corpus"),
        (("show", "nowhere", "x"), "is not a directory"),
        (("merge", "nowhere", "--out", "x"), "at least two"),
        (("prune", "nowhere"), "is not a directory"),
        (("export", "nowhere", "--format", "csv", "--out", "x"), "is not a directory"),
    ],
)
def test_errors_are_one_sentence_and_a_hint(arguments, said):
    result = fv2es("shards", *arguments)
    assert (result.returncode, result.stdout) == (2, "")
    error, hint = result.stderr.splitlines()
    assert error.startswith("error: ") and hint.startswith("hint: ")
    assert said in result.stderr


def test_the_report_of_a_dataset_shows_a_split(prepared, tmp_path):
    catalogue = read_catalogue(prepared)
    split = tmp_path / "split<1>.json"
    write_split(next(build_splits(catalogue, Rule("random", allow_empty_class=True))), split)
    page = tmp_path / "page.html"
    said = CliRunner().invoke(
        shards_app, ["report", str(prepared), "--split", str(split), "--out", str(page), "--json"]
    )
    assert said.exit_code == 0, said.output
    assert json.loads(said.stdout)["out"] == str(page)
    text = page.read_text()
    assert "<h2>Split split&lt;1&gt;.json</h2>" in text and "valid with train" in text
    # As many as were left out, by reason, in words.
    reasons = Counter(entry["reason"].replace("_", " ") for entry in read_dropped(prepared))
    for reason, number in reasons.items():
        assert f"<td>{reason}</td><td>{-number}</td>" in text
    settings = text[text.index("How it was prepared") :]
    hop = read_index(prepared).settings.mel.hop
    assert f"<td>mel.hop</td><td>{hop}</td><td>audio samples between two rows.</td>" in settings
    assert "<h2>Split" not in (prepared / "report.html").read_text()
