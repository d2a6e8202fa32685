"""Examples are views of the mapped file; a file of another layout is refused."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from fv2es_prep.config import PrepSettings
from fv2es_prep.errors import ShardError
from fv2es_prep.shards.opening import open_shard
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
    columns = open_shard(shard).columns
    with h5py.File(shard) as file:
        for path in (column.path for column in RAGGED):
            assert not columns[path].flags.owndata and not columns[path].flags.writeable
            assert np.array_equal(columns[path], file[path][()]), path
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
def test_what_cannot_be_mapped_is_refused(change, shard):
    rewritten(shard, change)
    with pytest.raises(ShardError, match=r"tests-00000.h5 is damaged: \S+/\S+ (is|has) "):
        examples(shard)


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
def test_offsets_outside_their_columns_are_damage(group, place, value, dataset, shard, break_shard):
    def outside(file: h5py.File) -> None:
        file[f"{group}/offsets"][place] = value

    break_shard(dataset, outside, digests=False)
    with pytest.raises(ShardError, match=f"tests-00000.h5 is damaged: {group}/offsets"):
        examples(shard)


def shorter(file: h5py.File) -> None:
    replaced(file, "faces/prob", file["faces/prob"][:-1])


def fewer(file: h5py.File) -> None:
    replaced(file, "mel/offsets", file["mel/offsets"][:-1])


def wider(file: h5py.File) -> None:
    replaced(file, "mel/values", file["mel/values"][()].astype("<f4"))


def absent(file: h5py.File) -> None:
    # HDF5 gives no room to a column before it is written.
    shape = file["mel/values"].shape
    del file["mel/values"]
    file.create_dataset("mel/values", shape, "<f2", track_times=False)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (shorter, "faces/offsets ends at"),
        (fewer, "mel/offsets has 3"),
        (wider, "mel/values has the type <f4"),
        (absent, "mel/values lies past the end of the file"),
    ],
)
def test_columns_that_do_not_fit_are_damage(edit, said, dataset, shard, break_shard):
    break_shard(dataset, edit, digests=False)
    with pytest.raises(ShardError, match=f"tests-00000.h5 is damaged: {said}"):
        examples(shard)


def test_a_truncated_file_is_a_shard_error(shard):
    os.truncate(shard, shard.stat().st_size - 100)
    with pytest.raises(ShardError, match="tests-00000.h5"):
        examples(shard)
