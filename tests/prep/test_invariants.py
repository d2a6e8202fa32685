"""One test for each numbered invariant of docs/shard-format.md: broken alone, it is named."""

from __future__ import annotations

import json
import re
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from fv2es_prep.config import COMPACT, PrepSettings, digest_of
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.dropped import DROPPED_NAME, read_dropped, write_dropped
from fv2es_prep.shards.index import make_index, read_index, write_index
from fv2es_prep.shards.schema import columns_of
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.splits import write_split
from fv2es_prep.splits.recipes import Rule, build_splits
from fv2es_prep.stages.registry import sections_of
from fv2es_prep.types import Example, ShardReceipt
from fv2es_prep.utils.files import sha256_of
from tests.prep.conftest import CLASSES, RATINGS, SETTINGS, SHA, make_example
from tests.prep.test_missing import write as write_partial

DATA = Path(__file__).parents[1] / "data"
PAGE = Path(__file__).parents[2] / "docs/shard-format.md"


def found(dataset: Path, check_hashes: bool = True) -> set[tuple[str, str]]:
    findings = verify(dataset, check_hashes=check_hashes)
    return {(finding.code, finding.file) for finding in findings}


def only(dataset: Path, code: str, shard: int = 0, said: str = "") -> None:
    """The one thing that verify finds is this invariant, in this shard."""
    findings = verify(dataset)
    assert {(f.code, f.file) for f in findings} == {(code, f"tests-{shard:05d}.h5")}, findings
    assert said in findings[0].sentence


def set_text(file: h5py.File, name: str, text: str) -> None:
    data = text.encode()
    file.attrs.create(name, np.array(data, h5py.string_dtype("utf-8", len(data))))


def replace_column(file: h5py.File, path: str, values: object, **options: object) -> None:
    del file[path]
    file.create_dataset(path, data=values, track_times=False, **options)


def set_texts(file: h5py.File, path: str, texts: list[bytes]) -> None:
    replace_column(file, path, np.array(texts, h5py.string_dtype("utf-8", 300)))


def entry(text: bytes, **changes: object) -> bytes:
    return json.dumps({**json.loads(text), **changes}, ensure_ascii=False).encode()


def test_every_number_has_a_test():
    numbers = re.findall(r"^- \*\*I(\d+)\*\*", PAGE.read_text("utf-8"), re.MULTILINE)
    tests = {name[6:8] for name in globals() if re.match(r"test_i\d\d_", name)}
    assert tests == {f"{int(number):02d}" for number in numbers}


def test_a_sound_dataset_gives_no_finding(dataset):
    assert verify(dataset) == []


@pytest.mark.parametrize("name", ["corpus", "settings", "requires", "task_digest"])
def test_i01_a_root_attribute_is_missing(name, dataset, break_shard):
    break_shard(dataset, lambda file: file.attrs.__delitem__(name))
    only(dataset, "I1", said=name)


def test_i01_a_root_attribute_is_no_text_or_no_json(dataset, break_shard):
    break_shard(dataset, lambda file: set_text(file, "label_classes", '{"ang": 1}'))
    only(dataset, "I1", said="label_classes")
    break_shard(dataset, lambda file: file.attrs.__setitem__("label_classes", "variable length"))
    only(dataset, "I1", said="not fixed-length UTF-8")
    break_shard(dataset, lambda file: set_text(file, "label_classes", "["))
    only(dataset, "I1", said="does not contain the expected JSON")


def test_i01_the_settings_digest_is_that_of_the_settings(dataset, break_shard):
    break_shard(dataset, lambda file: set_text(file, "settings_digest", "0" * 64))
    only(dataset, "I1", said="settings_digest")


@pytest.mark.parametrize("column", columns_of(PrepSettings()), ids=lambda column: column.path)
def test_i02_a_column_is_missing_or_of_another_type(column, dataset, break_shard):
    def another_type(file: h5py.File) -> None:
        shape = file[column.path].shape
        replace_column(file, column.path, np.zeros(shape, "<u2"))

    break_shard(dataset, another_type, digests=False)
    only(dataset, "I2", said=column.path)
    break_shard(dataset, lambda file: file.__delitem__(column.path), digests=False)
    only(dataset, "I2", said=column.path)


