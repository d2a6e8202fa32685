from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fv2es_prep.errors import OutputError, UsageError
from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.shards.dropped import DROPPED_NAME
from fv2es_prep.shards.index import INDEX_NAME, read_index, write_index
from fv2es_prep.utils.files import sha256_of
from pipelines.code import code_here, made_by
from pipelines.plan import plan_corpus
from pipelines.run import RUN_NAME, run


def digests(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.h5")}


@pytest.mark.parametrize(
    "workers",
    # That new interpreters build shards is also seen where another package's corpus is prepared.
    ["forked", pytest.param("spawned", marks=pytest.mark.slow)],
)
def test_local_workers_give_the_same_bytes_as_this_process(
    workers, request, corpus, text_model, prepared, tmp_path, prepare, options_for
):
    if workers == "forked":
        request.getfixturevalue("forked")
    _, summary = prepare(options_for(corpus, tmp_path / "out", text_model), "local:2")
    assert summary.shards_built == 3
    assert digests(tmp_path / "out") == digests(prepared)
    assert read_index(tmp_path / "out") == read_index(prepared)


def test_every_utterance_ends_prepared_or_dropped(
    corpus, text_model, tmp_path, prepare, options_for
):
    plan, summary = prepare(options_for(corpus, tmp_path, text_model))
    lines = (tmp_path / DROPPED_NAME).read_text().splitlines()
    assert summary.prepared == len(plan.inventory.utterances) == 18
    assert len(lines) == sum(summary.dropped.values()) == len(plan.inventory.dropped)
    assert {json.loads(line)["reason"] for line in lines} == set(summary.dropped)
    assert summary.complete
    assert summary.counts["frames_sampled"] >= summary.counts["faces_found"] > 0
    told = json.loads((tmp_path / RUN_NAME).read_text())
    assert told["summary"]["prepared"] == 18


def test_a_second_run_builds_nothing_and_a_damaged_shard_is_built_again(
    corpus, text_model, prepared, shards, prepare, options_for
):
    options = options_for(corpus, shards, text_model)
    _, summary = prepare(options)
    assert (summary.shards_built, summary.prepared) == (0, 18)
    assert digests(shards) == digests(prepared)
    (shards / INDEX_NAME).write_text("{")
    victim = shards / "iemocap-00001.h5"
    victim.write_bytes(victim.read_bytes()[:-5000])
    _, summary = prepare(options)
    assert summary.shards_built == 1
    assert digests(shards) == digests(prepared)


def test_other_settings_build_anew_and_leave_no_old_shard(
    corpus, text_model, shards, prepare, options_for
):
    _, summary = prepare(options_for(corpus, shards, text_model, shard_mb=16))
    assert (summary.shards, summary.shards_built) == (1, 1)
    assert [path.name for path in shards.glob("*.h5")] == ["iemocap-00000.h5"]
    assert len(read_catalogue(shards).ids) == 18


def test_a_recording_that_fails_does_not_stop_the_others(
    corpus, text_model, tmp_path, prepare, options_for
):
    copy = shutil.copytree(corpus, tmp_path / "copy")
    (copy / "Session1/dialog/avi/DivX/Ses01F_impro01.avi").write_bytes(b"RIFF broken")
    (copy / "Session2/dialog/wav/Ses02F_impro01.wav").write_bytes(b"RIFF broken")
    out = tmp_path / "out"
    _, summary = prepare(options_for(copy, out, text_model))
    assert summary.prepared == 6
    assert summary.dropped["undecodable_video"] == 6
    assert summary.dropped["undecodable_audio"] == 6
    assert summary.recordings_failed == ("Ses01F_impro01", "Ses02F_impro01")
    assert not summary.complete
    entries = [json.loads(line) for line in (out / DROPPED_NAME).read_text().splitlines()]
    broken = [e for e in entries if e["reason"] == "undecodable_video"]
    assert all("Ses01F_impro01.avi cannot be decoded" in e["sentence"] for e in broken)
    assert not any(str(tmp_path) in e["sentence"] or "0x" in e["sentence"] for e in entries)
    assert all(e["file"] == "Ses01F_impro01.avi" and e["end_s"] > e["start_s"] for e in broken)
    # What was dropped is remembered with the shard: a second run tells the same.
    _, again = prepare(options_for(copy, out, text_model))
    assert (again.shards_built, again.dropped) == (0, summary.dropped)
    assert not again.complete
    # The words of the reason are the same each time, and so are the bytes of the shards.
    prepare(options_for(copy, tmp_path / "twice", text_model))
    assert digests(tmp_path / "twice") == digests(out)


def test_a_recording_cut_short_gives_what_can_be_decoded(
    corpus, text_model, tmp_path, prepare, options_for
):
    copy = shutil.copytree(corpus, tmp_path / "copy")
    video = copy / "Session1/dialog/avi/DivX/Ses01F_impro01.avi"
    video.write_bytes(video.read_bytes()[: video.stat().st_size // 2])
    _, summary = prepare(options_for(copy, tmp_path / "out", text_model))
    assert 12 < summary.prepared < 18
    assert summary.dropped["span_outside_media"] == 18 - summary.prepared


def test_a_task_that_cannot_be_done_is_listed_and_there_is_no_index(
    corpus, text_model, tmp_path, options_for
):
    plan = plan_corpus(options_for(corpus, tmp_path / "out", text_model))
    tasks = tuple(replace(task, tokenizer=str(tmp_path / "gone")) for task in plan.tasks)
    broken = replace(plan, tasks=tasks)
    summary = run(broken, tmp_path / "out", "inline", lambda _: None)
    assert set(summary.failed_shards) == {task.path.name for task in tasks}
    assert "did not provide it" in summary.failed_shards["iemocap-00000.h5"]
    assert not (tmp_path / "out" / INDEX_NAME).exists()
    assert not list((tmp_path / "out").glob("*.h5"))


def test_a_directory_that_cannot_be_written_is_told(corpus, text_model, tmp_path, options_for):
    blocked = tmp_path / "file"
    blocked.touch()
    options = options_for(corpus, blocked / "out", text_model)
    with pytest.raises(OutputError, match="cannot write"):
        plan_corpus(options)
    plan = plan_corpus(options, dry_run=True)
    with pytest.raises(OutputError, match="cannot write"):
        run(plan, blocked / "out", "inline", lambda _: None)


def test_another_corpus_in_the_directory_is_refused(
    corpus, text_model, shards, prepare, options_for
):
    write_index(shards, replace(read_index(shards), corpus="mosei"))
    with pytest.raises(UsageError, match="holds shards of mosei"):
        prepare(options_for(corpus, shards, text_model))


def test_what_other_code_has_made_is_named_as_long_as_it_is_kept(
    corpus, text_model, shards, prepare, options_for
):
    def change(*versions: str) -> None:
        """Make each of the first shards one of another version of torch."""
        about = json.loads((shards / RUN_NAME).read_text())
        (group,) = about["made_by"]
        names = group["shards"]
        groups = [
            {"code": {**group["code"], "torch": version}, "shards": [name]}
            for version, name in zip(versions, names, strict=False)
        ]
        rest = {**group, "shards": names[len(versions) :]}
        (shards / RUN_NAME).write_text(json.dumps({**about, "made_by": [*groups, rest]}))

    def noted() -> dict[str, list[str]]:
        groups = json.loads((shards / RUN_NAME).read_text())["made_by"]
        return {group["code"]["torch"]: group["shards"] for group in groups}

    now, options = code_here()["torch"], options_for(corpus, shards, text_model)
    names = [f"iemocap-{number:05}.h5" for number in range(3)]
    assert noted() == {now: names}
    change("1.8.0", "1.9.0")
    _, summary = prepare(options)
    assert summary.other_code == {f"torch {v} (now {now})": 1 for v in ("1.8.0", "1.9.0")}
    # The first one is built anew without a value of its own; the other is kept as it is.
    (shards / names[0]).unlink()
    _, summary = prepare(options)
    assert summary.other_code == {f"torch 1.9.0 (now {now})": 1}
    assert noted() == {"1.9.0": [names[1]], now: [names[0], names[2]]}
    # Another cut keeps the values: the shard counts to both.
    _, summary = prepare(options_for(corpus, shards, text_model, shard_mb=16))
    assert summary.other_code == {f"torch 1.9.0 (now {now})": 1}
    assert noted() == {"1.9.0": [names[0]], now: [names[0]]}


def test_the_code_is_noted_before_a_shard_is_built(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch
):
    monkeypatch.setattr("pipelines.executors.slurm.submit", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        prepare(options_for(corpus, tmp_path, text_model), "slurm:1")
    ((code, names),) = made_by(tmp_path)
    assert code == code_here()
    assert names == {f"iemocap-{number:05}.h5" for number in range(3)}
