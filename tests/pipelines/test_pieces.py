"""Shards that are built in pieces: where they are divided, and that nobody can tell afterwards."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import ffmpeg
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fv2es_prep.config import MediaSettings, PrepSettings
from fv2es_prep.corpora.inventory import LabelChoice, make_inventory
from fv2es_prep.errors import DropReason as Why
from fv2es_prep.errors import MediaKilledError, OutputError, TokenizerError, WorkerDiedError
from fv2es_prep.media.ffmpeg import ffmpeg_path
from fv2es_prep.stages.tokens import describe_tokenizer
from fv2es_prep.types import Recording, Utterance, View
from fv2es_prep.utils.files import sha256_of
from pipelines import pieces
from pipelines.build import build_shard
from pipelines.media_hashes import hash_sources
from pipelines.pieces import cost_s, divide, estimate_s, jobs_of
from pipelines.plan import make_plan
from pipelines.prepare import plan_corpus
from pipelines.run import run

HERE = Path(__file__)
SPANS = st.lists(
    st.tuples(st.integers(0, 5), st.floats(0, 3000), st.floats(0.1, 90)), min_size=1, max_size=40
)
LONG = [(0, 5.0 * n, 5.0 * n + 4.5) for n in range(400)]


def digests(directory: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in directory.glob("*.h5")}


def tasks_of(spans, megabytes=16.0):
    """Tasks of recordings that are this file; only spans matter to a division."""
    utterances = [
        Utterance(f"utt{n:03d}", f"rec{rec}", start, end, "", ("ang",))
        for n, (rec, start, end) in enumerate(spans)
    ]
    recordings = [Recording(f"rec{n}", HERE, HERE) for n in range(6)]
    inventory = make_inventory("tests", recordings, utterances, [], LabelChoice(("ang",)))
    return make_plan(inventory, PrepSettings(), "tests", Path("no"), megabytes).tasks


def finest(tasks, workers):
    """Every shard divided wherever it may be."""
    return {
        task.path: tuple(pieces._piece(task, [s]) for s in pieces._stretches(task, within=True))
        for task in tasks
    }


@pytest.fixture
def divided(monkeypatch):
    monkeypatch.setattr("pipelines.worklist.divide", finest)


@settings(deadline=None)
@given(spans=SPANS, megabytes=st.floats(0.1, 9), workers=st.integers(1, 9))
def test_a_division_holds_each_utterance_once_in_order_and_is_sooner_done(
    spans, megabytes, workers
):
    tasks = tasks_of([(rec, start, start + length) for rec, start, length in spans], megabytes)
    found = divide(tasks, workers)
    assert workers > 1 or not found
    for task in tasks:
        parts = found.get(task.path, (task,))
        assert [u for part in parts for u in part.utterances] == list(task.utterances)
        assert len({part.path for part in parts}) == len(parts) != 0
        for part in parts:
            names = [recording.id for recording, _ in part.by_recording()]
            assert set(part.header.sources) == set(names)
        for one, other in itertools.pairwise(parts):
            across = [
                (u.end_s, v.end_s)
                for u in one.utterances
                for v in other.utterances
                if u.recording_id == v.recording_id
            ]
            assert all(before <= after for before, after in across)
    whole_s = estimate_s(tasks, {}, workers)
    assert estimate_s(tasks, found, workers) <= (0.9 * whole_s if found else whole_s)
    assert divide(tasks, workers) == found


def test_a_later_piece_of_a_recording_is_shorter_for_it_decodes_more():
    (task,) = tasks_of(LONG, 999)
    (one, other) = divide([task], 2)[task.path]
    assert len(one.utterances) > 1.1 * len(other.utterances)
    assert cost_s(one) == pytest.approx(cost_s(other), rel=0.1)
    four = divide([task], 4)[task.path]
    assert estimate_s([task], {task.path: four}, 4) < estimate_s(
        [task], {task.path: (one, other)}, 2
    )


def test_a_shard_of_two_recordings_is_divided_between_them():
    tasks = tasks_of([(rec, start, end) for rec in (0, 1) for _, start, end in LONG], 999)
    parts = divide(tasks, 2)[tasks[0].path]
    assert [[recording.id for recording in part.recordings] for part in parts] == [
        ["rec0"],
        ["rec1"],
    ]


def test_an_utterance_over_all_of_a_recording_keeps_it_whole():
    assert divide(tasks_of([(0, 0.0, 9999.0), *LONG], 999), 2) == {}


def test_enough_shards_and_short_ones_are_left_as_they_are():
    many = [(rec, start, end) for rec in range(6) for _, start, end in LONG]
    assert divide(tasks_of(many, 0.1), 2) == {}
    assert divide(tasks_of(LONG[:3], 999), 2) == {}


def test_the_longest_comes_first():
    tasks = tasks_of([(0, 0.0, 1.0), (1, 0.0, 9.0), (2, 0.0, 3.0)], 0.01)
    names = [job.path.name for job in jobs_of(tasks, {})]
    assert names == ["tests-00001.h5", "tests-00002.h5", "tests-00000.h5"]


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
        Utterance(f"{name}{n}", name, *span, "a word", ("ang",), view=View(audio_channel=n % 2))
        for name, (_, _, spans) in media.items()
        for n, span in enumerate(spans)
    ]
    recordings = [Recording(name, *paths) for name, (*paths, _) in media.items()]
    inventory = make_inventory("tests", recordings, utterances, [], LabelChoice(("ang",)))
    text = describe_tokenizer(str(text_model), 100)
    chosen = PrepSettings(text=text, media=MediaSettings(max_duration_s=LIMIT_S))

    def plan(out: Path, megabytes: float = 999):
        out.mkdir(exist_ok=True)
        sources = hash_sources(recordings, out)
        return make_plan(inventory, chosen, str(text_model), out, megabytes, sources)

    return plan


@pytest.fixture(scope="module")
def odd_whole(odd_plan, tmp_path_factory):
    """The odd recordings as undivided shards, and the summary."""
    out = tmp_path_factory.mktemp("odd-whole")
    return out, run(odd_plan(out), out, "inline", lambda _: None)


def test_odd_recordings_give_the_same_bytes_in_pieces(odd_plan, odd_whole, tmp_path, divided):
    whole, expected = odd_whole
    told: list[int] = []
    plan = odd_plan(tmp_path)
    assert len(finest(plan.tasks, 9)[plan.tasks[0].path]) > 20
    summary = run(plan, tmp_path, "inline", told.append)
    assert digests(tmp_path) == digests(whole)
    assert {path.name for path in tmp_path.iterdir()} == {path.name for path in whole.iterdir()}
    assert sum(told) == len(plan.inventory.utterances)
    assert summary.dropped == expected.dropped
    assert set(summary.dropped) >= {
        *(Why.SPAN_OUTSIDE_MEDIA, Why.CHANNEL_MISSING, Why.UNDECODABLE_VIDEO, Why.TOO_LONG)
    }
    assert summary.counts["clamped"] > 5
    # What pieces decode twice is counted twice, what they make is not.
    differing = {"videos_decoded", "sounds_decoded"}
    for name in summary.counts.keys() | expected.counts.keys():
        more, one = summary.counts[name], expected.counts[name]
        assert more > one if name in differing else more == one, name


def test_local_workers_give_the_same_bytes_in_pieces(
    corpus, text_model, tmp_path, prepare, options_for, divided
):
    told: list[int] = []
    options = options_for(corpus, tmp_path / "pieces", text_model, shard_mb=16)
    _, summary = prepare(options, "local:2", told.append)
    assert (summary.shards_built, summary.prepared, sum(told)) == (1, 18, 18)
    assert summary.counts["videos_decoded"] == 18
    assert summary.counts.get("faces_kept", 0) == 0
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pipelines.worklist.divide", lambda tasks, workers: {})
        prepare(options_for(corpus, tmp_path / "whole", text_model, shard_mb=16))
    assert digests(tmp_path / "pieces") == digests(tmp_path / "whole")


@pytest.mark.parametrize("finished", [1, 9, 25])
def test_a_run_that_is_killed_between_pieces_loses_none_of_them(
    odd_plan, odd_whole, tmp_path, divided, monkeypatch, finished
):
    built = []

    def killed(task, report):
        if len(built) == finished:
            raise KeyboardInterrupt
        built.append(task)
        return build_shard(task, report)

    # Where a signal comes is chosen here; test_kills sends real ones at random.
    with monkeypatch.context() as patch:
        patch.setattr("pipelines.executor.build_shard", killed)
        with pytest.raises(KeyboardInterrupt):
            run(odd_plan(tmp_path), tmp_path, "inline", lambda _: None)
    assert not list(tmp_path.glob("*.h5"))
    (task,) = odd_plan(tmp_path).tasks
    made = set(task.kept) | set(task.drops)
    assert made <= {utterance.id for job in built for utterance in job.utterances}
    assert len(made) >= finished / 2
    summary = run(odd_plan(tmp_path), tmp_path, "inline", lambda _: None)
    assert summary.counts.get("faces_kept", 0) == len(task.kept)
    assert digests(tmp_path) == digests(odd_whole[0])
    assert not (tmp_path / ".previous").exists()


def test_pieces_of_a_killed_run_serve_a_run_that_divides_nothing(
    odd_plan, odd_whole, tmp_path, monkeypatch
):
    plan = odd_plan(tmp_path)
    for piece in finest(plan.tasks, 9)[plan.tasks[0].path][::2]:
        piece.path.parent.mkdir(exist_ok=True)
        build_shard(piece)
    run(odd_plan(tmp_path), tmp_path, "inline", lambda _: None)
    assert digests(tmp_path) == digests(odd_whole[0])


def stopping(error, at):
    """`build_shard`, but for one piece, which fails."""

    def build(task, report):
        if at in {utterance.id for utterance in task.utterances} and task.piece_of is not None:
            raise error
        return build_shard(task, report)

    return build


def test_a_piece_whose_workers_die_takes_no_other_along(
    odd_plan, odd_whole, tmp_path, divided, monkeypatch
):
    died = stopping(WorkerDiedError("the worker died 4 times"), "crowd4")
    monkeypatch.setattr("pipelines.executor.build_shard", died)
    summary = run(odd_plan(tmp_path), tmp_path, "inline", lambda _: None)
    lost = [json.loads(line) for line in (tmp_path / "dropped.jsonl").read_text().splitlines()]
    lost = {entry["id"] for entry in lost if entry["reason"] == "worker_died"}
    assert "crowd4" in lost and len(lost) < 4
    assert summary.prepared == odd_whole[1].prepared - len(lost)
    assert not summary.complete


def test_a_piece_that_cannot_be_built_fails_its_shard_and_the_rest_is_kept(
    corpus, text_model, prepared, tmp_path, prepare, options_for, divided, monkeypatch
):
    options = options_for(corpus, tmp_path / "out", text_model)
    third = plan_corpus(options).tasks[1].utterances[2].id
    with monkeypatch.context() as patch:
        failing = stopping(TokenizerError("gone"), third)
        patch.setattr("pipelines.executor.build_shard", failing)
        _, summary = prepare(options)
    assert summary.failed_shards == {"iemocap-00001.h5": "gone"}
    assert set(digests(tmp_path / "out")) == {"iemocap-00000.h5", "iemocap-00002.h5"}
    assert len(list((tmp_path / "out" / ".previous").glob("*.h5"))) < 6
    _, summary = prepare(options)
    assert 0 < summary.counts["faces_kept"] < 6
    assert digests(tmp_path / "out") == digests(prepared)
    assert not (tmp_path / "out" / ".previous").exists()


def test_an_output_error_of_a_piece_stops_the_run(
    corpus, text_model, tmp_path, prepare, options_for, divided, monkeypatch
):
    options = options_for(corpus, tmp_path / "out", text_model)
    first = plan_corpus(options).tasks[0].utterances[0].id
    full = stopping(OutputError("the disk is full"), first)
    monkeypatch.setattr("pipelines.executor.build_shard", full)
    with pytest.raises(OutputError, match="full"):
        prepare(options)


@pytest.mark.parametrize("whole", [True, False])
def test_a_decoder_that_is_killed_each_time_drops_its_recording_alone(
    corpus, text_model, tmp_path, prepare, options_for, monkeypatch, request, whole
):
    from fv2es_prep.example import prepare_example

    def killed(utterance, *others):
        # Three kills at the same place: no real one comes so often.
        if utterance.id == fourth:
            raise MediaKilledError("the ffmpeg was killed", Why.UNDECODABLE_VIDEO)
        return prepare_example(utterance, *others)

    if not whole:
        request.getfixturevalue("divided")
    options = options_for(corpus, tmp_path / "out", text_model)
    fourth = plan_corpus(options).tasks[1].utterances[3].id
    monkeypatch.setattr("pipelines.build.prepare_example", killed)
    _, summary = prepare(options)
    # What other pieces have made of the recording is not thrown away.
    assert summary.prepared == (15 if whole else 17)
    assert summary.recordings_failed == ("Ses02F_impro01",)
    assert summary.counts["decoders_killed"] >= 2
    with pytest.raises(MediaKilledError):
        prepare(options_for(corpus, tmp_path / "fast", text_model, fail_fast=True))
