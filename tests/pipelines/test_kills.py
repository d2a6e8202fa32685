"""Runs that are killed at random moments, and what is there in the end."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from fv2es_prep.shards.index import INDEX_NAME
from fv2es_prep.utils.files import sha256_of

pytestmark = pytest.mark.slow

FV2ES = str(Path(sys.executable).parent / "fv2es")
KILLS = int(os.environ.get("FV2ES_TEST_KILLS", "50")) // 2
LONGEST_S = 14.0


def start(corpus: Path, out: Path, text_model: Path, megabytes: float) -> subprocess.Popen[str]:
    command = ("prep", "iemocap", corpus, "--out", out, "--executor", "local:2")
    settings = ("--tokenizer", text_model, "--shard-mb", megabytes)
    return subprocess.Popen(
        [FV2ES, *map(str, (*command, *settings))],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def victims(process: subprocess.Popen[str]) -> dict[str, list[psutil.Process]]:
    """The parent, the workers and the decoders that are alive now."""
    found: dict[str, list[psutil.Process]] = {"parent": [], "worker": [], "ffmpeg": []}
    try:
        root = psutil.Process(process.pid)
        found["parent"] = [root]
        for child in root.children(recursive=True):
            kind = "ffmpeg" if "ffmpeg" in child.name() else "worker"
            found[kind].append(child)
    except psutil.NoSuchProcess:
        pass
    return found


def kill_one(process: subprocess.Popen[str], rng: random.Random) -> str:
    """SIGKILL to one process of a kind that is there; returns the kind."""
    found = {kind: members for kind, members in victims(process).items() if members}
    if not found:
        return "nothing"
    kind = rng.choice(sorted(found))
    victim = rng.choice(found[kind])
    try:
        victim.send_signal(signal.SIGKILL)
    except psutil.NoSuchProcess:
        return "nothing"
    return kind


def whole(out: Path) -> dict[str, tuple[int, int]]:
    """Name -> (inode, time of change) of the shards that are there under their names."""
    facts = {path.name: path.stat() for path in out.glob("*.h5")}
    return {name: (fact.st_ino, fact.st_mtime_ns) for name, fact in facts.items()}


def digests(out: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in out.glob("*.h5")}


# Three shards on two workers, and one shard.
@pytest.mark.parametrize("megabytes", [0.1, 16])
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killed_runs_end_in_the_same_bytes_as_an_unbroken_one(
    corpus, text_model, tmp_path, prepare, options_for, megabytes
):
    unbroken = tmp_path / "unbroken"
    prepare(options_for(corpus, unbroken, text_model, shard_mb=megabytes))
    rng = random.Random(0)
    killed: dict[str, int] = {}
    rounds = 0
    while sum(killed.values()) < KILLS:
        rounds += 1
        out = tmp_path / f"out{rounds}"
        seen: dict[str, tuple[int, int]] = {}
        for _ in range(200):
            process = start(corpus, out, text_model, megabytes)
            deadline = time.monotonic() + rng.uniform(0.5, LONGEST_S)
            while time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            if process.poll() is None and sum(killed.values()) < KILLS:
                kind = kill_one(process, rng)
                killed[kind] = killed.get(kind, 0) + 1
            _, said = process.communicate(timeout=300)
            now = whole(out)
            for name, facts in seen.items():
                assert now[name] == facts, f"{name} was built again"
            seen = now
            if process.returncode == 0:
                break
            assert process.returncode in (1, -signal.SIGKILL), said
            if process.returncode != 0 and (out / INDEX_NAME).exists():
                assert digests(out) == digests(unbroken), "an index of an unfinished dataset"
        assert process.returncode == 0, said
        assert digests(out) == digests(unbroken)
        assert not [path for path in out.iterdir() if path.name.endswith(".tmp")]
        assert not (out / ".previous").exists()
    assert {"parent", "worker", "ffmpeg"} <= killed.keys() or KILLS < 20
