"""Exclusive claims without a lock of the operating system."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import pytest

from fv2es_prep.errors import OutputError, UsageError
from fv2es_prep.utils.claims import STALE_S, Claim, is_live, locked, remove


@pytest.fixture
def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def abandon(claim: Claim, **holder: object) -> None:
    """Leave a claim as its holder's death would."""
    found = json.loads(claim.record.read_text(encoding="utf-8"))
    claim.record.write_text(json.dumps({**found, **holder}), encoding="utf-8")


def age(claim: Claim, seconds: float) -> None:
    past = time.time() - seconds
    os.utime(claim.record, (past, past))


def test_a_claim_has_one_holder_and_is_free_after_it(tmp_path):
    with Claim.take(tmp_path, "a.b") as claim:
        assert claim.held
        assert Claim.take(tmp_path, "a.b") is None
        with Claim.take(tmp_path, "a") as other:
            assert other.held
    assert not list(tmp_path.iterdir())


def test_a_dead_process_on_this_host_is_noticed_at_once(tmp_path, dead):
    claim = Claim.take(tmp_path, "task")
    abandon(claim, process=dead)
    assert not is_live(claim.record)
    with Claim.take(tmp_path, "task") as following:
        assert following.number == 2
        assert not claim.held


def test_a_process_on_another_host_is_dead_when_its_heartbeat_stops(tmp_path, dead):
    claim = Claim.take(tmp_path, "task")
    abandon(claim, process=dead, host="elsewhere")
    assert Claim.take(tmp_path, "task") is None
    age(claim, STALE_S + 1)
    assert Claim.take(tmp_path, "task").number == 2


def test_a_heartbeat_keeps_a_claim(tmp_path, monkeypatch):
    monkeypatch.setattr("fv2es_prep.utils.claims.BEAT_S", 0.01)
    with Claim.take(tmp_path, "task") as claim:
        age(claim, STALE_S + 1)
        deadline = time.monotonic() + 5
        while not is_live(claim.record) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert is_live(claim.record)


def contend(directory: Path) -> bool:
    return Claim.take(directory, "task") is not None


def test_of_many_takers_one_wins(tmp_path, dead):
    with ProcessPoolExecutor(4, mp_context=get_context("spawn")) as pool:
        for _ in range(20):
            directory = tmp_path / f"{_}"
            directory.mkdir()
            if _ % 2:
                abandon(Claim.take(directory, "task"), process=dead)
            assert sum(pool.map(contend, [directory] * 8)) == 1


def test_the_directory_never_has_two_holders(tmp_path):
    inside, most, taken = 0, 0, 0
    count = threading.Lock()

    def hold(turns: int) -> None:
        nonlocal inside, most, taken
        while turns:
            with contextlib.suppress(UsageError), locked(tmp_path):
                with count:
                    inside, taken, turns = inside + 1, taken + 1, turns - 1
                    most = max(most, inside)
                time.sleep(0.001)
                with count:
                    inside -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hold, [10] * 8))
    assert (most, taken) == (1, 80)
    assert not list(tmp_path.iterdir())


def test_a_holder_that_was_taken_over_knows_it(tmp_path):
    with locked(tmp_path) as first:
        assert first.held
        age(first, STALE_S + 1)
        with locked(tmp_path) as second:
            assert second.held
            assert not first.held
        assert not list(tmp_path.iterdir())


def test_a_late_release_hits_nobody_else(tmp_path):
    """A holder that slept, was taken over and wakes up while others hold its number again."""
    late = Claim.take(tmp_path, "task")
    age(late, STALE_S + 1)
    with Claim.take(tmp_path, "task") as second:
        remove(late.record)
        assert second.number == 2
    with Claim.take(tmp_path, "task") as third:
        assert third.path == late.path
        late.release()
        remove(late.record)
        assert third.held
        assert Claim.take(tmp_path, "task") is None
    # A release that came as far as the empty directory.
    late.path.mkdir()
    with Claim.take(tmp_path, "task") as fourth:
        assert (fourth.number, fourth.held) == (1, True)
    assert not list(tmp_path.iterdir())


RACER = """
import os, sys, time
from pathlib import Path
from fv2es_prep.errors import UsageError
from fv2es_prep.utils.claims import locked
place, turns = Path(sys.argv[1]), int(sys.argv[2])
while turns:
    try:
        with locked(place / "held"):
            # Only one process at a time can make it.
            (place / "inside").mkdir()
            turns -= 1
            (place / "inside").rmdir()
    except UsageError:
        time.sleep(0)
"""


def test_two_processes_never_hold_a_directory_at_once(tmp_path):
    (tmp_path / "held").mkdir()
    command = [sys.executable, "-c", RACER, str(tmp_path), "200"]
    racers = [subprocess.Popen(command, stderr=subprocess.PIPE) for _ in range(2)]
    for racer in racers:
        _, said = racer.communicate(timeout=60)
        assert racer.returncode == 0, said
    assert not list((tmp_path / "held").iterdir())


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    with pytest.raises(OutputError, match="cannot write"), locked(tmp_path / "gone"):
        pass