def test_i02_a_column_has_another_shape(dataset, break_shard):
    def narrower(file: h5py.File) -> None:
        replace_column(file, "mel/values", file["mel/values"][:, :64])

    break_shard(dataset, narrower, digests=False)
    only(dataset, "I2", said="mel/values")


def test_i02_other_columns_may_be_there(dataset, break_shard):
    def more(file: h5py.File) -> None:
        file.create_dataset("later/values", data=np.arange(3.0), track_times=False)

    break_shard(dataset, more)
    assert verify(dataset) == []


@pytest.mark.parametrize("group", ["faces", "mel", "tokens"])
@pytest.mark.parametrize(("place", "change"), [(0, 1), (1, 1000), (2, -1000), (-1, -1), (-1, 1)])
def test_i03_offsets_begin_at_0_never_fall_and_end_at_the_rows(
    group, place, change, dataset, break_shard
):
    def shift(file: h5py.File) -> None:
        file[f"{group}/offsets"][place] += change

    break_shard(dataset, shift, digests=False)
    only(dataset, "I3", said=f"{group}/offsets")


def test_i03_all_columns_of_a_group_have_the_same_rows(dataset, break_shard):
    def shorter(file: h5py.File) -> None:
        replace_column(file, "faces/prob", file["faces/prob"][:-1])

    break_shard(dataset, shorter, digests=False)
    only(dataset, "I3", said="faces/prob has 5")


@pytest.mark.parametrize("path", ["speaker", "clamped", "digest/mel", "mel/offsets"])
def test_i04_all_columns_have_a_row_for_each_utterance(path, dataset, break_shard):
    def shorter(file: h5py.File) -> None:
        replace_column(file, path, file[path][:-1])

    break_shard(dataset, shorter, digests=False)
    only(dataset, "I4", said=path)


def test_i05_an_id_occurs_once_in_a_dataset(dataset, break_shard):
    def another(file: h5py.File) -> None:
        file["id"][0] = "1A_é1".encode()

    break_shard(dataset, another, shard=1)
    only(dataset, "I5", shard=1, said="tests-00000.h5")


def test_i06_a_recording_is_in_one_shard(dataset, break_shard):
    def another(file: h5py.File) -> None:
        file["recording_id"][0] = b"1A"
        file["start_s"][0] += 90
        file["end_s"][0] += 90
        file["faces/times_s"][0] += 90
        file["source"][0] = entry(file["source"][0], recording_id="1A")

    break_shard(dataset, another, shard=1)
    only(dataset, "I6", shard=1, said="1A is also in tests-00000.h5")


def test_i06_the_rows_of_a_recording_are_adjacent(dataset, break_shard):
    def another(file: h5py.File) -> None:
        file["recording_id"][1] = b"0A"
        sources = file["source"][()]
        set_texts(file, "source", [*sources, entry(sources[0], recording_id="0A")])

    break_shard(dataset, another)
    assert found(dataset) == {("I6", "tests-00000.h5"), ("I7", "tests-00000.h5")}


def test_i07_rows_are_in_order(dataset, break_shard):
    def swap(file: h5py.File) -> None:
        for path in ("start_s", "end_s"):
            file[path][:] = file[path][()] + np.array([6, 0, 0])
        file["faces/times_s"][0] += 6

    break_shard(dataset, swap)
    only(dataset, "I7", said="1A_é1 comes after 1A_é0")


def test_i07_the_order_goes_on_from_shard_to_shard(dataset, break_shard):
    def later(file: h5py.File) -> None:
        file["recording_id"][:] = b"3A"
        file["source"][0] = entry(file["source"][0], recording_id="3A")

    break_shard(dataset, later)
    only(dataset, "I7", shard=1, said="1B_é0 comes after 1A_é2")


def test_i07_shards_are_in_the_order_of_their_names(dataset, edit_index):
    edit_index(dataset, lambda value: value["shards"].reverse())
    assert ("I7", "index.json") in found(dataset)


