"""Examples are views of the mapped file where its layout allows that, and the same where not."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import ShardError
from fv2es_prep.shards.mapped import StoredColumn, map_columns
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.schema import columns_of
from fv2es_prep.types import Example
from tests.prep.conftest import sound_example
from tests.prep.test_shards import same

RAGGED = tuple(column for column in columns_of(PrepSettings()) if column.kind == "ragged")


def rewritten(path: Path, change: Callable[[h5py.File, str], None]) -> Path:
    """The shard with each of its ragged columns changed, the rest as it is."""
    with h5py.File(path, "r+", libver=("v110", "v110")) as file:
        for column in RAGGED:
            change(file, column.path)
    return path


def replaced(file: h5py.File, path: str, values: np.ndarray, **options: object) -> None:
    del file[path]
    file.create_dataset(path, data=values, track_times=False, **options)


def examples(path: Path) -> list[Example]:
    with ShardReader(path) as reader:
        return [reader.read(row) for row in range(len(reader))]


@pytest.fixture
def shard(dataset: Path) -> Path:
    return dataset / "tests-00000.h5"


def test_a_shard_of_ours_is_mapped_and_nothing_is_copied(shard):
    with h5py.File(shard) as file:
        columns = map_columns(shard, file, RAGGED)
        assert all(isinstance(values, np.ndarray) for values in columns.values())
        assert all(not values.flags.owndata for values in columns.values())
        for path, values in columns.items():
            assert np.array_equal(values, file[path][()]), path
    read = examples(shard)
    assert not read[0].faces.rgb.flags.owndata and not read[0].mel.log_power.flags.owndata
    with pytest.raises(ValueError, match="read-only"):
        read[0].faces.rgb[0] = 0
    assert same(read[0], sound_example("1A", 0))


@pytest.mark.parametrize(
    "change",
    [
        lambda file, path: replaced(file, path, file[path][()], chunks=True),
        lambda file, path: replaced(file, path, file[path][()], chunks=True, compression="gzip"),
        lambda file, path: replaced(file, path, file[path][()], fletcher32=True),
        lambda file, path: replaced(file, path, file[path][()].astype(_swapped(file[path]))),
    ],
    ids=["chunked", "compressed", "checksums", "other byte order"],
)
def test_what_cannot_be_mapped_is_read_the_same(change, shard):
    # A copy: what is mapped would change with the file.
    mapped = pickle.loads(pickle.dumps(examples(shard)))
    rewritten(shard, change)
    with h5py.File(shard) as file:
        columns = map_columns(shard, file, RAGGED)
        assert isinstance(columns["mel/values"], StoredColumn)
    stored = examples(shard)
    assert len(stored) == len(mapped) == 3
    for a, b in zip(mapped, stored, strict=True):
        assert repr(a.utterance) == repr(b.utterance)  # NaN is NaN
        assert same(a, Example(a.utterance, b.label, **b))


def _swapped(data: h5py.Dataset) -> np.dtype:
    return data.dtype.newbyteorder(">")


def test_a_shard_is_not_held_open_by_hdf5_while_it_is_read(shard):
    reader = ShardReader(shard)
    first = reader.read(0)
    # HDF5 would refuse: the same process may not open a file twice for reading and for writing.
    with h5py.File(shard, "r+") as file:
        assert file["id"].shape == (3,)
    assert len(reader.dropped()) == 1
    reader.close()
    assert same(first, reader.read(0))


def test_examples_outlive_their_reader_and_their_file(shard):
    with ShardReader(shard) as reader:
        example = reader.read(2)
        before = example.faces.rgb.copy()
    shard.unlink()
    assert np.array_equal(example.faces.rgb, before)


@pytest.mark.parametrize("group", ["faces", "mel", "tokens"])
@pytest.mark.parametrize(("place", "value"), [(3, 10**6), (1, -1), (2, 0)])
def test_offsets_outside_their_columns_are_damage_of_their_rows(
    group, place, value, dataset, shard, break_shard
):
    def outside(file: h5py.File) -> None:
        file[f"{group}/offsets"][place] = value

    break_shard(dataset, outside, digests=False)
    with ShardReader(shard) as reader:
        for row in {place - 1, min(place, 2)}:
            if value or row == place - 1:
                with pytest.raises(ShardError, match=rf"tests-00000.h5 is damaged in row {row}"):
                    reader.read(row)
        others = {0, 1, 2} - {place - 1, place}
        assert all(reader.read(row).utterance.recording_id == "1A" for row in others)


def test_columns_of_a_group_that_differ_in_length_are_damage(dataset, shard, break_shard):
    def shorter(file: h5py.File) -> None:
        replaced(file, "faces/prob", file["faces/prob"][:-1])

    break_shard(dataset, shorter, digests=False)
    with ShardReader(shard) as reader:
        reader.read(0)
        with pytest.raises(ShardError, match="row 2"):
            reader.read(2)


def test_fewer_offsets_than_examples_are_damage(dataset, shard, break_shard):
    def fewer(file: h5py.File) -> None:
        replaced(file, "mel/offsets", file["mel/offsets"][:-1])

    break_shard(dataset, fewer, digests=False)
    with ShardReader(shard) as reader, pytest.raises(ShardError, match="tests-00000.h5 is damaged"):
        reader.read(0)


def test_a_file_that_is_shorter_than_its_data_is_named(dataset, shard, break_shard):
    def absent(file: h5py.File) -> None:
        # HDF5 gives no room to a column before it is written.
        shape = file["mel/values"].shape
        del file["mel/values"]
        file.create_dataset("mel/values", shape, "<f2", track_times=False)

    break_shard(dataset, absent, digests=False)
    with ShardReader(shard) as reader, pytest.raises(ShardError) as error:
        reader.read(0)
    assert "tests-00000.h5 is shorter than its column mel/values" in str(error.value)


def test_a_truncated_file_is_a_shard_error(shard):
    os.truncate(shard, shard.stat().st_size - 100)
    with ShardReader(shard) as reader, pytest.raises(ShardError, match="tests-00000.h5"):
        reader.read(0)


def test_a_column_of_another_type_is_damage(dataset, shard, break_shard):
    def wider(file: h5py.File) -> None:
        replaced(file, "mel/values", file["mel/values"][()].astype("<f4"))

    break_shard(dataset, wider, digests=False)
    with ShardReader(shard) as reader, pytest.raises(ShardError, match="row 1"):
        reader.read(1)
