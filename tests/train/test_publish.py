"""Runs and datasets go to a Hub and come back with the same bytes, and nothing else goes."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # the command line itself
from fv2es_prep.errors import StoreError, UsageError
from fv2es_prep.shards.index import read_index
from fv2es_prep.shards.tools.published_dataset import published_dataset
from fv2es_prep.shards.verify.checks import verify
from fv2es_prep.store.hub_transfer import pull, push
from fv2es_prep.store.publication import MANIFEST, Publication, read_manifest
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.pack import pack
from tests.hub_server import TOKEN, Hub, serving

# The client's own way to send a file.
pytestmark = pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")
LARGE = bytes(range(256)) * 8


@pytest.fixture(scope="module")
def server() -> Iterator[Hub]:
    from huggingface_hub.utils import close_session

    with serving() as hub:
        yield hub
        close_session()


@pytest.fixture
def hub(server: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """An empty Hub, and a token for it."""
    from huggingface_hub import constants

    fresh = Hub(server.url)
    vars(server).update(vars(fresh))
    # Read from the environment when the library was loaded.
    page = "/{repo_id}/resolve/{revision}/{filename}"
    for name, value in {
        "ENDPOINT": server.url,
        "HUGGINGFACE_CO_URL_TEMPLATE": server.url + page,
        "HF_HUB_OFFLINE": False,
        "HF_HUB_DISABLE_XET": True,
    }.items():
        monkeypatch.setattr(constants, name, value)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    return server


def said(*words: object) -> Any:
    return CliRunner().invoke(app, [str(word) for word in words])


def small(**files: bytes) -> Publication:
    return Publication("run", files, "# a card\nfv2es pull OWNER/NAME\n", "Free.")


def held(hub: Hub, name: str, branch: str = "main") -> dict[str, bytes]:
    repository = hub.repositories[name]
    return repository.commits[repository.branches[branch]]


def test_what_was_pushed_is_pulled(hub: Hub, tmp_path: Path) -> None:
    commit = push(small(small=b"1", large=LARGE), "me/it")
    assert hub.repositories["models/me/it"].private and len(hub.sent) == 1
    manifest, found = pull("me/it", tmp_path / "out")
    assert found == commit and manifest.licence == "Free."
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == {
        "small": b"1",
        "large": LARGE,
        "README.md": b"# a card\nfv2es pull me/it\n",
        MANIFEST: held(hub, "models/me/it")[MANIFEST],
    }
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with pytest.raises(UsageError, match="is not empty"):
        pull("me/it", tmp_path / "out")


def test_a_later_push_removes_what_it_lacks_and_keeps_what_others_added(hub: Hub) -> None:
    push(small(a=b"1", b=b"2"), "me/it")
    repository = hub.repositories["models/me/it"]
    repository.commit("main", {**held(hub, "models/me/it"), "LICENSE": b"x"})
    push(small(a=b"3"), "me/it", message="a third")
    assert set(held(hub, "models/me/it")) == {"a", "LICENSE", "README.md", MANIFEST}
    assert repository.messages[-1] == "a third"


def test_a_branch_of_its_own(hub: Hub, tmp_path: Path) -> None:
    push(small(a=b"1"), "me/it", revision="v2")
    assert held(hub, "models/me/it") == {} and "a" in held(hub, "models/me/it", "v2")
    pull("me/it", tmp_path / "out", "v2")
    with pytest.raises(StoreError, match="no such revision"):
        pull("me/it", tmp_path / "other", "v3")


def test_an_upload_that_failed_is_continued(hub: Hub) -> None:
    files = {f"large{n}": LARGE + bytes([n]) for n in range(4)}
    hub.room = 2
    with pytest.raises(StoreError, match="HTTP 507.*no room") as error:
        push(small(**files), "me/it")
    assert (
        "run the same command again to continue" in error.value.hint
        and held(hub, "models/me/it") == {}
    )
    hub.room = 1000
    push(small(**files), "me/it")
    assert len(hub.sent) == len(set(hub.sent)) == 4
    assert set(files) < set(held(hub, "models/me/it"))


def test_other_bytes_than_published_are_refused_and_fetched_again(hub: Hub, tmp_path: Path) -> None:
    push(small(a=b"right", b=LARGE), "me/it")
    right = held(hub, "models/me/it")
    repository = hub.repositories["models/me/it"]
    for other, problem in ((b"wrong", "a SHA-256 that differs"), (b"long wrong", "has 10 bytes")):
        repository.commit("main", {**right, "a": other})
        with pytest.raises(StoreError, match=f"^a of .*{problem}"):
            pull("me/it", tmp_path / "out")
        assert not (tmp_path / "out").exists()
    repository.commit("main", right)
    pull("me/it", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"right"


@pytest.mark.parametrize(
    ("name", "problem"),
    [("../a", "unsafe"), ("/a", "unsafe"), (".cache/a", "unsafe"), ("a/../b", "unsafe")],
)
def test_names_that_lead_elsewhere_are_refused(tmp_path: Path, name: str, problem: str) -> None:
    value = json.loads(small(a=b"").manifest().to_bytes())
    value["files"] = {name: value["files"]["a"]}
    (tmp_path / MANIFEST).write_text(json.dumps(value))
    with pytest.raises(StoreError, match=problem):
        read_manifest(tmp_path / MANIFEST, "me/it")


def test_a_repository_of_others_is_named(hub: Hub, tmp_path: Path) -> None:
    push(small(a=b"1"), "me/it")
    hub.repositories["models/me/it"].commit("main", {"config.json": b"{}"})
    with pytest.raises(StoreError, match=r"has no fv2es\.json"):
        pull("me/it", tmp_path / "out")


def test_a_private_push_does_not_go_to_a_public_repository(hub: Hub) -> None:
    push(small(a=b"1"), "me/it", private=False)
    with pytest.raises(UsageError, match="is public"):
        push(small(a=b"2"), "me/it")
    push(small(a=b"2"), "me/it", private=False)


def test_errors_are_one_sentence_and_a_hint(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from huggingface_hub import constants

    out = tmp_path / "out"

    def refused(of: Callable[[], Any], problem: str, kind: type[Exception] = StoreError) -> None:
        with pytest.raises(kind, match=problem) as error:
            of()
        assert error.value.hint  # type: ignore[attr-defined]
        assert not out.exists()

    refused(lambda: pull("me/none", out), "it does not exist, or is private")
    refused(lambda: pull("a/b/c", out), "is not the name of a repository", UsageError)
    refused(lambda: push(small(a=b""), "others/it"), r"does not permit .*\(HTTP 403\)")
    push(small(a=b""), "me/it")
    hub.repositories["models/me/it"].gated = True
    refused(lambda: pull("me/it", out), "you have not accepted its conditions")
    hub.repositories["models/me/it"].gated = False
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", False)
    refused(lambda: push(small(a=LARGE), "me/it"), "has no Xet storage")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    refused(lambda: pull("me/it", out), "is private and the token cannot see it")
    refused(lambda: push(small(a=b""), "me/new"), r"refuses the token \(HTTP 401\)")
    monkeypatch.setattr("huggingface_hub.get_token", lambda: None)
    refused(lambda: push(small(a=b""), "me/it"), "there is no token", UsageError)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    refused(lambda: pull("me/it", out), "HF_HUB_OFFLINE is set")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    refused(lambda: pull("me/it", out), "ConnectError")


@pytest.mark.slow
def test_a_run_goes_without_places_and_without_ids(
    hub: Hub, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    run = trained("tav")
    listed = said("push", run, "me/it", "--dry-run")
    assert listed.exit_code == 0 and "best/model.safetensors" in listed.stdout
    assert not hub.repositories
    assert said("push", run, "me/it").exit_code == 0
    sent = held(hub, "models/me/it")
    assert {name.partition("/")[0] for name in sent} == {
        *("best", "tokenizer", "ids.json", "familiarity.json", "metrics.json"),
        *("curves.png", "test.png", "README.md", MANIFEST),
    }
    assert not [name for name, content in sent.items() if str(run.parent).encode() in content]
    assert b"Ses01" not in b"".join(v for n, v in sent.items() if not n.startswith("tokenizer"))
    assert said("pull", "me/it", "--out", tmp_path / "out").exit_code == 0
    there, here = load_checkpoint(tmp_path / "out").model, load_checkpoint(run).model
    for name, weight in here.state_dict().items():
        assert there.state_dict()[name].equal(weight)


@pytest.mark.slow
def test_a_packed_run_goes_as_its_files(
    hub: Hub, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    pack(trained("tav"), tmp_path / "run.fv2es")
    assert said("push", tmp_path / "run.fv2es", "me/it").exit_code == 0
    card = held(hub, "models/me/it")["README.md"].decode()
    assert "curves.png" not in card and "## Metrics" in card
    assert json.loads(held(hub, "models/me/it")["metrics.json"])["valid"]["run"] == "run.fv2es"


@pytest.mark.parametrize(
    ("text", "found"),
    [("{place}/x", True), ('"{place}"', True), ("{place}r", False), ("https://x{place}", False)],
)
def test_a_text_that_names_a_place_of_this_machine_is_not_sent(text: str, found: bool) -> None:
    place = Path("/data/people/me")
    publication = small(**{"a.json": text.format(place=place).encode(), "b.h5": b"/data/people/me"})
    if found:
        with pytest.raises(UsageError, match=r"^a\.json contains the local path /data/people/me"):
            publication.refuse_places(place)
    else:
        publication.refuse_places(place, Path("/"))


@pytest.mark.slow
def test_shards_go_whole_and_without_what_lies_beside_them(
    hub: Hub, shards: Path, tmp_path: Path
) -> None:
    for name in ("review.jsonl", ".lock.1"):
        (shards / name).touch()
    assert said("push", shards, "me/them").exit_code == 0
    sent = held(hub, "datasets/me/them")
    assert not {"run.json", "review.jsonl", "report.html", ".lock.1", ".sources.json"} & set(sent)
    told = said("pull", "me/them", "--out", tmp_path / "out")
    assert told.exit_code == 0 and "free for any use" in " ".join(told.stdout.split())
    assert list(verify(tmp_path / "out")) == []
    assert read_index(tmp_path / "out") == read_index(shards)


def test_what_would_go_is_listed(shards: Path) -> None:
    listed = said("push", shards, "me/them", "--dry-run")
    assert listed.exit_code == 0 and "would send 10 files" in listed.stdout
    assert "index.json" in listed.stdout and "run.json" not in listed.stdout
    (shards / "dropped.jsonl").unlink()
    assert "has no file dropped.jsonl" in said("push", shards, "me/them", "--dry-run").stderr


def test_shards_whose_licence_forbids_it_stay(shards: Path) -> None:
    index = json.loads((shards / "index.json").read_text())
    for source in index["provenance"]:
        source |= {"redistributable": False, "licence": "They may not be passed on."}
    del index["digest"]
    from fv2es_prep.config import digest_of

    (shards / "index.json").write_text(json.dumps({**index, "digest": digest_of(index)}))
    refused = said("push", shards, "me/them", "--dry-run")
    assert refused.exit_code == 2 and "They may not be passed on." in refused.stderr
    assert "--license-allows" in refused.stderr
    given = published_dataset(shards, "I filmed them all, and they agreed.")
    assert "They may not be passed on." in given.card
    assert "The publisher states: I filmed them all" in given.card