@pytest.mark.parametrize(("start", "end"), [(0, 0), (-1, 0.5), (0, np.inf), (np.nan, 0.5)])
def test_i08_spans_are_finite(start, end, dataset, break_shard):
    def span(file: h5py.File) -> None:
        file["start_s"][0], file["end_s"][0] = start, end

    break_shard(dataset, span)
    assert ("I8", "tests-00000.h5") in found(dataset)


def test_i09_label_holds_only_0_and_1(dataset, break_shard):
    def other(file: h5py.File) -> None:
        file["label"][1, 0] = 2

    break_shard(dataset, other)
    only(dataset, "I9", said="1 utterance(s), first 1A_é1")


def test_i10_faces_are_of_their_moments(dataset, break_shard):
    def later(file: h5py.File) -> None:
        file["faces/times_s"][2] += 1e-5

    break_shard(dataset, later)
    only(dataset, "I10", said="1A_é1")


def test_i10_an_example_has_a_face_and_none_after_its_end(dataset, break_shard):
    def without(file: h5py.File) -> None:
        file["faces/offsets"][1] = 0

    break_shard(dataset, without)
    only(dataset, "I10")

    def with_all(file: h5py.File) -> None:
        file["faces/offsets"][1] = 1
        file["end_s"][0] = 0.5
        file["end_s"][2] = file["start_s"][2] + 0.9
        # The spectrum stays within what the shorter span allows.
        file["mel/offsets"][3] = 0

    break_shard(dataset, with_all)
    assert {"I3"} == {code for code, _ in found(dataset)}

    def shorter(file: h5py.File) -> None:
        rows = file["mel/offsets"][2] + 40
        file["mel/offsets"][3] = rows
        replace_column(file, "mel/values", file["mel/values"][:rows])

    break_shard(dataset, shorter)
    only(dataset, "I10", said="1A_é2")


@pytest.mark.parametrize(
    ("column", "value"), [("found", 2), ("prob", 1.5), ("prob", np.nan), ("box", np.inf)]
)
def test_i11_found_prob_and_box_are_possible(column, value, dataset, break_shard):
    def other(file: h5py.File) -> None:
        file[f"faces/{column}"][0] = value

    break_shard(dataset, other)
    only(dataset, "I11", said="1A_é0")


@pytest.mark.parametrize(("column", "value"), [("prob", 0.5), ("box", 7)])
def test_i11_where_no_face_was_found_the_centre_stands_in(column, value, dataset, break_shard):
    def other(file: h5py.File) -> None:
        file["faces/found"][0] = 0
        file["faces/prob"][0] = 0
        file[f"faces/{column}"][0] = value

    break_shard(dataset, other)
    only(dataset, "I11", said="1A_é0")


@pytest.mark.parametrize("value", [-23.5, np.nan, np.inf])
def test_i12_a_spectrum_is_finite_and_not_below_its_floor(value, dataset, break_shard):
    def other(file: h5py.File) -> None:
        file["mel/values"][60, 5] = value

    break_shard(dataset, other)
    only(dataset, "I12", said="first 1A_é1")


def test_i12_a_spectrum_has_the_rows_of_its_span(dataset, break_shard):
    def longer(file: h5py.File) -> None:
        file["mel/offsets"][1] += 2

    break_shard(dataset, longer)
    only(dataset, "I12", said="1A_é0")

    def shortest(file: h5py.File) -> None:
        file["mel/offsets"][1] = 1
        file["mel/offsets"][2] = 41 + 81 - 41

    break_shard(dataset, shortest)
    only(dataset, "I12", said="1A_é0")


@pytest.mark.parametrize("value", [-1, 100])
def test_i13_tokens_are_of_the_vocabulary(value, dataset, break_shard):
    def other(file: h5py.File) -> None:
        file["tokens/values"][0] = value

    break_shard(dataset, other)
    only(dataset, "I13", said="1A_é0")


def test_i13_tokens_are_no_more_than_the_setting_says(dataset, break_shard):
    def all_in_one(file: h5py.File) -> None:
        file["tokens/offsets"][1:3] = 0

    break_shard(dataset, all_in_one)
    only(dataset, "I13", said="1A_é2")


