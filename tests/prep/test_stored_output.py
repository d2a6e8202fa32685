from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from fv2es_prep.corpora import CORPORA
from fv2es_prep.corpora.base import scan_raw
from fv2es_prep.corpora.inventory import LabelChoice
from fv2es_prep.errors import CorpusError, UsageError
from fv2es_prep.store import dataset_upload, object_store
from fv2es_prep.store.dataset_upload import sent_dataset
from fv2es_prep.store.raw_files import sha256_of_raw, staged, staging, status_of
from fv2es_prep.utils.files import sha256_of
from pipelines.config import prep_config
from pipelines.executors.plan_directory import write_plan
from pipelines.media_hashes import hashes_of
from pipelines.plan import plan_corpus


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A place in a store in memory."""
    monkeypatch.setenv("FV2ES_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(dataset_upload, "_BATCH", 2)
    return f"memory:/{tmp_path}/data"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the files that are sent, in order."""
    send, names = object_store.send, list[str]()

    def noted(directory: Path, batch: Sequence[str], url: str) -> None:
        send(directory, batch, url)
        names.extend(batch)

    monkeypatch.setattr(object_store, "send", noted)
    return names


def _put(root: Path, url: str) -> None:
    names = [path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file()]
    object_store.send(root, names, url)


def _write(url: str, files: dict[str, Any]) -> None:
    with sent_dataset(Path(url)) as directory:
        for name, content in files.items():
            (directory / name).write_bytes(content)


def test_a_dataset_is_sent_whole_with_its_index_last(
    url: str, prepared: Path, sent: list[str]
) -> None:
    with sent_dataset(Path(url)) as directory:
        shutil.copytree(prepared, directory, dirs_exist_ok=True)
        (directory / ".plan").mkdir()
        (directory / ".plan" / "plan.json").touch()
        assert not object_store.files_in(url)
    names = [path.relative_to(prepared).as_posix() for path in prepared.rglob("*.*")]
    expected = {name for name in names if not name.startswith(".") or name == ".sources.json"}
    assert sent[-1] == "index.json" and {*sent} == {*object_store.files_in(url)} >= expected
    assert not [name for name in sent if ".plan" in name]
    for name in expected:
        assert object_store.read(f"{url}/{name}") == (prepared / name).read_bytes()


