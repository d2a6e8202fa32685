"""What a rerun keeps: everything that is made from the very same, whatever else has changed."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest

from fv2es_prep.config import MelSettings
from fv2es_prep.demo import make_text_model
from fv2es_prep.errors import MediaError, OutputError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.dropped import read_dropped
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.shards.review import REVIEW_NAME, add_review
from fv2es_prep.utils.claims import locked
from fv2es_prep.utils.files import sha256_of
from pipelines.build import build_shard, quarantine_shard
from pipelines.commands.plan_text import describe
from pipelines.executors.plan_directory import write_plan
from pipelines.media_hashes import (
    HASHES_NAME,
    UNREADABLE,
    hash_media,
    known_media,
    remembered_hashes,
)
from pipelines.plan import make_plan, plan_corpus
from pipelines.run import run

VIDEO = "Session2/dialog/avi/DivX/Ses02F_impro01.avi"


def digests(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.h5")}


def silent(_: int) -> None:
    """No report."""


@pytest.fixture
def copy(corpus, tmp_path) -> Path:
    return Path(shutil.copytree(corpus, tmp_path / "copy"))


def test_another_tokenizer_makes_tokens_alone(
    corpus, text_model, shards, tmp_path, prepare, options_for
):
    other = Path(shutil.copytree(text_model, tmp_path / "other"))
    rules = json.loads((other / "tokenizer.json").read_text())
    rules["normalizer"] = None
    (other / "tokenizer.json").write_text(json.dumps(rules))
    options = options_for(corpus, shards, other)
    planned = describe(plan_corpus(options), 1)
    assert (planned["faces_to_make"], planned["tokens_to_make"]) == (0, 18)
    assert any("text.vocabulary_sha256 changed" in line for line in planned["why"])
    _, summary = prepare(options)
    counts = summary.counts
    assert (counts["tokens_made"], counts["faces_kept"], counts["mel_kept"]) == (18, 18, 18)
    assert counts["videos_decoded"] == counts["sounds_decoded"] == 0
    prepare(options_for(corpus, tmp_path / "fresh", other))
    assert digests(shards) == digests(tmp_path / "fresh")
    assert not (shards / ".previous").exists()


def test_another_spectrum_touches_no_video(corpus, text_model, shards, tmp_path, options_for):
    def plan_for(out: Path):
        plan = plan_corpus(options_for(corpus, out, text_model))
        settings = replace(plan.settings, mel=MelSettings(n_mels=64))
        sources = hash_media(plan.inventory.recordings, out)
        return make_plan(plan.inventory, settings, str(text_model), out, 0.1, sources)

    counts = run(plan_for(shards), shards, "inline", silent).counts
    assert (counts["mel_made"], counts["faces_kept"], counts["tokens_kept"]) == (18, 18, 18)
    assert counts["videos_decoded"] == 0
    assert counts["sounds_decoded"] == 3
    fresh = tmp_path / "fresh"
    run(plan_for(fresh), fresh, "inline", silent)
    assert digests(shards) == digests(fresh)


def test_another_interval_makes_faces_alone(
    corpus, text_model, shards, tmp_path, prepare, options_for
):
    _, summary = prepare(options_for(corpus, shards, text_model, interval_s=0.9))
    counts = summary.counts
    assert counts["videos_decoded"] == 3
    assert counts["mel_kept"] == counts["tokens_kept"] == 18
    prepare(options_for(corpus, tmp_path / "fresh", text_model, interval_s=0.9))
    assert digests(shards) == digests(tmp_path / "fresh")


def test_other_labels_and_another_cut_decode_nothing(
    corpus, text_model, shards, tmp_path, prepare, options_for
):
    changed = {"merge": {"exc": "hap"}, "shard_mb": 16}
    _, summary = prepare(options_for(corpus, shards, text_model, **changed))
    assert summary.shards == 1
    assert summary.counts["faces_kept"] == 18
    assert summary.counts["videos_decoded"] == summary.counts["sounds_decoded"] == 0
    prepare(options_for(corpus, tmp_path / "fresh", text_model, **changed))
    assert digests(shards) == digests(tmp_path / "fresh")


def test_a_recording_that_comes_or_goes_leaves_the_others(
    corpus, copy, text_model, shards, prepared, prepare, options_for
):
    for path in copy.rglob("*Ses02F_impro01*"):
        path.unlink()
    _, fewer = prepare(options_for(copy, shards, text_model))
    assert (fewer.prepared, fewer.counts["videos_decoded"]) == (12, 0)
    assert len(list(shards.glob("*.h5"))) == 2
    _, all_again = prepare(options_for(corpus, shards, text_model))
    assert (all_again.prepared, all_again.counts["videos_decoded"]) == (18, 1)
    assert digests(shards) == digests(prepared)


def test_what_is_excluded_goes_without_decoding_and_may_come_back(
    corpus, text_model, prepared, shards, prepare, options_for
):
    first = read_catalogue(shards).ids[0].as_py()
    review = shards / REVIEW_NAME
    add_review(review, first, ["exclude", "words"], "another's words")
    marks = review.read_bytes()
    _, summary = prepare(options_for(corpus, shards, text_model, exclude=review))
    assert (summary.prepared, summary.shards_built, summary.dropped["excluded"]) == (17, 1, 1)
    assert summary.counts["videos_decoded"] == summary.counts["sounds_decoded"] == 0
    before, after = digests(prepared), digests(shards)
    assert before.keys() == after.keys()
    assert sum(before[name] != after[name] for name in before) == 1
    (entry,) = (one for one in read_dropped(shards) if one["reason"] == "excluded")
    assert (entry["id"], entry["sentence"]) == (first, "marked as exclude: another's words")
    assert review.read_bytes() == marks
    again = plan_corpus(options_for(corpus, shards, text_model))
    assert [task.path.name for task in again.todo] == [n for n in before if before[n] != after[n]]


def test_a_changed_file_is_noticed_by_its_content(copy, text_model, shards, prepare, options_for):
    path = copy / "Session2/dialog/wav/Ses02F_impro01.wav"
    data = bytearray(path.read_bytes())
    data[40_000:90_000] = data[50_000:100_000]
    path.write_bytes(data)
    _, summary = prepare(options_for(copy, shards, text_model))
    assert summary.shards_built == 1
    assert summary.counts["mel_made"] == 6
    assert summary.counts["videos_decoded"] == 1, "video and sound end together: both decide"


def test_kept_parts_that_are_damaged_are_made_anew(
    corpus, text_model, shards, tmp_path, prepare, options_for
):
    import h5py

    with h5py.File(shards / "iemocap-00000.h5", "r+") as file:
        file["mel/values"][3, 3] += 1
    # No index: nothing says which bytes the shard had.
    (shards / "index.json").unlink()
    _, summary = prepare(options_for(corpus, shards, text_model, max_tokens=9))
    assert summary.counts["mel_made"] == 1
    prepare(options_for(corpus, tmp_path / "fresh", text_model, max_tokens=9))
    assert digests(shards) == digests(tmp_path / "fresh")


def test_a_shard_that_differs_from_the_index_is_built_again(
    corpus, text_model, shards, prepare, options_for
):
    before = digests(shards)
    path = min(shards.glob("*.h5"))
    with h5py.File(path) as file:
        place = file["faces/values"].id.get_offset()
    content = bytearray(path.read_bytes())
    content[place + 100] ^= 1
    path.write_bytes(content)
    _, summary = prepare(options_for(corpus, shards, text_model))
    assert summary.shards_built == 1
    assert digests(shards) == before


def test_the_dropped_stay_dropped_until_they_are_to_be_retried(
    copy, text_model, tmp_path, prepare, options_for
):
    good = (copy / VIDEO).read_bytes()
    (copy / VIDEO).write_bytes(b"broken")
    out = tmp_path / "out"
    _, first = prepare(options_for(copy, out, text_model))
    assert (first.prepared, first.dropped_share) == (12, pytest.approx(1 / 3))
    _, again = prepare(options_for(copy, out, text_model, max_tokens=9))
    assert again.dropped["undecodable_video"] == 6
    assert again.counts["videos_decoded"] == 0
    _, retried = prepare(options_for(copy, out, text_model, max_tokens=9, retry_dropped=True))
    assert (retried.shards_built, retried.prepared) == (1, 12)
    (copy / VIDEO).write_bytes(good)
    _, mended = prepare(options_for(copy, out, text_model, max_tokens=9))
    assert (mended.shards_built, mended.prepared, mended.complete) == (1, 18, True)


def test_fail_fast_stops_at_the_first_recording(copy, text_model, tmp_path, prepare, options_for):
    (copy / VIDEO).write_bytes(b"broken")
    with pytest.raises(MediaError, match=r"Ses02F_impro01.avi cannot be decoded"):
        prepare(options_for(copy, tmp_path / "out", text_model, fail_fast=True))
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_plan_says_why_it_builds(corpus, text_model, shards, tmp_path, options_for):
    def why(out: Path, **changes: object) -> list[str]:
        described = describe(plan_corpus(options_for(corpus, out, text_model, **changes)), 1)
        return described["why"]

    assert why(tmp_path / "new") == ["there are no shards yet"]
    assert why(shards) == []
    assert why(shards, limit=10)[0].startswith("8 utterance(s) are gone")
    assert "frames.interval_s changed from 0.5 to 0.25" in why(shards, interval_s=0.25)
    (shards / "iemocap-00001.h5").unlink()
    assert why(shards)[0].startswith("6 utterance(s) are new")


def test_two_runs_into_one_directory_are_one_too_many(
    corpus, text_model, tmp_path, prepare, options_for
):
    out = tmp_path / "out"
    out.mkdir()
    with locked(out), pytest.raises(UsageError, match=r"is being written by process \d+ on "):
        prepare(options_for(corpus, out, text_model))
    assert not list(out.glob(".lock*"))


@pytest.mark.parametrize("ended", [False, True])
def test_a_shard_that_is_built_while_a_run_is_planned_is_not_built_again(
    corpus, text_model, tmp_path, prepare, options_for, ended
):
    out = tmp_path / "out"
    options = options_for(corpus, out, text_model)
    # Two runs are planned; the first one ends, or is killed and its workers finish all but a shard.
    plan = plan_corpus(options)
    prepare(options)
    if not ended:
        (out / "index.json").unlink()
    first, second, third = sorted(out.glob("*.h5"))
    second.unlink()
    # One of the others is damaged.
    third.write_bytes(third.read_bytes()[:-1000])
    unbroken = first.stat().st_ino
    summary = run(plan, out, "inline", silent)
    assert (summary.shards, summary.shards_built, summary.prepared) == (3, 2, 18)
    assert first.stat().st_ino == unbroken
    assert [*json.loads((out / "run.json").read_text())["shards_built"]] == [
        second.name,
        third.name,
    ]
    again = plan_corpus(options)
    assert not again.todo and not again.cache.drops


def test_what_other_code_builds_while_a_run_is_planned_is_built_again(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch
):
    out = tmp_path / "out"
    options = options_for(corpus, out, text_model)
    plan = plan_corpus(options)
    prepare(options)
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.executors.plan_directory.code_here", lambda: {"torch": "1.0"})
        write_plan(plan, out)
    assert run(plan, out, "inline", silent).shards_built == 3


def test_leftovers_of_dead_runs_are_swept(corpus, text_model, shards, prepare, options_for):
    left = shards / ".iemocap-00001.h5.999999.tmp"
    left.write_bytes(b"half")
    prepare(options_for(corpus, shards, text_model))
    assert not left.exists()


def test_a_shard_whose_workers_died_is_quarantined(corpus, text_model, tmp_path, options_for):
    plan = plan_corpus(options_for(corpus, tmp_path, text_model))
    receipt = quarantine_shard(plan.tasks[0], "the worker died 4 times")
    assert receipt.examples == 0
    assert {entry.reason.value for entry in receipt.dropped} == {"worker_died"}
    with ShardReader(plan.tasks[0].path) as reader:
        assert {entry.recording_id for entry in reader.dropped()} == {"Ses01F_impro01"}


def test_hashes_are_of_content_and_remembered_for_a_state(
    copy, corpus, tmp_path, text_model, options_for
):
    recordings = plan_corpus(options_for(copy, tmp_path, text_model), dry_run=True).inventory
    recordings, name, video = recordings.recordings, "Ses02F_impro01", copy / VIDEO
    first = hash_media(recordings, tmp_path)
    assert first[name].video == sha256_of(video)
    assert known_media(recordings, remembered_hashes(tmp_path)) == first
    # Another file of the same size under the name and the time of the first, as `cp -p` writes it.
    before, other = video.stat(), video.with_suffix(".new")
    other.write_bytes(bytes(before.st_size))
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(video)
    found = known_media(recordings, remembered_hashes(tmp_path))
    assert found.keys() == first.keys() - {name}
    video.unlink()
    assert hash_media(recordings, tmp_path)[name].video == UNREADABLE
    assert remembered_hashes(tmp_path) == first, "what cannot be read now may be readable later"
    (tmp_path / HASHES_NAME).write_text('{"key": "an earlier form"}')
    assert remembered_hashes(tmp_path) == {}


def test_planning_reads_no_media_file_and_knows_what_a_killed_run_has_hashed(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch
):
    options = options_for(corpus, tmp_path / "out", text_model, modalities="a")
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.media_hashes.sha256_of_raw", _never)
        first = plan_corpus(options)
    assert [task.header.media_hashes for task in first.tasks] == [{}, {}, {}]
    # A killed run leaves its plan and the results of its workers.
    left = write_plan(first, options.out)
    name, claim = left.take()
    left.put(name, build_shard(left.task(name)))
    claim.release()
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.media_hashes.sha256_of_raw", _never)
        second = plan_corpus(options)
    assert [task.path.stem for task in second.tasks if task not in second.todo] == [name]
    run(second, options.out, "inline", silent)
    assert len(remembered_hashes(options.out)) == 3
    # Hashes that are known when planning and those of workers make the same shards.
    known = replace(options, out=tmp_path / "known")
    known.out.mkdir()
    hash_media(first.inventory.recordings, known.out)
    plan, _ = prepare(known)
    assert all(len(task.header.media_hashes) == len(task.recordings) for task in plan.tasks)
    assert digests(known.out) == digests(options.out)


def _never(path: Path) -> str:
    raise AssertionError(f"{path} is hashed")


def test_only_what_earlier_shards_hold_is_hashed_while_planning(
    copy, text_model, shards, tmp_path, prepare, options_for, monkeypatch
):
    """The copy has other inodes and times than the corpus, so nothing of it is known."""
    options = options_for(copy, shards, text_model)
    assert len(plan_corpus(options).todo) == 0
    asked = []

    def hashed(path: Path) -> str:
        asked.append(path.name)
        return sha256_of(path)

    monkeypatch.setattr("pipelines.media_hashes.sha256_of_raw", hashed)
    assert (plan_corpus(options).todo, asked) == ([], [])
    (copy / VIDEO).touch()
    dry = plan_corpus(options, dry_run=True)
    assert asked == []
    (why,) = describe(dry, 1)["why"]
    assert "the files of 1 recording(s) must be hashed" in why
    assert len(dry.todo) == 1
    assert plan_corpus(options).todo == []
    assert sorted(asked) == ["Ses02F_impro01.avi", "Ses02F_impro01.wav"]
    # What no time tells: only hashing again finds it.
    remembered = (shards / HASHES_NAME).read_text().replace(sha256_of(copy / VIDEO), "0" * 64)
    (shards / HASHES_NAME).write_text(remembered)
    assert len(plan_corpus(options).todo) == 1
    asked.clear()
    assert plan_corpus(replace(options, rehash=True)).todo == []
    assert len(asked) == 6
    assert plan_corpus(options).todo == []


def test_a_full_disk_is_one_error_and_the_run_goes_on_later(
    corpus, text_model, prepared, tmp_path, prepare, options_for, monkeypatch
):
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    out = tmp_path / "out"
    options = options_for(corpus, out, text_model)
    # A limit on the size of files fails as a full disk does, in the middle of a write.
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(OutputError, match="cannot write"):
            prepare(options)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not list(out.glob("*.h5"))
    assert not (out / "index.json").exists()
    prepare(options)
    assert digests(out) == digests(prepared)


def test_a_text_model_made_again_is_the_same(text_model, shards, corpus, tmp_path, options_for):
    again = make_text_model(tmp_path / "again")
    assert describe(plan_corpus(options_for(corpus, shards, again)), 1)["tokens_to_make"] == 0
