"""The parts of a server that need none: what a file is, room, the queue, the workspace."""

from __future__ import annotations

import json
import math
import os
import threading
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fv2es_prep.errors import WorkError
from fv2es_prep.utils.claims import LOCK_NAME, Claim
from fv2es_train.predict.request import Request, Span, View, named
from fv2es_train.serve.admission import _max_held_s, check_spans, is_container, other_type
from fv2es_train.serve.api_errors import ApiError
from fv2es_train.serve.jobs import Job, Jobs
from fv2es_train.serve.messages import RewordTask, ScoreTask, Update, VideoFile, failure
from fv2es_train.serve.run_card import ClassScore, Score, read_card
from fv2es_train.serve.settings import Limits
from fv2es_train.serve.workspace import private_workspace
from tests.train.media import ffmpeg

PATH = Path("video.mp4")
KINDS = ("mp4", "mov", "mkv", "webm", "avi", "flv", "ts", "mpg", "asf", "mxf", "gif", "nut", "3gp")
SOUNDS = ("wav", "flac", "ogg", "aiff", "caf", "au")


@pytest.mark.parametrize("kind", [*KINDS, *SOUNDS])
def test_what_ffmpeg_writes_is_known_by_its_first_bytes(
    kind: str, tmp_path: Path, talk: Path
) -> None:
    path = tmp_path / f"file.{kind}"
    if kind in SOUNDS:
        ffmpeg("-i", talk, "-t", "0.2", "-vn", path)
    elif kind == "mxf":
        ffmpeg("-i", talk, "-t", "0.2", "-an", "-r", "25", path)
    else:
        size = ("-s", "176x144") if kind == "3gp" else ()
        ffmpeg("-i", talk, "-t", "0.2", "-an", *size, path)
    assert is_container(path.read_bytes()[:4096])


def test_what_is_no_media_is_named() -> None:
    assert other_type(b"") == "an empty file"
    assert other_type(b"PK\x03\x04") == "a ZIP archive"
    assert other_type("\ufeff  <!doctype HTML>".encode()) == "an HTML page"
    assert other_type(b"#EXTM3U\n") == "a playlist"
    # A character that is cut at the end does not make it something else.
    assert other_type(b"words " * 100 + "ä".encode()[:1]) == "a text"
    assert other_type(b"\x80\x81\x82" * 100) == other_type(b"\0\1") == ""
    assert not is_container(b"RIFF\0\0\0\0WEBP")


SPANS = st.lists(
    st.tuples(st.integers(0, 30), st.integers(1, 20)).map(lambda p: Span(p[0], p[0] + p[1])),
    min_size=1,
    max_size=8,
)


@given(SPANS)
@settings(deadline=None)
def test_the_estimate_of_what_is_held_is_never_too_low(spans: list[Span]) -> None:
    """Against walking through each moment: what later spans want before the present one ends."""
    ordered = named(spans, (View(),))
    most = 0
    for place in range(len(ordered)):
        end_s = max(one.end_s for one in ordered[: place + 1])
        held = sum(
            max(min(later.end_s, end_s) - later.start_s, 0) for later in ordered[place + 1 :]
        )
        most = max(most, held)
    assert _max_held_s(ordered) >= most - 1e-9


def test_speech_in_one_view_needs_no_room_and_in_many_large_ones_too_much() -> None:
    limits = Limits()
    check_spans(Request(PATH), (4096, 2304), 2.0, limits)
    check_spans(Request(PATH, views=(View("left"), View("right"))), (1280, 720), 2.0, limits)
    with pytest.raises(ApiError, match="overlap so much"):
        check_spans(Request(PATH, views=(View(),) * 4), (4096, 2304), 2.0, limits)


def _job(name: str = "v", folder: Path | None = None) -> Job:
    return Job(ScoreTask(VideoFile(name), Request(PATH)), folder)


def test_words_come_before_videos_and_a_place_is_held_while_an_upload_is_checked() -> None:
    jobs = Jobs(Limits(queue=3))
    first, second = jobs.add(_job()), jobs.add(_job())
    words = jobs.add(Job(RewordTask(VideoFile("v"), (), {})))
    assert [jobs.position(job) for job in (words, first, second)] == [0, 1, 2]
    with pytest.raises(ApiError) as refused, jobs.reserve():
        pass
    assert refused.value.status == 429 and refused.value.headers["Retry-After"]
    assert jobs.next(0) is words
    with jobs.reserve(), pytest.raises(ApiError), jobs.reserve():
        pass
    with jobs.reserve():
        assert jobs.position(second) == 2