def test_a_killed_upload_looks_unfinished_and_is_continued(
    url: str, shards: Path, sent: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with sent_dataset(Path(url)) as directory:
        shutil.copytree(shards, directory, dirs_exist_ok=True)
    count, send = len(sent), object_store.send
    # Another index, report, run and shard; the first batch arrives.
    changed = sorted(
        ["index.json", "report.html", "run.json", *(p.name for p in shards.glob("*.h5"))]
    )
    sent.clear()

    def killed(directory: Path, batch: Sequence[str], url: str) -> None:
        if sent:
            raise KeyboardInterrupt
        send(directory, batch, url)

    with monkeypatch.context() as patch:
        patch.setattr(object_store, "send", killed)
        with pytest.raises(KeyboardInterrupt):
            _write(url, {name: (shards / name).read_bytes() + b" " for name in changed})
    assert len(sent) == 2 and "index.json" not in object_store.files_in(url)
    with sent_dataset(Path(url)) as directory:
        pass
    assert sorted(sent) == changed and sent[-1] == "index.json"
    assert len(object_store.files_in(url)) == count
    with sent_dataset(Path(url)):
        sent.clear()
    assert not sent


def test_another_machine_continues_with_what_is_stored(
    url: str, shards: Path, sent: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sent_dataset(Path(url)) as directory:
        shutil.copytree(shards, directory, dirs_exist_ok=True)
    monkeypatch.setenv("FV2ES_CACHE", str(tmp_path / "other"))
    sent.clear()
    gone = next(shards.glob("*.h5")).name
    with sent_dataset(Path(url)) as directory:
        assert {p.name for p in directory.glob("*.h5")} == {p.name for p in shards.glob("*.h5")}
        (directory / gone).unlink()
        (directory / "index.json").unlink()
    # Unfinished: the store has no index, and no shard that is gone.
    assert not sent and not {gone, "index.json"} & {*object_store.files_in(url)}


def test_what_fails_or_is_dry_is_not_sent(url: str, sent: list[str]) -> None:
    with pytest.raises(TypeError):
        # The second file cannot be written.
        _write(url, {"index.json": b"{}", "run.json": None})
    with sent_dataset(Path(f"{url}/dry"), dry_run=True) as directory:
        pass
    assert not directory.exists() and not object_store.files_in(url) and not sent


def test_a_scan_of_stored_files_is_that_of_local_ones(url: str, demo: Path) -> None:
    _put(demo, url)
    corpus = CORPORA.load("iemocap")
    choice = LabelChoice(corpus.classes)
    local = scan_raw(corpus, demo, choice, corpus.options())
    remote = scan_raw(corpus, Path(url), choice, corpus.options())
    assert remote.utterances == local.utterances and remote.dropped == local.dropped
    assert remote.provenance == local.provenance
    for one, other in zip(remote.recordings, local.recordings, strict=True):
        assert other.video is not None and one.video == Path(url) / other.video.relative_to(demo)
        assert hashes_of(one).hashes == hashes_of(other).hashes


def test_a_plan_on_disk_names_stored_media_by_their_urls(
    url: str, demo: Path, text_model: Path, tmp_path: Path
) -> None:
    _put(demo, url)
    given = {"out": tmp_path / "out", "tokenizer": str(text_model), "limit": 1}
    plan = plan_corpus(prep_config("iemocap", raw=url, **given))
    directory = write_plan(plan, tmp_path / "out")
    (name,) = directory.contents.tasks
    assert directory.task(name).recordings == plan.tasks[0].recordings
    assert str(plan.tasks[0].recordings[0].audio).startswith("memory:/")


def test_a_file_is_copied_once_and_again_when_it_changes(
    url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a.wav").write_bytes(b"one")
    object_store.send(tmp_path, ["a.wav"], url)
    path, fetched, fetch = Path(url) / "a.wav", list[str](), object_store.fetch

    def counted(url: str, places: dict[str, Path]) -> None:
        fetched.extend(places)
        fetch(url, places)

    monkeypatch.setattr(object_store, "fetch", counted)
    before = status_of(path)
    with staging():
        assert staged(path).read_bytes() == b"one"
        with staging():
            assert sha256_of_raw(path) == sha256_of(tmp_path / "a.wav")
        assert fetched == ["a.wav"]
        (tmp_path / "a.wav").write_bytes(b"two")
        object_store.send(tmp_path, ["a.wav"], url)
        assert status_of(path) != before
        copy = staged(path)
        assert copy.read_bytes() == b"two" and len(fetched) == 2
    assert not copy.exists()
    assert staged(tmp_path / "a.wav") == tmp_path / "a.wav"


def test_a_wrong_place_is_told_by_its_url(url: str, tmp_path: Path) -> None:
    given = {"out": tmp_path / "out", "tokenizer": "none"}
    with pytest.raises(CorpusError, match="memory:.*holds no files"):
        plan_corpus(prep_config("iemocap", raw=url, **given))
    (tmp_path / "readme.txt").touch()
    object_store.send(tmp_path, ["readme.txt"], url)
    with pytest.raises(CorpusError, match="^memory:.*/data holds no Session"):
        plan_corpus(prep_config("iemocap", raw=url, **given))
    with pytest.raises(UsageError, match="expected a local path"):
        plan_corpus(prep_config("processed", raw=url, **given, **{"corpus.layout": "iemocap"}))
    with pytest.raises(UsageError, match="expected a local path"):
        plan_corpus(prep_config("iemocap", raw=tmp_path, **(given | {"out": url})))
    assert not (tmp_path / "out").exists()
