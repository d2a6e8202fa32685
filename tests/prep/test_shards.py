from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fv2es_prep.config import PrepSettings, TextSettings
from fv2es_prep.errors import DropReason, OutputError, ShardError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.index import CATALOGUE_NAME, INDEX_NAME, read_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import columns_of
from fv2es_prep.shards.tools.show import draw_example
from fv2es_prep.shards.writer import ShardHeader, ShardWriter
from fv2es_prep.types import Dropped, Example, Faces, MelSpectrum, Utterance
from fv2es_prep.utils.files import sha256_of

HEADER = ShardHeader(
    "tests",
    ("ang", "neu"),
    ("valence",),
    PrepSettings(text=TextSettings("tests", "0" * 64, vocabulary_size=100)),
    {"rec": ("0" * 64, "1" * 64)},
    "digest",
)
LENGTHS = st.lists(st.tuples(*[st.integers(0, 5)] * 3), max_size=6)
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=20)


def make_example(name: str, lengths: tuple[int, int, int], text: str = "Words.") -> Example:
    faces, rows, tokens = lengths
    rng = np.random.default_rng(sum(lengths))
    utterance = Utterance(name, "rec", 0.25, 1.75, text, ("neu",), "F", "1", ratings=(2.5,))
    return Example(
        utterance=utterance,
        label=np.array([0, 1], np.uint8),
        faces=Faces(
            rgb=rng.integers(0, 256, (faces, 48, 48, 3)).astype(np.uint8),
            times_s=rng.uniform(0, 9, faces),
            found=rng.integers(0, 2, faces).astype(np.bool_),
            box=rng.uniform(0, 99, (faces, 4)).astype(np.float32),
            prob=rng.uniform(0, 1, faces).astype(np.float32),
        ),
        mel=MelSpectrum(rng.normal(-3, 2, (rows, 128)).astype(np.float16), 0.0125),
        tokens=rng.integers(0, 99, tokens).astype(np.int32),
    )


def write(path: Path, examples: list[Example]) -> tuple[str, int]:
    with ShardWriter(path, HEADER) as writer:
        for example in examples:
            writer.append(example)
        return writer.close()


def same(a: Example, b: Example) -> bool:
    pairs = [
        (a.label, b.label),
        (a.tokens, b.tokens),
        (a.mel.log_power, b.mel.log_power),
        *((getattr(a.faces, n), getattr(b.faces, n)) for n in a.faces.__dataclass_fields__),
    ]
    equal = all(x.dtype == y.dtype and np.array_equal(x, y) for x, y in pairs)
    return equal and a.utterance == b.utterance and a.mel.hop_s == b.mel.hop_s


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(lengths=LENGTHS, text=WORDS)
def test_what_goes_in_comes_out_bit_for_bit(tmp_path_factory, lengths, text):
    path = tmp_path_factory.mktemp("shard") / "a.h5"
    examples = [make_example(f"é{i}", sizes, text) for i, sizes in enumerate(lengths)]
    digest, size = write(path, examples)
    assert (digest, size) == (sha256_of(path), path.stat().st_size)
    with ShardReader(path) as reader:
        assert len(reader) == len(examples)
        assert all(same(reader.read(i), example) for i, example in enumerate(examples))
        with pytest.raises(IndexError):
            reader.read(len(examples))


def test_equal_examples_give_equal_bytes(tmp_path):
    examples = [make_example("a", (1, 2, 3)), make_example("b", (4, 0, 1))]
    first, second = tmp_path / "one.h5", tmp_path / "elsewhere" / "two.h5"
    second.parent.mkdir()
    assert write(first, examples) == write(second, examples)


def test_columns_are_contiguous_uncompressed_and_as_the_schema_says(tmp_path):
    write(tmp_path / "a.h5", [make_example("a", (1, 2, 3))])
    with h5py.File(tmp_path / "a.h5") as file:
        names: list[str] = []
        file.visititems(lambda name, item: names.append(name) if hasattr(item, "dtype") else None)
        assert set(names) == {column.path for column in columns_of(PrepSettings())}
        for column in columns_of(PrepSettings()):
            data = file[column.path]
            assert data.chunks is None
            assert data.compression is None
            assert column.kind == "text" or data.dtype.str == column.dtype


def test_the_dropped_are_kept_in_the_shard(tmp_path):
    entry = Dropped("x", DropReason.NO_FRAME_IN_SPAN, "no picture", "a.avi", "rec", 1.0, 2.0)
    with ShardWriter(tmp_path / "a.h5", HEADER) as writer:
        writer.drop(entry)
        writer.close()
    with ShardReader(tmp_path / "a.h5") as reader:
        assert reader.dropped() == [entry]
        assert len(reader) == 0


