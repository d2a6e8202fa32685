"""Examples that lack a modality: stored with the reason, read back, checked and told of."""

from __future__ import annotations

import dataclasses
import json
import tarfile
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from fv2es_prep.config import COMPACT, LOSSLESS, PrepSettings, StorageSettings
from fv2es_prep.errors import DropReason, SettingsError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.dropped import write_dropped
from fv2es_prep.shards.index import make_index, read_index, write_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.export import export
from fv2es_prep.shards.tools.info import dataset_info, info_text
from fv2es_prep.shards.tools.merge import merge
from fv2es_prep.shards.tools.report import write_report
from fv2es_prep.shards.tools.show import draw_to_file, example_text, extract_example, find_example
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.splits.compare import split_stats
from fv2es_prep.splits.manifest import Split
from fv2es_prep.types import Example, Provenance, ShardReceipt
from tests.prep.conftest import CLASSES, RATINGS, SETTINGS, SHA, sound_example

STAGES = {"v": "faces", "a": "mel", "t": "tokens"}
MISSING: tuple[dict[str, str], ...] = (
    {},
    {"v": "black_picture"},
    {"t": "no_transcript", "a": "silent_audio"},
    {"a": "no_audio"},
    {"v": "no_video", "t": "no_transcript"},
)


def without(example: Example, missing: dict[str, str]) -> Example:
    gone = {STAGES[letter] for letter in missing}
    parts = {name: value for name, value in example.items() if name not in gone}
    return Example(example.utterance, example.label, missing, **parts)


def examples_of(settings: PrepSettings, prefix: str = "") -> list[Example]:
    made = [sound_example(f"{prefix}1A", i, settings) for i in range(len(MISSING))]
    return [without(one, missing) for one, missing in zip(made, MISSING, strict=True)]


def write(directory: Path, storage: StorageSettings = LOSSLESS, prefix: str = "") -> Path:
    directory.mkdir(parents=True)
    settings = dataclasses.replace(SETTINGS, require="", storage=storage)
    head: tuple[Any, ...] = "tests", CLASSES, RATINGS, settings
    path = directory / "tests-00000.h5"
    with ShardWriter(path, ShardHeader(*head, {f"{prefix}1A": (SHA[0], "")}, "0" * 64)) as writer:
        for example in examples_of(settings, prefix):
            one = bytes([len(writer)]) * 16
            writer.append(example, dict.fromkeys(STAGES.values(), one))
        digest, size = writer.close()
    receipt = ShardReceipt(path.name, digest, size, len(MISSING), "0" * 64)
    write_dropped(directory, [])
    write_index(
        directory, make_index(*head, [receipt], provenance=Provenance("demo", True, "CC0", "2"))
    )
    return directory


@pytest.fixture(params=[LOSSLESS, COMPACT], ids=["raw", "compact"])
def partial(tmp_path, request) -> Path:
    return write(tmp_path / "shards", request.param)


def test_an_example_comes_back_without_the_stages_that_it_lacks(partial):
    settings = read_index(partial).settings
    assert settings.require == ""
    with ShardReader(partial / "tests-00000.h5") as reader:
        for row, wanted in enumerate(examples_of(settings)):
            found = reader.read(row)
            assert found.missing == wanted.missing == MISSING[row]
            assert found.keys() == wanted.keys()
            if "mel" in wanted:
                np.testing.assert_array_equal(found.mel.log_power, wanted.mel.log_power)
            if "faces" in wanted:
                np.testing.assert_array_equal(found.faces.rgb, wanted.faces.rgb)
            assert reader.fingerprints(row) == dict.fromkeys(STAGES.values(), bytes([row]) * 16)
    assert "missing v: black_picture" in repr(examples_of(settings)[1])
    assert verify(partial) == []


def test_the_catalogue_says_what_is_missing(partial):
    catalogue = read_catalogue(partial)
    codes = {letter: names.at(range(5)) for letter, names in catalogue.missing.items()}
    for letter, found in codes.items():
        assert found == [missing.get(letter, "") for missing in MISSING]
    assert catalogue.missing_counts() == {
        "text": {"no_transcript": 2},
        "audio": {"no_audio": 1, "silent_audio": 1},
        "video": {"black_picture": 1, "no_video": 1},
    }
    assert catalogue.count("faces").tolist() == [1, 0, 3, 4, 0]
    subsets = split_stats(
        catalogue, Split("list", {}, ("1A_é0", "1A_é1"), ("1A_é2",), ("1A_é4",), {})
    )
    assert [subsets["subsets"][s]["no video"] for s in ("train", "valid", "test")] == [1, 0, 1]


