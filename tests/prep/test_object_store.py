from __future__ import annotations

import shutil
import threading
from pathlib import Path

import fsspec
import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # the command line itself
from fv2es_prep.errors import SettingsError, ShardError, UsageError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.store import object_store, shard_cache
from fv2es_prep.store.shard_cache import dataset_directory, here
from fv2es_prep.utils.files import shown_path, url_of
from fv2es_train.data.dataset import ShardDataset

_SPLIT = ("--recipe", "random", "--allow-empty-class", "--out")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FV2ES_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stored(cache: Path, prepared: Path, request: pytest.FixtureRequest) -> str:
    """The shards in a store in memory; its URL."""
    url = f"memory://{request.node.name}/data/shards"
    names = [
        path.relative_to(prepared).as_posix()
        for path in prepared.rglob("*")
        if path.is_file() and not path.name.startswith(".")
    ]
    object_store.send(prepared, names, url)
    return url


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("s3://bucket/place/", "s3://bucket/place"),
        ("memory://a", "memory://a"),
        ("s3://", "s3://"),
        ("C:/shards", None),
        ("exp:1/shards", None),
        ("data/s3:/shards", None),
        ("/s3:/shards", None),
        (".", None),
    ],
)
def test_a_path_remembers_the_url_that_it_was_made_of(text: str, url: str | None) -> None:
    assert url_of(Path(text)) == url
    assert shown_path(Path(text)) == (url or str(Path(text)))


def test_a_stored_dataset_has_the_examples_of_the_local_one(stored: str, prepared: Path) -> None:
    local, remote = ShardDataset(prepared), ShardDataset(stored)
    assert remote.ids == local.ids and remote.index == local.index
    assert not [*remote.directory.glob("*.h5")]
    for one, other in zip(local, remote, strict=True):
        assert one.utterance == other.utterance
        assert (one["faces"].rgb == other["faces"].rgb).all()
        assert (one["mel"].log_power == other["mel"].log_power).all()
    assert len([*remote.directory.glob("*.h5")]) == len(local.index.shards)


def test_only_the_shard_that_is_read_is_fetched(stored: str) -> None:
    dataset = ShardDataset(stored)
    last = dataset[len(dataset) - 1]
    assert last.utterance.id == dataset.ids[-1]
    fetched = [path.name for path in dataset.directory.glob("*.h5")]
    assert fetched == [dataset.index.shards[-1].name]


def test_the_oldest_shards_make_room(stored: str, monkeypatch: pytest.MonkeyPatch) -> None:
    index = read_index(Path(stored))
    most = max(shard.size_bytes for shard in index.shards) + 1
    monkeypatch.setenv("FV2ES_CACHE_GB", str(most / 1e9))
    dataset = ShardDataset(stored)
    for row in (0, len(dataset) - 1, 0):
        assert dataset[row].utterance.id == dataset.ids[row]
        held = [path.name for path in dataset.directory.glob("*.h5")]
        assert held == [index.shards[dataset.shard[row]].name]
    assert len(dataset._readers) == 1


