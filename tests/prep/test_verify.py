"""`verify` finds damage of every kind, and nothing where there is none."""

from __future__ import annotations

import dataclasses
import json
import os
import random
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fv2es_prep.errors import Fv2esError, ShardError, UsageError, WorkError
from fv2es_prep.shards.catalogue import write_catalogue
from fv2es_prep.shards.digests import digests_of
from fv2es_prep.shards.dropped import DROPPED_NAME
from fv2es_prep.shards.index import INDEX_NAME, read_index, write_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.shards.verify.finding import CODES
from fv2es_prep.shards.writer import example_row
from fv2es_prep.utils.files import sha256_of
from fv2es_prep.utils.processes import in_order
from tests.flips import flipped_bit

DATA = Path(__file__).parents[1] / "data"


def codes(directory: Path, **options: bool) -> dict[str, str]:
    """Code -> file of what is found; every finding is one line with a known code."""
    findings = verify(directory, **options)
    for finding in findings:
        assert finding.code in CODES or finding.code[1:].isdecimal()
        assert finding.sentence and "\n" not in str(finding)
    return {finding.code: finding.file for finding in findings}


def test_200_random_byte_changes_are_found(make_dataset, tmp_path):
    """All by the file's hash; without it 98 of 100 (what is left lies in gaps of HDF5)."""
    dataset = make_dataset(tmp_path / "dataset", shards=1)
    path = dataset / read_index(dataset).shards[0].name
    whole, rng = path.read_bytes(), random.Random(3)
    without_hash = 0
    for _ in range(200):
        changed = bytearray(whole)
        changed[rng.randrange(len(whole))] ^= rng.randrange(1, 256)
        path.write_bytes(changed)
        found = codes(dataset)
        assert "sha256" in found
        without_hash += len(found) > 1
    path.write_bytes(whole)
    assert codes(dataset) == {}
    assert without_hash >= 190


@pytest.mark.parametrize("count", [20, pytest.param(200, marks=pytest.mark.slow)])
def test_every_flipped_bit_of_every_claimed_file_is_found(count, make_dataset, tmp_path):
    dataset = make_dataset(tmp_path / "dataset", turns=1)
    (dataset / "tokenizer").mkdir()
    (dataset / "tokenizer/tokenizer.json").write_text(json.dumps({"words": ["one", "two"]}))
    index = write_index(dataset, write_catalogue(dataset, read_index(dataset)))
    assert len(index.files) == 3 and codes(dataset) == {}
    paths = [path for path in sorted(dataset.rglob("*")) if path.is_file()]
    assert len(paths) == 6
    chance = random.Random(7)
    for _ in range(count):
        path = chance.choice(paths)
        with flipped_bit(path, chance):
            assert codes(dataset), path.name
    assert codes(dataset) == {}