def test_i14_ratings_are_numbers_or_nan(dataset, break_shard):
    def other(file: h5py.File) -> None:
        file["ratings"][1] = -np.inf

    break_shard(dataset, other)
    only(dataset, "I14", said="1A_é1")


def test_i15_dropped_is_what_dropped_jsonl_says(dataset, break_shard):
    entries = read_dropped(dataset)
    write_dropped(dataset, [entries[0], entries[2], entries[1]])
    assert found(dataset, check_hashes=False) == {("I15", DROPPED_NAME)}
    write_dropped(dataset, entries[:-1])
    assert found(dataset, check_hashes=False) == {("I15", "tests-00001.h5"), ("I15", DROPPED_NAME)}
    write_dropped(dataset, entries[1:])
    assert found(dataset, check_hashes=False) == set()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"reason": "boredom"}, "boredom"),
        ({"id": "1A_é1"}, "both an example and dropped"),
        ({"sentence": 5}, "not an object"),
    ],
)
def test_i15_dropped_holds_utterances_with_known_reasons(changes, said, dataset, break_shard):
    def other(file: h5py.File) -> None:
        set_texts(file, "dropped", [entry(file["dropped"][0], **changes)])

    break_shard(dataset, other)
    findings = verify(dataset)
    assert "I15" in {finding.code for finding in findings}
    assert any(said in finding.sentence for finding in findings)


@pytest.mark.parametrize(
    "options",
    [{"chunks": True}, {"chunks": True, "compression": "gzip"}, {"maxshape": (None,)}],
)
def test_i16_columns_are_contiguous_and_have_no_filter(options, dataset, break_shard):
    def chunked(file: h5py.File) -> None:
        replace_column(file, "tokens/values", file["tokens/values"][()], **options)

    break_shard(dataset, chunked, digests=False)
    only(dataset, "I16", said="tokens/values")


def test_i16_there_are_no_variable_lengths_references_or_links(dataset, break_shard):
    def text(file: h5py.File) -> None:
        replace_column(file, "text", ["a", "b", "c"], dtype=h5py.string_dtype())

    break_shard(dataset, text, digests=False)
    only(dataset, "I16", said="text")

    def link(file: h5py.File) -> None:
        del file["text"]
        file["text"] = h5py.ExternalLink("elsewhere.h5", "/text")

    break_shard(dataset, link, digests=False)
    only(dataset, "I16", said="text is a link")

    def soft(file: h5py.File) -> None:
        del file["text"]
        file["text"] = h5py.SoftLink("/id")

    break_shard(dataset, soft, digests=False)
    only(dataset, "I16", said="text is a link")


def test_i16_nothing_precedes_the_signature(dataset, break_shard):
    path = dataset / "tests-00000.h5"
    path.write_bytes(b"#!/bin/sh\n".ljust(512, b"\0") + path.read_bytes())
    break_shard(dataset, lambda _: None)
    only(dataset, "I16", said="data before the HDF5 signature")


def test_i16_nothing_is_kept_in_another_file(dataset, break_shard, tmp_path):
    (tmp_path / "outside").write_bytes(bytes(range(12)))

    def outside(file: h5py.File) -> None:
        del file["clamped"]
        place = [(str(tmp_path / "outside"), 0, 3)]
        file.create_dataset("clamped", (3,), "|u1", external=place)

    break_shard(dataset, outside, digests=False)
    only(dataset, "I16", said="clamped")


def test_i17_there_are_no_times_of_making(dataset, break_shard):
    def timed(file: h5py.File) -> None:
        values = file["clamped"][()]
        del file["clamped"]
        file.create_dataset("clamped", data=values, track_times=True)

    break_shard(dataset, timed)
    only(dataset, "I17", said="clamped")


@pytest.mark.parametrize("path", ["/raw/a.avi", "C:\\raw\\a.avi", "\\\\host\\raw\\a.avi"])
def test_i17_there_are_no_paths(path, dataset, break_shard):
    def absolute(file: h5py.File) -> None:
        set_texts(file, "dropped", [entry(file["dropped"][0], file=path)])

    break_shard(dataset, absolute)
    assert ("I17", "tests-00000.h5") in found(dataset)


