"""Recordings that overlap, end early, are damaged or fail midway: always the same outcome."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import ffmpeg
import pytest

from fv2es_prep.config import MediaSettings, PrepSettings
from fv2es_prep.corpora.inventory import LabelChoice, make_inventory
from fv2es_prep.errors import DropReason as Why
from fv2es_prep.errors import MediaKilledError, OutputError, TokenizerError
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.shards.reader import ShardReader
from fv2es_prep.stages.tokens import describe_tokenizer
from fv2es_prep.types import Recording, Utterance, View
from fv2es_prep.utils.claims import Claim
from fv2es_prep.utils.files import sha256_of
from pipelines.build import build_shard
from pipelines.executors.plan_directory import write_plan
from pipelines.executors.worker import work
from pipelines.media_hashes import hash_media
from pipelines.plan import make_plan, plan_corpus
from pipelines.run import finish, run


def digests(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.h5")}


def outcomes(directory: Path) -> dict[str, object]:
    """Utterance id -> the digests of its parts, or why it was dropped."""
    found: dict[str, object] = {}
    for path in directory.glob("*.h5"):
        with ShardReader(path) as reader:
            columns = [reader.column(f"digest/{part}") for part in ("faces", "mel", "tokens")]
            for row, name in enumerate(reader.column("id")):
                found[name] = [column[row].tobytes() for column in columns]
            found |= {entry.id: (entry.reason, entry.sentence) for entry in reader.dropped()}
    return found


def encode(path: Path, *sources: str, **options: object) -> Path:
    inputs = [ffmpeg.input(source, f="lavfi") for source in sources]
    chosen = {"threads": 1, "loglevel": "error", **options}
    ffmpeg.output(*inputs, str(path), **chosen).run(cmd=ffmpeg_path(), overwrite_output=True)
    return path


MPEG4 = {"vcodec": "mpeg4", "qscale:v": 5}
LIMIT_S = 8.5
CROWD = [(0.2, 1.5), (1.0, 3.0), (1.2, 2.0), (2.9, 5.1), (4.0, 4.4), (4.1, 6.9), (6.0, 7.7)]
# What ends where its media do, or later, in every order.
ENDS = [(0.1, 2.0), (1.5, 4.9), (3.0, 5.5), (3.5, 7.9), (4.2, 9.0), (5.2, 9.5), (7.2, 9.9)]
BEYOND = [(0.5, 2.0), (1.0, 4.0), (4.0, 9.0), (4.5, 6.0), (5.0, 7.9), (8.1, 9.5), (9.0, 11.0)]


@pytest.fixture(scope="module")
def odd_plan(tmp_path_factory, text_model):
    """Recordings that overlap, end too early, are damaged or fail midway; a plan for a place."""
    folder = tmp_path_factory.mktemp("odd")

    def video(name: str, seconds: float) -> Path:
        return encode(folder / name, f"testsrc2=s=64x48:r=20:d={seconds}", **MPEG4)

    def sound(name: str, seconds: float, channels: int = 2) -> Path:
        path = folder / name
        return encode(path, f"anoisesrc=d={seconds}:r=16000:a=0.5:seed=3", ac=channels)

    v8, s8 = video("v8.avi", 8), sound("s8.wav", 8)
    cut = folder / "cut.avi"
    cut.write_bytes(v8.read_bytes()[: v8.stat().st_size * 3 // 4])
    noise = folder / "noise.avi"
    noise.write_bytes(b"no picture " * 500)
    endless = encode(
        folder / "endless.mkv",
        "testsrc2=s=64x48:r=20:d=12",
        "anoisesrc=d=12:r=16000:a=0.5:seed=3",
        **{**MPEG4, "acodec": "pcm_s16le", "live": 1},
    )
    media = {
        "crowd": (v8, s8, CROWD),
        "cut": (cut, s8, [*CROWD, *ENDS]),
        "endless": (endless, endless, BEYOND),
        "heardless": (v8, sound("s6.wav", 6), [*CROWD, *ENDS]),
        "mono": (v8, sound("mono.wav", 8, 1), CROWD),
        "noise": (noise, sound("s1.wav", 1.2), CROWD),
        "seenless": (video("v5.avi", 5), sound("s7.wav", 7), [*CROWD, *ENDS]),
        # The picture ends before the sound, and by less than the tolerance.
        "together": (video("v6.avi", 5.95), s8.with_name("s6.wav"), [*CROWD, *ENDS]),
    }
    utterances = [
        Utterance(f"{name}{n:02d}", name, *span, "a word", ("ang",), view=View(audio_channel=n % 2))
        for name, (_, _, spans) in media.items()
        for n, span in enumerate(spans)
    ]
    recordings = [Recording(name, *paths) for name, (*paths, _) in media.items()]
    text = describe_tokenizer(str(text_model), 100)
    settings = PrepSettings(text=text, media=MediaSettings(max_duration_s=LIMIT_S))

    def plan(out: Path, megabytes: float = 999, alone: bool = False):
        """A plan of all, or of a recording with the same media for each utterance."""
        out.mkdir(exist_ok=True)
        held, spoken = recordings, utterances
        if alone:
            spoken = [replace(u, recording_id=u.id) for u in utterances]
            held = [Recording(u.id, *media[u.recording_id][:2]) for u in utterances]
        inventory = make_inventory("tests", held, spoken, [], LabelChoice(("ang",)))
        sources = hash_media(held, out)
        return make_plan(inventory, settings, str(text_model), out, megabytes, sources)

    return plan


@pytest.fixture(scope="module")
def odd_whole(odd_plan, tmp_path_factory):
    """The odd recordings as one shard, and the summary."""
    out = tmp_path_factory.mktemp("odd-whole")
    return out, run(odd_plan(out), out, "inline", lambda _: None)


def test_a_shard_for_each_recording_holds_the_same(odd_plan, odd_whole, tmp_path, forked):
    whole, expected = odd_whole
    plan = odd_plan(tmp_path, 0.001)
    assert len(plan.tasks) == 8
    summary = run(plan, tmp_path, "local:2", lambda _: None)
    assert outcomes(tmp_path) == outcomes(whole)
    assert (summary.dropped, summary.counts) == (expected.dropped, expected.counts)
    assert set(summary.dropped) >= {
        *(Why.SPAN_OUTSIDE_MEDIA, Why.CHANNEL_MISSING, Why.UNDECODABLE_VIDEO, Why.TOO_LONG)
    }
    assert summary.counts["clamped"] > 5


def test_the_outcome_of_an_utterance_depends_on_its_own_span_alone(odd_plan, odd_whole, tmp_path):
    run(odd_plan(tmp_path, alone=True), tmp_path, "inline", lambda _: None)
    alone, whole = outcomes(tmp_path), outcomes(odd_whole[0])
    # A recording that fails takes what follows along.
    failing = ("endless", "mono", "noise")
    assert alone.keys() == whole.keys()
    for name in whole:
        if not name.startswith(failing):
            assert alone[name] == whole[name], name


@pytest.mark.parametrize("finished", [1, 3, 6])
def test_a_run_that_is_killed_between_shards_loses_none_of_them(
    odd_plan, odd_whole, tmp_path, monkeypatch, finished
):
    built = []

    def killed(task, report, *more):
        if len(built) == finished:
            raise KeyboardInterrupt
        built.append(task)
        return build_shard(task, report, *more)

    # Where a signal comes is chosen here; test_kills sends real ones at random.
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.executors.worker.build_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            run(odd_plan(tmp_path, 0.001), tmp_path, "inline", lambda _: None)
    assert len(list(tmp_path.glob("*.h5"))) == finished
    plan = odd_plan(tmp_path, 0.001)
    assert len(plan.finished) == finished
    summary = run(plan, tmp_path, "inline", lambda _: None)
    assert summary.shards_built == 8 - finished
    assert outcomes(tmp_path) == outcomes(odd_whole[0])


def stopping(error, at):
    """`build_shard`, but for the task that holds one utterance, which fails."""

    def build(task, report, *more):
        if at in {utterance.id for utterance in task.utterances}:
            raise error
        return build_shard(task, report, *more)

    return build


def test_a_task_whose_workers_die_takes_no_other_along(odd_plan, odd_whole, tmp_path):
    plan = write_plan(odd_plan(tmp_path, 0.001), tmp_path)
    ids = {name: {u.id for u in plan.task(name).utterances} for name in plan.contents.tasks}
    name, lost = next((name, held) for name, held in ids.items() if "crowd00" in held)
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    for number in range(1, 5):
        claim = Claim.take(plan.path / "claims", name)
        assert claim.number == number
        holder = json.loads(claim.record.read_text())
        claim.record.write_text(json.dumps({**holder, "process": dead.pid}))
    work(plan)
    summary = finish(plan, "inline", 0)
    lines = [json.loads(line) for line in (tmp_path / "dropped.jsonl").read_text().splitlines()]
    assert {entry["id"] for entry in lines if entry["reason"] == "worker_died"} == lost
    assert summary.prepared == odd_whole[1].prepared - len(lost)
    assert not summary.complete


def test_a_task_that_cannot_be_built_is_listed_and_the_rest_is_kept(
    corpus, text_model, prepared, tmp_path, prepare, options_for, monkeypatch
):
    options = options_for(corpus, tmp_path / "out", text_model)
    third = plan_corpus(options).tasks[1].utterances[2].id
    with monkeypatch.context() as patch:
        failing = stopping(TokenizerError("gone"), third)
        patch.setattr("pipelines.executors.worker.build_shard", failing)
        _, summary = prepare(options)
    assert summary.failed_shards == {"iemocap-00001.h5": "gone"}
    assert set(digests(tmp_path / "out")) == {"iemocap-00000.h5", "iemocap-00002.h5"}
    _, summary = prepare(options)
    assert summary.shards_built == 1
    assert digests(tmp_path / "out") == digests(prepared)


def test_an_output_error_stops_the_run(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch
):
    options = options_for(corpus, tmp_path / "out", text_model)
    first = plan_corpus(options).tasks[0].utterances[0].id
    full = stopping(OutputError("the disk is full"), first)
    monkeypatch.setattr("pipelines.executors.worker.build_shard", full)
    with pytest.raises(OutputError, match="full"):
        prepare(options)


def test_a_decoder_that_is_killed_each_time_drops_its_recording_alone(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch
):
    from fv2es_prep.example import prepare_example

    def killed(utterance, *others, **more):
        # Three kills at the same place: no real one comes so often.
        if utterance.id == fourth:
            raise MediaKilledError("the ffmpeg was killed", Why.UNDECODABLE_VIDEO)
        return prepare_example(utterance, *others, **more)

    options = options_for(corpus, tmp_path / "out", text_model)
    fourth = plan_corpus(options).tasks[1].utterances[3].id
    monkeypatch.setattr("pipelines.build.prepare_example", killed)
    _, summary = prepare(options)
    assert summary.prepared == 15
    assert summary.recordings_failed == ("Ses02F_impro01",)
    assert summary.counts["decoders_killed"] >= 2
    with pytest.raises(MediaKilledError):
        prepare(options_for(corpus, tmp_path / "fast", text_model, fail_fast=True))
