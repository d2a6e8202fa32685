"""catalogue.parquet says what the shards say, and is made anew where it is old."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # the command line itself
from fv2es_prep.errors import ShardError
from fv2es_prep.shards import catalogue_file
from fv2es_prep.shards.catalogue import Catalogue, read_catalogue, write_catalogue
from fv2es_prep.shards.catalogue_file import (
    COUNT,
    is_current,
    rows_of_shard,
    table_from_shards,
)
from fv2es_prep.shards.index import CATALOGUE_NAME, Index, read_index, write_index
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.tools.merge import merge
from fv2es_prep.shards.tools.prune import prune
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.utils.files import sha256_of


def from_shards(directory) -> Catalogue:
    index = read_index(directory)
    return Catalogue(index, table_from_shards(directory, index).column)


def same(table, other) -> None:
    assert table.ids.to_pylist() == other.ids.to_pylist()
    assert table.texts.to_pylist() == other.texts.to_pylist()
    for name in ("recordings", "speakers", "sessions"):
        one, two = getattr(table, name), getattr(other, name)
        assert one.values == two.values == sorted(set(one.values))
        np.testing.assert_array_equal(one.codes, two.codes)
    np.testing.assert_array_equal(table.label, other.label)
    np.testing.assert_array_equal(table.spans_us, other.spans_us)
    for name, count in table.counts.items():
        np.testing.assert_array_equal(count, other.count(name))


def test_a_run_writes_what_the_shards_say(prepared):
    index = read_index(prepared)
    assert is_current(prepared, index)
    table = read_catalogue(prepared)
    same(table, from_shards(prepared))
    counts = {"faces", "faces/found", "mel", "tokens"}
    assert counts == table.counts.keys() == from_shards(prepared).counts.keys()
    assert len(table) == index.examples
    digests = []
    for entry in index.shards:
        with ShardReader(prepared / entry.name) as reader:
            digests += [row.tobytes() for row in reader.column("digest/faces")]
    codes = table.content("faces")
    assert len(set(codes.tolist())) == len(set(digests))


def test_the_rows_of_receipts_give_the_same_bytes_and_no_shard_is_opened(dataset, monkeypatch):
    index = read_index(dataset)
    write_catalogue(dataset, index)
    wanted = sha256_of(dataset / CATALOGUE_NAME)
    rows = {e.name: rows_of_shard(dataset / e.name, index) for e in index.shards}
    first, second = index.shards[0].name, index.shards[1].name
    opened = []
    plain = catalogue_file._of_shard
    monkeypatch.setattr(
        catalogue_file,
        "_of_shard",
        lambda shard, i: opened.append(shard.path.name) or plain(shard, i),
    )
    write_catalogue(dataset, index, rows)
    assert not opened and sha256_of(dataset / CATALOGUE_NAME) == wanted
    # What is not known, or has other columns, comes from the shard.
    other = pa.BufferOutputStream()
    table = pa.table({"id": ["one"] * index.shards[1].examples})
    with pa.ipc.new_stream(other, table.schema) as stream:
        stream.write_table(table)
    write_catalogue(dataset, index, rows | {first: b"", second: bytes(other.getvalue())})
    assert opened == [first, second] and sha256_of(dataset / CATALOGUE_NAME) == wanted


def test_equal_datasets_have_equal_catalogues(dataset, make_dataset, tmp_path):
    again = make_dataset(tmp_path / "again")
    for place in (dataset, again):
        write_catalogue(place, read_index(place))
    assert sha256_of(dataset / CATALOGUE_NAME) == sha256_of(again / CATALOGUE_NAME)


def write(directory) -> Index:
    """The catalogue, as a run of this version writes it."""
    return write_index(directory, write_catalogue(directory, read_index(directory)))


def test_reading_a_missing_or_stale_one_makes_it_in_memory(dataset, make_dataset, tmp_path):
    before = {path.name for path in dataset.iterdir()}
    table = read_catalogue(dataset)
    same(table, from_shards(dataset))
    assert {path.name for path in dataset.iterdir()} == before
    write(dataset)
    larger = make_dataset(tmp_path / "larger", turns=5)
    (larger / CATALOGUE_NAME).write_bytes((dataset / CATALOGUE_NAME).read_bytes())
    assert [f.code for f in verify(larger)] == ["catalogue"]
    assert len(read_catalogue(larger)) == len(table) + 2
    write(larger)
    assert verify(larger) == []


def test_one_of_an_older_version_is_ok_and_is_not_used(dataset):
    write_catalogue(dataset, read_index(dataset))
    path = dataset / CATALOGUE_NAME
    table = pq.read_table(path)
    pq.write_table(table.drop([n for n in table.column_names if n.startswith(COUNT)]), path)
    assert verify(dataset) == []
    assert not is_current(dataset, read_index(dataset))
    same(read_catalogue(dataset), from_shards(dataset))


def test_reading_it_opens_no_shard(dataset):
    write(dataset)
    ids = read_catalogue(dataset).ids
    for shard in dataset.glob("*.h5"):
        shard.write_bytes(bytes(shard.stat().st_size))
    assert read_catalogue(dataset).ids == ids
    assert read_catalogue(dataset).count("faces").sum() > 0
    shard.write_bytes(b"")
    with pytest.raises(ShardError, match="has 0 bytes, expected"):
        read_catalogue(dataset)


def test_damage_is_found_and_nothing_is_read_of_it(dataset):
    write(dataset)
    path = dataset / CATALOGUE_NAME
    assert verify(dataset) == []
    content = path.read_bytes()
    for damaged in (content[:-40], content[:100] + b"?" + content[101:]):
        path.write_bytes(damaged)
        (finding,) = verify(dataset)
        assert (finding.code, finding.file) == ("sha256", CATALOGUE_NAME)
        same(read_catalogue(dataset), from_shards(dataset))
    path.unlink()
    assert [f.code for f in verify(dataset)] == ["missing"]


@pytest.mark.parametrize(
    ("column", "values"),
    [("text", ["x" * 10_000_000] * 5), ("speaker", ["F"] * 4 + [None]), ("start_s", ["now"] * 5)],
)
def test_columns_of_another_content_than_shards_can_have_are_refused(column, values, dataset):
    """A text stored once for each row, nothing in a row, another type: of a stranger's file."""
    write_catalogue(dataset, read_index(dataset))
    path = dataset / CATALOGUE_NAME
    table = pq.read_table(path)
    place = table.column_names.index(column)
    kind = table.schema.field(column).type if column != "start_s" else pa.large_string()
    pq.write_table(table.set_column(place, column, [pa.array(values, kind)]), path)
    catalogue = read_catalogue(dataset)
    if column == "start_s":
        # Made of the shards instead.
        assert catalogue.seconds.sum() > 0
        return
    with pytest.raises(ShardError, match=rf"its column {column} has nulls, or more bytes"):
        _ = catalogue.texts, catalogue.speakers


