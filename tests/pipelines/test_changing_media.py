"""Media files that change while a run reads them: no example is made of two versions."""

from __future__ import annotations

import os
import random
import shutil
import threading
from collections.abc import Callable, Container
from pathlib import Path

import pytest

from fv2es_prep.errors import MediaError
from fv2es_prep.example import prepare_example
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.utils.files import sha256_of
from pipelines.build import build_shard
from pipelines.media_hashes import hash_media, remembered_hashes
from pipelines.plan import plan_corpus
from pipelines.run import run

NAME = "Ses01F_impro01"
VIDEO = f"Session1/dialog/avi/DivX/{NAME}.avi"
SOUND = f"Session1/dialog/wav/{NAME}.wav"
OTHER = {path: path.replace("1", "2", 2) for path in (VIDEO, SOUND)}
CHANGED = "changed_while_read"
Change = Callable[[Path, bytes], object]
Examples = dict[str, tuple[bytes, ...]]


def replaced(path: Path, other: bytes) -> None:
    """Another file under the name, with the first one's times, as `cp -p` and `rsync` write it."""
    before, new = path.stat(), path.with_suffix(".new")
    new.write_bytes(other)
    os.utime(new, ns=(before.st_atime_ns, before.st_mtime_ns))
    new.replace(path)