def test_i17_the_settings_name_no_path(dataset, break_shard):
    def absolute(file: h5py.File) -> None:
        settings = json.loads(file.attrs["settings"])
        settings["text"]["tokenizer"] = "/models/albert"
        set_text(file, "settings", json.dumps(settings))
        set_text(file, "settings_digest", digest_of(settings))

    break_shard(dataset, absolute)
    only(dataset, "I17", said="/models/albert")


def test_i18_equal_examples_give_equal_bytes(dataset, make_dataset, tmp_path):
    time.sleep(1.1)  # HDF5 counts times of making in seconds
    again = make_dataset(tmp_path / "elsewhere" / "again")
    for path in dataset.iterdir():
        assert sha256_of(path) == sha256_of(again / path.name)


def test_i19_nothing_in_a_shard_depends_on_a_split(make_dataset, tmp_path):
    dataset = make_dataset(tmp_path / "larger", turns=8)
    read_catalogue(dataset)  # writes catalogue.parquet
    before = {path.name: sha256_of(path) for path in dataset.iterdir()}
    for seed in range(2):
        split = next(
            build_splits(read_catalogue(dataset), Rule("random", seed, allow_empty_class=True))
        )
        write_split(split, tmp_path / f"{seed}.json")
    assert before == {path.name: sha256_of(path) for path in dataset.iterdir()}
    words = " ".join(f"{column.path} {column.meaning}" for column in columns_of(PrepSettings()))
    assert not re.search(r"\b(split|train|valid|test|fold)\b", words)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("corpus", "others"),
        ("task_digest", "other"),
        ("format_version", "1.7"),
        ("label_classes", '["ang", "sad"]'),
        ("rating_names", '["arousal"]'),
    ],
)
def test_i20_the_shards_are_those_of_the_index(name, value, dataset, break_shard):
    break_shard(dataset, lambda file: set_text(file, name, value), shard=1)
    only(dataset, "I20", shard=1, said=name)


def test_i20_all_shards_have_the_settings_of_the_index(dataset, break_shard):
    def other(file: h5py.File) -> None:
        settings = json.loads(file.attrs["settings"])
        settings["faces"]["margin_px"] = 7
        set_text(file, "settings", json.dumps(settings))
        set_text(file, "settings_digest", digest_of(settings))

    break_shard(dataset, other, shard=1)
    only(dataset, "I20", shard=1, said="settings")


def test_i20_the_index_counts_the_examples(dataset, edit_index):
    def other(value):
        value["shards"][1]["examples"] = 9

    edit_index(dataset, other)
    only(dataset, "I20", shard=1, said="2 examples, expected 9 as in index.json")
    assert len(read_index(dataset).shards) == 2


def test_i21_clamped_is_0_or_1(dataset, break_shard):
    def other(file: h5py.File) -> None:
        file["clamped"][2] = 255

    break_shard(dataset, other)
    only(dataset, "I21", said="1A_é2")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"recording_id": "7"}, "lacks the recording 1A"),
        ({"video": None}, "not an object"),
        ({"audio": "F" * 64}, "not an object"),
    ],
)
def test_i22_source_names_the_files_of_each_recording(changes, said, dataset, break_shard):
    def other(file: h5py.File) -> None:
        set_texts(file, "source", [entry(file["source"][0], **changes)])

    break_shard(dataset, other)
    only(dataset, "I22", said=said)


def test_i22_source_names_a_recording_once(dataset, break_shard):
    def twice(file: h5py.File) -> None:
        set_texts(file, "source", [*file["source"][()]] * 2)

    break_shard(dataset, twice)
    only(dataset, "I22", said="twice")


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("text", "row"),
        ("label", "row"),
        ("faces/values", "faces"),
        ("faces/box", "faces"),
        ("mel/values", "mel"),
        ("tokens/values", "tokens"),
        ("digest/mel", "mel"),
    ],
)
def test_i23_the_digests_of_each_example_are_right(path, part, dataset, break_shard):
    def flip(file: h5py.File) -> None:
        # The first row may do: it is that of the first example in every column.
        data = file[path]
        value = data[0:1]
        raw = bytearray(value.tobytes())
        raw[0] ^= 1
        data[0:1] = np.frombuffer(bytes(raw), value.dtype).reshape(value.shape)

    break_shard(dataset, flip, digests=False)
    findings = [f for f in verify(dataset) if f.code == "I23"]
    assert [f.sentence for f in findings] == [f"1A_é0 is damaged in its {part}"]