@settings(
    deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(data=st.data())
def test_any_damage_ends_in_findings(dataset_once, tmp_path_factory, data):
    """Several bytes of any file changed, cut or added: findings, never an exception."""
    directory = Path(shutil.copytree(dataset_once, tmp_path_factory.mktemp("any") / "dataset"))
    path = directory / data.draw(st.sampled_from(sorted(p.name for p in directory.iterdir())))
    whole = path.read_bytes()
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.sampled_from([len(content), len(content) // 2, 100, 0]))]
    path.write_bytes(bytes(content) + data.draw(st.sampled_from([b"", b"\0", b"more"])))
    found = codes(directory)
    if path.read_bytes() != whole and path.suffix == ".h5":
        assert "sha256" in found
    shutil.rmtree(directory)


@pytest.mark.parametrize("kept", [0, 1, 100, 5000, -1])
def test_truncation_is_found(kept, dataset):
    path = dataset / "tests-00001.h5"
    path.write_bytes(path.read_bytes()[:kept])
    assert codes(dataset).keys() >= {"size", "sha256"}
    assert "unreadable" in codes(dataset, check_hashes=False)


@pytest.mark.slow
def test_several_processes_find_the_same_in_the_same_order(dataset):
    names = [entry.name for entry in read_index(dataset).shards]
    for name in names[:2]:
        with (dataset / name).open("r+b") as file:
            file.seek(-40, 2)
            file.write(b"x")
    done = []
    wanted = verify(dataset)
    assert len({finding.file for finding in wanted}) >= 2
    assert verify(dataset, done.append, jobs=2) == wanted
    assert sum(done) == len(names)
    with pytest.raises(WorkError, match="killed"):
        list(in_order(os._exit, [(1,)] * 4, 2))


def test_a_missing_shard_is_found(dataset):
    (dataset / "tests-00001.h5").unlink()
    assert codes(dataset) == {"missing": "tests-00001.h5"}
    (dataset / "tests-00001.h5").mkdir()
    assert "unreadable" in codes(dataset)


def test_a_foreign_shard_is_found(dataset):
    shutil.copy(dataset / "tests-00001.h5", dataset / "others-00000.h5")
    assert codes(dataset) == {"foreign": "others-00000.h5"}


def test_another_file_in_place_of_a_shard_is_found(dataset):
    shutil.copy(dataset / "tests-00001.h5", dataset / "tests-00000.h5")
    assert codes(dataset).keys() >= {"sha256", "I5", "I6", "I20"}
    (dataset / "tests-00000.h5").write_text("no HDF5")
    assert "unreadable" in codes(dataset)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.update(corpus="others"),
        lambda value: value["shards"].pop(),
        lambda value: value["shards"][0].update(sha256="0" * 64),
        lambda value: value["settings"]["mel"].update(hop=201),
        lambda value: value.update(later="a field that was not there"),
        lambda value: value.update(examples=7),
        lambda value: value.update(digest="0" * 64),
    ],
)
def test_an_edited_index_is_found(edit, dataset, edit_index):
    edit_index(dataset, edit, mend=False)
    assert codes(dataset) == {"index": INDEX_NAME}
    with pytest.raises(ShardError, match="was edited"):
        read_index(dataset)


@pytest.mark.parametrize(
    "edit",
    [
        lambda value: value.pop("digest"),
        lambda value: value.update(shards=5),
        lambda value: value.update(settings=[]),
        lambda value: value["shards"][0].update(name="../elsewhere.h5"),
        lambda value: value["shards"][0].update(name=5),
        lambda value: value["shards"][0].pop("sha256"),
        lambda value: value.update(merged=[{"corpus": "a", "shards": 1}]),
        lambda value: value.update(format_version=1.0),
        lambda value: value.update(format_version="2.0"),
        lambda value: value.update(requires=["sparse-mel"]),
    ],
)
def test_a_damaged_or_future_index_is_found(edit, dataset, edit_index):
    edit_index(dataset, edit, mend=False)
    assert codes(dataset) == {"index": INDEX_NAME}
    with pytest.raises(ShardError, match=INDEX_NAME):
        read_index(dataset)


def test_a_later_minor_version_of_the_index_may_say_more(dataset, edit_index):
    def more(value):
        value.update(later=[1, 2])
        value["shards"][0]["later"] = 5

    edit_index(dataset, more)
    assert codes(dataset) == {}


def test_an_index_that_is_missing_is_found_and_the_shards_are_checked(dataset, break_shard):
    break_shard(dataset, lambda file: file["label"].__setitem__((0, 0), 9))
    (dataset / INDEX_NAME).unlink()
    assert codes(dataset) == {"index": INDEX_NAME, "I9": "tests-00000.h5"}
    with pytest.raises(UsageError, match="is not a directory"):
        verify(dataset / "nowhere")


def test_a_duplicate_id_is_found(dataset, break_shard):
    def twice(file: h5py.File) -> None:
        file["id"][2] = file["id"][1]

    break_shard(dataset, twice)
    assert codes(dataset)["I5"] == "tests-00000.h5"


@pytest.mark.parametrize("content", [None, b"\xff", b"[]\n", b"{}\n", b'{"reason": 5}\n'])
def test_damage_of_the_dropped_list_is_found(content, dataset):
    path = dataset / DROPPED_NAME
    path.unlink()
    if content is not None:
        path.write_bytes(content)
    assert codes(dataset, check_hashes=False) == {"dropped": DROPPED_NAME}
    digest = "missing" if content is None else "sha256"
    assert codes(dataset) == {"dropped": DROPPED_NAME, digest: DROPPED_NAME}


def test_a_shard_from_the_future_is_named_as_such(dataset, break_shard):
    def later(file: h5py.File) -> None:
        file.attrs["format_version"] = np.array(b"2.0", h5py.string_dtype("utf-8", 3))

    break_shard(dataset, later)
    assert codes(dataset) == {"version": "tests-00000.h5"}


@pytest.mark.parametrize("name", ["settings", "label_classes"])
@pytest.mark.parametrize("text", ["{", "7", "null", '{"mel": 5}'])
def test_attributes_that_are_not_what_they_should_be_are_shard_errors(
    name, text, dataset, break_shard
):
    def other(file: h5py.File) -> None:
        data = text.encode()
        file.attrs.create(name, np.array(data, h5py.string_dtype("utf-8", len(data))))

    break_shard(dataset, other)
    assert codes(dataset) == {"I1": "tests-00000.h5"}
    reader = ShardReader(dataset / "tests-00000.h5")
    with pytest.raises(ShardError, match="tests-00000.h5 is damaged"):
        reader.read(0)


def test_absurd_sizes_take_no_memory(dataset, break_shard):
    """A column that claims 8 TB lies past the end of the file, and is not read."""

    def huge(file: h5py.File) -> None:
        del file["mel/values"]
        file.create_dataset("mel/values", (1 << 35, 128), "<f2", track_times=False)

    break_shard(dataset, huge, digests=False)
    assert codes(dataset) == {"unreadable": "tests-00000.h5"}


def test_a_prepared_corpus_is_sound(prepared):
    assert verify(prepared) == []


@pytest.mark.parametrize("version", ["1.0", "1.1", "1.2"])
def test_a_shard_of_each_version_is_read_for_ever(version):
    """The values are those that were recorded when it was made; from 1.1 on it is compact."""
    fixture = DATA / f"shard-{version}"
    recorded = json.loads((fixture / "recorded.json").read_text("utf-8"))
    assert verify(fixture) == []
    index = read_index(fixture)
    assert index.format_version == version
    with ShardReader(fixture / index.shards[0].name) as reader:
        assert len(reader) == len(recorded["examples"])
        assert [dataclasses.asdict(drop) for drop in reader.dropped()] == recorded["dropped"]
        for row, expected in enumerate(recorded["examples"]):
            example = reader.read(row)
            assert example.faces.rgb.shape[1:] == (48, 48, 3)
            assert example.mel.log_power.dtype == np.float16
            for path, value in example_row(example).items():
                if isinstance(value, np.ndarray):
                    found = {"sum": float(value.astype("f8").sum()), "shape": list(value.shape)}
                    assert found == expected[path], path
                else:
                    assert json.dumps(value) == json.dumps(expected[path]), path  # NaN is NaN
            digests = digests_of(example_row(example), index.settings)
            assert {part: value.hex() for part, value in digests.items()} == expected["digests"]


def test_the_shard_of_the_last_version_is_made_again_with_the_same_bytes(tmp_path):
    import runpy

    fixture = DATA / "shard-1.2"
    make = runpy.run_path(str(DATA / "make_shard.py"))["make"]
    make(tmp_path / "again")
    names = sorted(path.name for path in fixture.iterdir())
    assert names == sorted(path.name for path in (tmp_path / "again").iterdir())
    for name in names:
        assert sha256_of(fixture / name) == sha256_of(tmp_path / "again" / name), name
    assert sum((fixture / name).stat().st_size for name in names) < 60_000


def test_against_a_sound_corpus_nothing_is_found(prepared, corpus):
    from pipelines.rederive import rederive

    assert rederive(prepared, corpus, 5) == []
    with pytest.raises(UsageError, match="the sample is 0"):
        rederive(prepared, corpus, 0)


def test_against_a_changed_source_the_utterance_is_found(prepared, corpus, tmp_path):
    from pipelines.rederive import rederive

    copy = Path(shutil.copytree(corpus, tmp_path / "copy"))
    wav = copy / "Session1/dialog/wav/Ses01F_impro01.wav"
    content = bytearray(wav.read_bytes())
    for place in range(1000, len(content), 2000):
        content[place] ^= 0x40
    wav.write_bytes(content)
    findings = rederive(prepared, copy, 18)
    assert {finding.code for finding in findings} == {"source"}
    assert any("SHA-256" in finding.sentence for finding in findings)
    assert any("differs in mel/values" in finding.sentence for finding in findings)
    assert {finding.file for finding in findings} == {"iemocap-00000.h5"}
    wav.unlink()
    assert any("no utterance" in f.sentence for f in rederive(prepared, copy, 18))


def test_against_finds_a_stored_value_that_the_corpus_does_not_give(shards, corpus, break_shard):
    from pipelines.rederive import rederive

    def other(file: h5py.File) -> None:
        file["tokens/values"][1] += 1
        file["label"][0] = np.roll(file["label"][0], 1)

    break_shard(shards, other)
    assert verify(shards) == []
    (finding,) = rederive(shards, corpus, 18)
    assert finding.sentence.endswith("differs in label, tokens/values")


def test_against_knows_labels_that_were_merged(corpus, text_model, tmp_path, prepare, options_for):
    from pipelines.rederive import rederive

    out = tmp_path / "merged"
    prepare(options_for(corpus, out, text_model, merge={"exc": "hap"}))
    assert rederive(out, corpus, 18) == []
    (out / "run.json").unlink()
    with pytest.raises(UsageError, match="does not name the tokenizer"):
        rederive(out, corpus, 1)
    assert rederive(out, corpus, 1, tokenizer=str(text_model)) == []


def test_against_refuses_what_it_cannot_know(dataset, corpus):
    from pipelines.rederive import rederive

    index = read_index(dataset)
    merged = dataclasses.replace(index, merged=index.parts, corpus="tests+tests")
    write_index(dataset, merged)
    with pytest.raises(Fv2esError, match="was merged"):
        rederive(dataset, corpus, 1)