def test_it_is_told_shown_reported_and_exported(partial, tmp_path):
    info = dataset_info(partial)
    assert info["missing"]["audio"] == {"no_audio": 1, "silent_audio": 1}
    assert "no video    black_picture  1" in info_text(info)
    source = "demo 2; generated: shows no real person; CC0"
    assert f"source      {source}" in info_text(info)
    assert info["provenance"][0]["generated"] is True
    write_report(partial, [])
    page = (partial / "report.html").read_text()
    assert "Missing modalities" in page
    assert source in page
    assert DropReason.BLACK_PICTURE.meaning in page
    shown = find_example(partial, "1A_é1")
    assert "missing    video (black_picture)" in example_text(shown)
    assert len(extract_example(shown, tmp_path / "files")) == 1
    draw_to_file(shown, tmp_path / "one.png")
    export(partial, "webdataset", tmp_path / "tar")
    with tarfile.open(tmp_path / "tar/data/tests-00000.tar") as tar:
        names = [name for name in tar.getnames() if name.startswith("1A_é4")]
        assert names == ["1A_é4.json", "1A_é4.mel.npy"]
        value = json.loads(tar.extractfile("1A_é4.json").read())  # type: ignore[union-attr]
    assert value["missing"] == {"video": "no_video", "text": "no_transcript"}
    export(partial, "parquet", tmp_path / "parquet")
    table = pq.read_table(tmp_path / "parquet/data/tests-00000.parquet")
    assert table["missing_video"].to_pylist() == [None, "black_picture", None, None, "no_video"]
    gone = [False, True, False, False, True]
    assert [row is None for row in table["faces"].to_pylist()] == gone
    export(partial, "datasets", tmp_path / "datasets")
    table = pq.read_table(tmp_path / "datasets/data/tests-00000.parquet")
    assert [row is None for row in table["faces"].to_pylist()] == gone


def test_merge_keeps_it_and_the_tokenizer(tmp_path):
    write(tmp_path / "a")
    write(tmp_path / "b", prefix="X")
    (tmp_path / "b" / "tokenizer").mkdir()
    (tmp_path / "b" / "tokenizer" / "tokenizer.json").write_text("{}")
    merge([tmp_path / "a", tmp_path / "b"], tmp_path / "both")
    assert (tmp_path / "both" / "tokenizer" / "tokenizer.json").read_text() == "{}"
    counts = read_index(tmp_path / "both").missing
    assert counts["video"] == {"black_picture": 2, "no_video": 2}
    assert verify(tmp_path / "both") == []
    index = read_index(tmp_path / "both")
    write_index(tmp_path / "both", dataclasses.replace(index, missing={"video": {"no_video": 1}}))
    (finding,) = verify(tmp_path / "both")
    assert (finding.code, finding.file) == ("I20", "index.json")


def test_a_dataset_of_all_modalities_has_no_column_of_it(dataset):
    with h5py.File(dataset / "tests-00000.h5") as file:
        assert "missing" not in file
    assert read_catalogue(dataset).missing_counts() == {}
    assert dataset_info(dataset)["missing"] == {}


@pytest.mark.parametrize(
    ("missing", "gone", "require"),
    [
        ({}, ("faces",), ""),
        ({"v": "no_face"}, (), ""),
        ({"v": "no_face"}, ("faces",), "tav"),
        ({"v": "no_face"}, ("faces",), "v"),
    ],
    ids=["no reason", "not absent", "nothing may be missing", "required"],
)
def test_the_writer_refuses_what_contradicts_itself(tmp_path, missing, gone, require):
    settings = dataclasses.replace(SETTINGS, require=require)
    header = ShardHeader("tests", CLASSES, RATINGS, settings, {"1A": SHA}, "0" * 64)
    one = sound_example("1A", 1, settings)
    parts = {name: value for name, value in one.items() if name not in gone}
    with (
        ShardWriter(tmp_path / "a.h5", header) as writer,
        pytest.raises(ValueError, match="contradicts|lacks"),
    ):
        writer.append(Example(one.utterance, one.label, missing, **parts))


@pytest.mark.parametrize("require", ["x", "at", "vv", "tavt"])
def test_letters_are_checked(require):
    with pytest.raises(SettingsError, match="expected letters of tav"):
        dataclasses.replace(SETTINGS, require=require)