def test_what_became_of_a_job_is_kept_and_its_upload_is_not(tmp_path: Path) -> None:
    jobs = Jobs(Limits(kept=2))
    done = []
    for k in range(3):
        folder = tmp_path / str(k)
        folder.mkdir()
        (folder / "upload").write_text("video")
        job = jobs.add(_job(str(k), folder))
        assert jobs.next(0) is job and jobs.running == 1
        jobs.update(job, Update(note="no sound"))
        jobs.update(job, failure(WorkError("broken")) if k == 1 else Update(end="done"))
        done.append(job)
    assert not list(tmp_path.rglob("upload")) and jobs.running == 0
    assert jobs.find(done[1].id).error is not None and jobs.find(done[2].id).notes == ["no sound"]
    with pytest.raises(ApiError, match="the job does not exist"):
        jobs.find(done[0].id)
    assert done[0].folder is not None and not done[0].folder.exists()


def test_a_private_workspace_is_private_and_goes_with_its_server(tmp_path: Path) -> None:
    with private_workspace(tmp_path) as first:
        assert first.stat().st_mode & 0o777 == 0o700
        (first / "upload").write_text("video")
        # A server beside it leaves it alone.
        with private_workspace(tmp_path) as second:
            assert first.exists() and second != first
    assert not list(tmp_path.iterdir())


def test_a_folder_that_was_left_is_removed_and_nobody_elses(tmp_path: Path) -> None:
    left, other, starting = (
        tmp_path / name for name in ("fv2es-serve-left", "theirs", "fv2es-serve-starting")
    )
    for folder in (left, other, starting):
        folder.mkdir()
    for folder in (left, other):
        claim = Claim.take(folder, LOCK_NAME)
        assert claim is not None
        os.utime(claim.record, (0, 0))
    (tmp_path / "fv2es-serve-link").symlink_to(other)
    with private_workspace(tmp_path):
        assert not left.exists() and other.exists() and starting.exists()


def test_many_threads_share_the_queue() -> None:
    jobs = Jobs(Limits(queue=1000))
    taken: list[str] = []

    def work() -> None:
        while (job := jobs.next(2.0)) is not None:
            taken.append(job.id)
            jobs.update(job, Update(end="done"))

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    added = [jobs.add(_job()).id for _ in range(200)]
    for thread in threads:
        thread.join()
    assert sorted(taken) == sorted(added)


def test_a_runs_card_says_what_it_was_trained_on_and_what_it_is_not_for(tmp_path: Path) -> None:
    unknown = read_card(tmp_path)
    assert "are unknown" in unknown.trained_on and "decisions about people" in unknown.not_for
    assert not unknown.scores and not unknown.subset
    (tmp_path / "README.md").write_text(
        "---\nlicense: other\n---\n\n# fv2es (tav) on iemocap\n\nTrained on **generated** clips,\n"
        "see [the page](https://example.org).\n\n## Metrics\n\n| a |\n\n"
        "## What it is not for\n\n- Not for\n  `people`.\n- Not for policing.\n\n"
        "## Licence\n\nmine\n"
    )
    card = read_card(tmp_path)
    assert card.trained_on == ("fv2es (tav) on iemocap. Trained on generated clips, see the page.")
    assert card.not_for == "Not for people. Not for policing."
    assert card.limits == ("Not for people.", "Not for policing.")


def test_a_runs_card_has_the_scores_on_test_and_leaves_out_what_is_not_defined(
    tmp_path: Path,
) -> None:
    found = {
        "n": 48,
        "average": {"balanced_accuracy": 0.5, "f1_binary": math.nan, "auc": 0.75},
        "interval": {"balanced_accuracy": [0.4, 0.6], "auc": [math.nan, math.nan]},
        "single_label": None,
        "bootstrap": {"level": 0.9},
        "per_class": {"ang": {"support": 3, "recall": 1.0, "precision": math.nan}},
    }
    (tmp_path / "metrics.json").write_text(json.dumps({"valid": {"n": 1}, "test": found}))
    card = read_card(tmp_path)
    assert (card.subset, card.utterances, card.level) == ("test", 48, 0.9)
    assert card.scores == (Score("balanced_accuracy", 0.5, 0.4, 0.6), Score("auc", 0.75))
    assert card.classes == (ClassScore("ang", 3, 1.0, None),)
    (tmp_path / "metrics.json").write_text('{"test": {"n": 4}}')
    assert read_card(tmp_path).subset == ""