def test_a_writer_that_is_left_leaves_nothing(tmp_path):
    with ShardWriter(tmp_path / "a.h5", HEADER) as writer:
        writer.append(make_example("a", (1, 1, 1)))
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(OutputError, match="cannot write"):
        ShardWriter(tmp_path / "nowhere" / "a.h5", HEADER)


def test_rows_of_another_shape_are_our_mistake(tmp_path):
    settings = PrepSettings(text=TextSettings(max_tokens=5))
    header = ShardHeader("tests", ("ang", "neu"), ("valence",), settings, {}, "digest")
    narrow = make_example("a", (1, 1, 1))
    wrong = MelSpectrum(np.zeros((3, 64), np.float16), 0.0125)
    with ShardWriter(tmp_path / "a.h5", header) as writer, pytest.raises(ValueError, match="64"):
        writer.append(narrow.replace(mel=wrong))


def test_a_reader_can_be_pickled_and_reopens(tmp_path):
    write(tmp_path / "a.h5", [make_example("a", (1, 2, 3))])
    with ShardReader(tmp_path / "a.h5") as reader:
        reader.read(0)
        copy = pickle.loads(pickle.dumps(reader))
        assert same(copy.read(0), reader.read(0))
        copy.close()


@pytest.mark.parametrize(
    ("attribute", "value", "said"),
    [
        ("format_version", "2.0", "expected 1.x"),
        ("format_version", "0.1", "expected 1.x"),
        ("requires", '["sparse-mel"]', "sparse-mel"),
        ("format", "other", "expected 'fv2es-shard'"),
    ],
)
def test_foreign_and_future_shards_are_refused_by_name(tmp_path, attribute, value, said):
    path = tmp_path / "a.h5"
    write(path, [make_example("a", (1, 1, 1))])
    with h5py.File(path, "r+") as file:
        file.attrs[attribute] = np.bytes_(value)
    with ShardReader(path) as reader:
        for _ in range(2):
            with pytest.raises(ShardError, match="a.h5") as error:
                reader.read(0)
            assert said in str(error.value)


def test_another_hdf5_file_is_no_shard(tmp_path):
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["id"] = [1]
    with (
        pytest.raises(ShardError, match="expected .fv2es-shard"),
        ShardReader(tmp_path / "a.h5") as reader,
    ):
        reader.column("id")


@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_damage_raises_nothing_but_shard_errors(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    path = folder / "a.h5"
    write(path, [make_example("a", (1, 2, 3)), make_example("b", (2, 1, 1))])
    content = bytearray(path.read_bytes())
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    else:
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    try:
        with ShardReader(path) as reader:
            for row in range(min(len(reader), 2)):
                reader.read(row)
    except ShardError:
        pass
    shutil.rmtree(folder)


def test_an_index_says_what_is_there(prepared):
    index = read_index(prepared)
    assert index.corpus == "iemocap"
    assert index.examples == 18
    for entry in index.shards:
        assert sha256_of(prepared / entry.name) == entry.sha256
        assert (prepared / entry.name).stat().st_size == entry.size_bytes
    catalogue = read_catalogue(prepared)
    assert len(catalogue) == len(set(catalogue.ids.to_pylist())) == 18
    assert catalogue.label.sum() == 18
    assert (catalogue.counts["faces/found"] <= catalogue.counts["faces"]).all()


def test_directories_that_are_no_dataset_are_told_apart(tmp_path, shards):
    with pytest.raises(UsageError, match="is not a directory"):
        read_index(tmp_path / "nowhere")
    with pytest.raises(UsageError, match="holds no index.json"):
        read_index(tmp_path)
    (shards / INDEX_NAME).write_text('{"format": "fv2es-shard"')
    with pytest.raises(ShardError, match="index.json is damaged"):
        read_index(shards)


def test_a_missing_shard_is_named(shards):
    name = read_index(shards).shards[1].name
    (shards / name).unlink()
    (shards / CATALOGUE_NAME).unlink()
    with pytest.raises(ShardError, match=name):
        read_catalogue(shards)


def test_an_example_can_be_looked_at(prepared, tmp_path):
    with ShardReader(prepared / read_index(prepared).shards[0].name) as reader:
        draw_example(reader.read(0), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    page = (prepared / "report.html").read_text()
    # A strip of faces and a spectrum for each of the few utterances; nothing from elsewhere.
    assert page.count("<img") == 2 * len(read_catalogue(prepared))
    assert page.count("<svg") >= 6
    assert "http" not in page and "<script" not in page and "anger (ang)" in page
    assert len(page) < 3e6