@pytest.mark.parametrize("part", ["faces", "mel", "tokens"])
def test_i24_equal_origins_have_equal_parts(part, dataset, break_shard):
    def same(file: h5py.File) -> None:
        file[f"origin/{part}"][:] = 7

    break_shard(dataset, same, shard=1)
    # Both shards' first examples are equal in all parts; the second's second is equal as well.
    assert verify(dataset) == []
    break_shard(dataset, same, shard=0)
    assert ("I24", "tests-00000.h5") in found(dataset)


def test_i25_the_files_of_a_compact_shard_add_up(make_dataset, tmp_path, break_shard):
    dataset = make_dataset(tmp_path / "compact", storage=COMPACT)
    break_shard(dataset, lambda file: file["faces/sizes"].__setitem__(0, 7), digests=False)
    only(dataset, "I25", said="faces/sizes add up to")


def test_i25_each_face_of_a_compact_shard_is_a_jpeg_file(make_dataset, tmp_path, break_shard):
    dataset = make_dataset(tmp_path / "compact", storage=COMPACT)
    break_shard(dataset, lambda file: file["faces/values"].__setitem__(slice(0, 2), 0))
    only(dataset, "I25", said="a face is damaged")
    only(dataset, "I25", said="1 utterance(s), first 1A_é0")


def test_i25_a_compact_shard_requires_the_feature_and_no_other_does(
    make_dataset, dataset, tmp_path, break_shard
):
    compact = make_dataset(tmp_path / "compact", storage=COMPACT)
    break_shard(compact, lambda file: set_text(file, "requires", "[]"))
    only(compact, "I25", said="requires is []")
    break_shard(dataset, lambda file: set_text(file, "requires", '["compact"]'))
    only(dataset, "I25", said='requires is ["compact"]')


def test_i26_stages_are_those_of_the_settings(dataset, break_shard):
    break_shard(dataset, lambda file: set_text(file, "stages", '["faces", "mel"]'))
    only(dataset, "I26", said='stages is ["faces", "mel"]')


def test_i27_landmarks_are_finite_or_absent(tmp_path, break_shard):
    dataset = tmp_path / "landmarks"
    shutil.copytree(DATA / "shard-1.2", dataset)
    assert verify(dataset) == []
    break_shard(
        dataset, lambda file: file["landmarks/points"].__setitem__((0, 0, 0), np.nan), digests=False
    )
    assert {finding.code for finding in verify(dataset)} == {"I23"}
    break_shard(
        dataset, lambda file: file["landmarks/points"].__setitem__((0, 0, 0), np.inf), digests=False
    )
    found = {finding.code: finding.sentence for finding in verify(dataset)}
    assert found.keys() == {"I23", "I27"}
    assert "a point is infinite" in found["I27"]


FEATURES = ("waveform", "mfcc", "egemaps", "egemaps-lld", "audio-tests")