def test_one_that_says_something_else_is_found(dataset):
    write_catalogue(dataset, read_index(dataset))
    path = dataset / CATALOGUE_NAME
    table = pq.read_table(path)
    place = table.column_names.index("start_s")
    moved = table.set_column(place, "start_s", pc.add(table["start_s"], 0.001))
    pq.write_table(moved, path)
    (finding,) = verify(dataset)
    assert finding.sentence.endswith("differs from the shards in start_s")


def test_prune_leaves_it_and_merge_writes_one(dataset, make_dataset, tmp_path):
    write(dataset)
    assert prune(dataset) == []
    others = make_dataset(tmp_path / "others", prefix="X", corpus="others")
    out = tmp_path / "merged"
    index = merge([dataset, others], out)
    assert is_current(out, index)
    assert len(read_catalogue(out)) == len(read_catalogue(dataset)) + len(read_catalogue(others))
    assert verify(out) == []


@pytest.mark.parametrize("turns", [0, 3])
def test_an_empty_column_has_its_type(make_dataset, tmp_path, turns):
    place = make_dataset(tmp_path / "few", turns=turns, shards=1)
    table = read_catalogue(place)
    assert len(table.ids) == len(table.recordings.codes) == len(table) == turns
    assert table.label.shape == (turns, 2)
    assert len(table.content("mel")) == turns
    assert table.missing_counts() == {}


def test_splits_audits_and_statistics_need_no_shard(shards, tmp_path):
    runner = CliRunner()
    for entry in read_index(shards).shards:
        # What opened such a file would refuse it.
        (shards / entry.name).write_bytes(bytes(entry.size_bytes))
    with pytest.raises(ShardError, match="cannot be read"), ShardReader(shards / entry.name) as one:
        one.read(0)
    split = tmp_path / "split.json"
    build = "build", str(shards), "--recipe", "random", "--allow-empty-class", "--out", str(split)
    for arguments in (
        build,
        ("audit", str(shards), str(split)),
        ("stats", str(shards), str(split)),
    ):
        result = runner.invoke(app, ["splits", *arguments])
        assert result.exit_code == 0, result.output