def truncated(path: Path, _: bytes) -> None:
    os.truncate(path, path.stat().st_size // 2)


def grown(path: Path, other: bytes) -> None:
    with path.open("ab") as file:
        file.write(other[: len(other) // 3])


@pytest.fixture
def one(corpus, tmp_path) -> Path:
    """The first session alone."""
    copy = tmp_path / "corpus"
    shutil.copytree(corpus / "Session1", copy / "Session1")
    return copy


def examples(shard: Path) -> tuple[tuple[str, str], Examples, dict[str, str]]:
    """The hashes that a shard names, digests of each example, and the reasons of what it lacks."""
    with ShardReader(shard) as reader:
        parts = [reader.column(f"digest/{part}") for part in (*reader.settings.stages, "row")]
        found = {
            name: tuple(part[row].tobytes() for part in parts)
            for row, name in enumerate(reader.column("id"))
        }
        dropped = {entry.id: entry.reason.value for entry in reader.dropped()}
        return reader.media_hashes()[NAME], found, dropped


@pytest.fixture
def heard(one, text_model, tmp_path, options_for, monkeypatch):
    """``heard(out, moment, change)``: a shard of sound alone.

    ``change`` is called at each of the moments: when so many examples have been made.
    """

    def build(
        out: str, moments: Container[int] = (), change: Callable[[], object] = list, **more: object
    ):
        place = tmp_path / out
        options = options_for(one, place, text_model, modalities="a", limit=3, **more)
        plan = plan_corpus(options)
        if 0 in moments:
            # The version that is planned for.
            hash_media(plan.inventory.recordings, place)
            plan = plan_corpus(options)
        made = []

        def prepared(*arguments, **more):
            example = prepare_example(*arguments, **more)
            made.append(example)
            if len(made) in moments:
                change()
            return example

        if 0 in moments:
            change()
        with monkeypatch.context() as patch:
            patch.setattr("pipelines.build.prepare_example", prepared)
            return build_shard(plan.tasks[0])

    return build


@pytest.mark.parametrize(("moment", "change"), [(0, truncated), (1, replaced), (3, grown)])
def test_a_file_that_changes_is_prepared_from_one_version(
    one, corpus, tmp_path, text_model, heard, prepare, options_for, moment, change
):
    sound, out = one / SOUND, tmp_path / "out"
    whole, other = sound.read_bytes(), (corpus / OTHER[SOUND]).read_bytes()
    heard("before")
    receipt = heard("out", [moment], lambda: change(sound, other))
    assert receipt.counts["recordings_changed"] == 1
    heard("after")
    shard = receipt.name
    found = examples(out / shard)
    assert found[0][1] == sha256_of(sound)
    assert found == examples(tmp_path / "after" / shard) != examples(tmp_path / "before" / shard)
    # It names what it was made from, and is as a plan for that version wants it.
    options = options_for(one, out, text_model, modalities="a", limit=3)
    assert plan_corpus(options).todo == []
    # With the right file back nothing of the other one is left, whatever the times say.
    sound.write_bytes(whole)
    prepare(options)
    assert sha256_of(out / shard) == sha256_of(tmp_path / "before" / shard)


def test_a_file_that_changes_again_and_again_is_dropped_until_it_stays(
    one, corpus, tmp_path, text_model, heard, prepare, options_for
):
    sound, out = one / SOUND, tmp_path / "out"
    versions = [sound.read_bytes(), (corpus / OTHER[SOUND]).read_bytes()]

    def swap() -> None:
        versions.reverse()
        replaced(sound, versions[0])

    shard = heard("before").name
    receipt = heard("out", range(1, 99), swap)
    hashes, found, dropped = examples(out / shard)
    assert (hashes, found) == (("unreadable", "unreadable"), {})
    assert (len(dropped), {*dropped.values()}) == (3, {CHANGED})
    assert receipt.dropped[0].reason.fails_recording
    with pytest.raises(MediaError, match=f"a file of {NAME} changed during every attempt"):
        heard("strict", range(1, 99), swap, fail_fast=True)
    while sha256_of(sound) != examples(tmp_path / "before" / shard)[0][1]:
        swap()
    # Without --retry-dropped: the reason was not the file.
    prepare(options_for(one, out, text_model, modalities="a", limit=3))
    assert sha256_of(out / shard) == sha256_of(tmp_path / "before" / shard)


def test_what_is_kept_is_of_the_planned_version_and_needs_no_file(
    one, corpus, tmp_path, text_model, heard, prepare, options_for
):
    """A rebuilt shard copies what it has; the file that is there now is not asked."""
    sound, out = one / SOUND, tmp_path / "out"
    options = options_for(one, out, text_model, modalities="a", limit=3)
    prepare(options)
    before = examples(out / "iemocap-00000.h5")
    shorter = plan_corpus(options_for(one, out, text_model, modalities="a", limit=2))
    replaced(sound, (corpus / OTHER[SOUND]).read_bytes())
    summary = run(shorter, out, "inline", lambda _: None)
    assert "recordings_changed" not in summary.counts
    assert examples(out / "iemocap-00000.h5")[1].items() < before[1].items()


def test_a_file_that_changes_while_it_is_hashed_is_not_remembered(
    one, corpus, tmp_path, text_model, options_for, monkeypatch
):
    options = options_for(one, tmp_path / "out", text_model, modalities="a")
    recordings = plan_corpus(options).inventory.recordings
    whole, other = (one / SOUND).read_bytes(), (corpus / OTHER[SOUND]).read_bytes()
    right = sha256_of(one / SOUND)

    def late(path: Path) -> str:
        if path == one / SOUND:
            replaced(path, other)
        return sha256_of(path)

    monkeypatch.setattr("pipelines.media_hashes.sha256_of_raw", late)
    assert hash_media(recordings, tmp_path / "out")[NAME].state == ""
    assert NAME not in remembered_hashes(tmp_path / "out")
    monkeypatch.undo()
    replaced(one / SOUND, whole)
    assert hash_media(recordings, tmp_path / "out")[NAME].audio == right
    assert remembered_hashes(tmp_path / "out")[NAME].audio == right


@pytest.mark.slow
def test_files_that_change_at_random_moments(
    one, corpus, text_model, tmp_path, prepare, options_for
):
    def options(out: Path):
        return options_for(one, out, text_model, interval_s=2, limit=3)

    def put(path: Path, content: bytes) -> None:
        path.unlink()
        path.write_bytes(content)

    rng, shard = random.Random(0), "iemocap-00000.h5"
    files = {one / path: (corpus / OTHER[path]).read_bytes() for path in (VIDEO, SOUND)}
    whole = {path: path.read_bytes() for path in files}
    # Whole versions of the two files -> what is made from them.
    versions: dict[tuple[str, str], Examples] = {}
    for path, other in files.items():
        for number, change in enumerate((lambda *_: None, replaced, truncated, grown)):
            change(path, other)
            out = tmp_path / f"{path.suffix}{number}"
            _, summary = prepare(options(out))
            hashes, versions[hashes], _ = examples(out / shard)
            put(path, whole[path])
    pristine, longest_s = sha256_of(tmp_path / ".avi0" / shard), summary.seconds
    redone = lost = 0
    for round_ in range(20):
        path, change = rng.choice(list(files)), rng.choice([replaced, truncated, grown])
        moment = threading.Timer(rng.uniform(0, longest_s), change, (path, files[path]))
        out = tmp_path / f"out{round_}"
        moment.start()
        _, summary = prepare(options(out))
        moment.join()
        hashes, found, dropped = examples(out / shard)
        assert found.keys().isdisjoint(dropped)
        assert len(found) + len(dropped) == 3
        if found or hashes in versions:
            assert found == versions[hashes], (round_, change, moment)
        redone += summary.counts.get("recordings_changed", 0)
        lost += CHANGED in dropped.values()
        put(path, whole[path])
        prepare(options(out))
        assert sha256_of(out / shard) == pristine
    assert redone >= 3
    assert lost < 20