@pytest.fixture(scope="session")
def features_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three utterances of two seconds with the feature stages of sound."""
    directory = tmp_path_factory.mktemp("features")
    others = sections_of(FEATURES) | {"audio-tests": {"width": 3, "rate_hz": 50.0}}
    settings = replace(SETTINGS, stages=FEATURES, others=others)
    header = ShardHeader("tests", CLASSES, RATINGS, settings, {"1A": SHA}, "0" * 64)
    path, rng = directory / "tests-00000.h5", np.random.default_rng(0)
    with ShardWriter(path, header) as writer:
        for number in range(3):
            one = make_example("1A", number)
            parts = {
                "waveform": rng.integers(-9, 9, 6000).astype(np.int16),
                "mfcc": rng.normal(size=(31, 40)).astype(np.float32),
                "egemaps": rng.normal(size=88).astype(np.float32),
                "egemaps-lld": rng.normal(size=(40, 25)).astype(np.float32),
                "audio-tests": rng.normal(size=(20, 3)).astype(np.float16),
            }
            writer.append(Example(one.utterance, one.label, **parts))
        receipt = ShardReceipt(path.name, *writer.close(), 3, header.task_digest)
    write_dropped(directory, [])
    write_index(directory, make_index("tests", CLASSES, RATINGS, settings, [receipt]))
    return directory


def broken_feature(source: Path, target: Path, break_shard: Any, edit: Any) -> set[str]:
    """What verify finds after an edit, without the digests of I23."""
    shutil.copytree(source, target)
    assert verify(target) == []
    break_shard(target, edit, digests=False)
    return {finding.code for finding in verify(target)} - {"I23"}


def test_i30_a_waveform_is_as_long_as_its_span(features_once, tmp_path, break_shard):
    def shift(file: h5py.File) -> None:
        file["waveform/offsets"][1] = file["waveform/offsets"][2]

    assert broken_feature(features_once, tmp_path / "d", break_shard, shift) == {"I30"}


def test_i31_mfcc_is_finite_and_fits_its_span(features_once, tmp_path, break_shard):
    def shift(file: h5py.File) -> None:
        file["mfcc/offsets"][1] = 0

    def spoil(file: h5py.File) -> None:
        file["mfcc/values"][0, 0] = np.nan

    assert broken_feature(features_once, tmp_path / "a", break_shard, shift) == {"I31"}
    assert broken_feature(features_once, tmp_path / "b", break_shard, spoil) == {"I31"}


def test_i32_egemaps_is_finite(features_once, tmp_path, break_shard):
    def spoil(file: h5py.File) -> None:
        file["egemaps/values"][2, 0] = np.nan

    assert broken_feature(features_once, tmp_path / "d", break_shard, spoil) == {"I32"}


def test_i33_egemaps_lld_is_finite(features_once, tmp_path, break_shard):
    def spoil(file: h5py.File) -> None:
        file["egemaps-lld/values"][0, 0] = np.inf

    assert broken_feature(features_once, tmp_path / "d", break_shard, spoil) == {"I33"}


def test_i34_an_encoder_is_finite_and_fits_its_span(features_once, tmp_path, break_shard):
    def shift(file: h5py.File) -> None:
        file["audio-tests/offsets"][1] = 0

    def spoil(file: h5py.File) -> None:
        file["audio-tests/values"][0, 0] = np.nan

    assert broken_feature(features_once, tmp_path / "a", break_shard, shift) == {"I34"}
    assert broken_feature(features_once, tmp_path / "b", break_shard, spoil) == {"I34"}


def mark_missing(file: h5py.File, modality: str, row: int, code: str) -> None:
    column = f"missing/{modality}"
    data = [value.decode() for value in file[column][()]]
    data[row] = code
    del file[column]
    kind = h5py.string_dtype("utf-8", max(map(len, data)))
    file.create_dataset(column, data=np.array([v.encode() for v in data], kind), track_times=False)


@pytest.mark.parametrize(
    ("row", "code", "said"),
    [
        (1, "tired", "neither empty nor a known code"),
        (2, "no_face", "all its modalities are missing"),
    ],
)
def test_i28_what_is_missing_has_a_reason(row, code, said, tmp_path, break_shard):
    dataset = write_partial(tmp_path / "partial")
    break_shard(dataset, lambda file: mark_missing(file, "video", row, code), digests=False)
    (found,) = [f.sentence for f in verify(dataset) if f.code == "I28"]
    assert said in found


def test_i29_an_absent_stage_has_no_rows(tmp_path, break_shard):
    dataset = write_partial(tmp_path / "partial")
    break_shard(dataset, lambda file: mark_missing(file, "audio", 1, "no_audio"), digests=False)
    (found,) = [f.sentence for f in verify(dataset) if f.code == "I29"]
    assert "a modality of mel is missing, but it has rows" in found