@pytest.mark.parametrize("text", ["0", "-1", "many", "nan", "inf"])
def test_the_cache_needs_a_size(text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FV2ES_CACHE_GB", text)
    with pytest.raises(SettingsError, match="expected a number of GB"):
        shard_cache.cache_bytes()


def test_a_shard_with_other_bytes_is_refused(stored: str) -> None:
    name = read_index(Path(stored)).shards[0].name
    system = fsspec.filesystem("memory")
    path = f"{stored.removeprefix('memory:/')}/{name}"
    system.pipe_file(path, system.cat_file(path)[:-1] + b"?")
    dataset = ShardDataset(stored)
    with pytest.raises(ShardError, match=f"{name} has other bytes than its index says"):
        dataset[0]
    assert not [*dataset.directory.glob("*.h5")] and not [*dataset.directory.glob(".*.tmp")]
    findings = verify(Path(stored))
    assert [(found.code, found.file) for found in findings] == [("unreadable", name)]


def test_shards_that_are_not_there_are_findings(stored: str, prepared: Path) -> None:
    names = [shard.name for shard in read_index(prepared).shards]
    object_store.remove(stored, [names[0]])
    with pytest.raises(ShardError, match=names[0]):
        ShardDataset(stored)
    assert ("missing", names[0]) in [(found.code, found.file) for found in verify(Path(stored))]


def test_processes_that_want_one_shard_fetch_it_once(
    stored: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = dataset_directory(Path(stored))
    fetch, fetched = object_store.fetch, list[str]()

    def slow(url: str, places: dict[str, Path]) -> None:
        fetched.extend(places)
        threading.Event().wait(0.1)
        fetch(url, places)

    monkeypatch.setattr(object_store, "fetch", slow)
    path = directory / read_index(directory).shards[0].name
    threads = [threading.Thread(target=here, args=(path,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.exists() and fetched == [path.name]


def test_a_new_version_of_a_dataset_has_another_mirror(stored: str, shards: Path) -> None:
    before = dataset_directory(Path(stored))
    index = (shards / "index.json").read_text()
    (shards / "index.json").write_text(f"{index} ")
    object_store.send(shards, ["index.json"], stored)
    after = dataset_directory(Path(stored))
    assert after != before
    assert (after / "index.json").read_text() == f"{index} "


def test_a_place_without_an_index_is_no_dataset(cache: Path) -> None:
    with pytest.raises(UsageError, match="memory://nothing/here holds no index.json"):
        ShardDataset("memory://nothing/here")
    assert not cache.exists()


def test_a_stored_name_must_not_lead_out(cache: Path, request: pytest.FixtureRequest) -> None:
    url = f"memory://{request.node.name}"
    system = fsspec.filesystem("memory")
    system.pipe_file(f"/{request.node.name}/index.json", b"{}")
    system.store[f"/{request.node.name}/../../x.h5"] = system.store[
        f"/{request.node.name}/index.json"
    ]
    try:
        with pytest.raises(Exception, match="expected one below it"):
            dataset_directory(Path(url))
    finally:
        del system.store[f"/{request.node.name}/../../x.h5"]


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("file:///shards", "names no path in an object store"),
        ("s3://", "names no path in an object store"),
        ("nostore://a/b", "unknown kind of store"),
    ],
)
def test_another_url_is_no_store(url: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=sentence):
        dataset_directory(Path(url))


def test_commands_that_read_take_a_url(stored: str, prepared: Path, tmp_path: Path) -> None:
    name = ShardDataset(prepared).ids[0]
    commands = (
        ["shards", "info", stored],
        ["shards", "show", stored, name],
        ["shards", "verify", stored],
        ["shards", "status", stored],
        ["splits", "build", stored, *_SPLIT, str(tmp_path / "split.json")],
    )
    for command in commands:
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, (command, done.output)
    assert (tmp_path / "split.json").is_file()


@pytest.mark.parametrize(
    "command",
    [
        ["shards", "prune", "URL"],
        ["shards", "drop-stage", "URL", "mel"],
        ["shards", "add", "URL", "mfcc"],
        ["shards", "merge", "URL", "URL", "--out", "merged"],
        ["shards", "export", "DATA", "--format", "parquet", "--out", "URL"],
        ["splits", "build", "DATA", *_SPLIT, "URL"],
        ["demo", "--out", "URL"],
        ["train", "--shards", "DATA", "--split", "SPLIT", "--out", "URL"],
    ],
)
def test_where_no_url_is_taken_one_sentence_says_so(
    command: list[str],
    stored: str,
    prepared: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    shutil.copy(prepared / "index.json", tmp_path / "split.json")
    monkeypatch.chdir(tmp_path)
    places = {"URL": stored, "DATA": str(prepared), "SPLIT": "split.json"}
    done = CliRunner().invoke(app, [places.get(word, word) for word in command])
    assert done.exit_code in (1, 2), done.output
    assert "is in an object store, expected a local path" in done.output, done.output
    assert not (tmp_path / "memory:").exists()
