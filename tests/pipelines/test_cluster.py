"""A real Dask scheduler with two workers, each a process of its own, as on a cluster."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path

import dask
import pytest
from distributed import Client, LocalCluster

from fv2es_prep.errors import ExecutorError
from fv2es_prep.utils.claims import holder_of, records
from fv2es_prep.utils.files import sha256_of
from pipelines.code import code_here
from pipelines.config import ClusterConfig
from pipelines.executors.cluster import build_one
from tests.command_line import Running, start

pytestmark = pytest.mark.slow


@contextmanager
def cluster(
    folder: Path, workers: int, security: Sequence[str] = (), port: int = 0
) -> Iterator[tuple[str, subprocess.Popen[bytes], list[str]]]:
    """A scheduler with workers: its address, its process, and the command of another worker."""
    found = folder / "scheduler.json"
    # By path of the program, not of the module: this is what a user types.
    program = str(Path(sys.executable).parent / "dask")
    common = ["--scheduler-file", str(found), "--no-dashboard", *security]
    worker = [program, "worker", *common, "--nthreads", "1"]
    with ExitStack() as stack:
        first: subprocess.Popen[bytes] | None = None
        for command in ([program, "scheduler", "--port", str(port), *common], *[worker] * workers):
            process = stack.enter_context(subprocess.Popen(command, cwd=folder))
            stack.callback(process.terminate)
            first = first or process
            while not found.exists():
                assert process.poll() is None, "the scheduler ended"
                time.sleep(0.1)
        assert first is not None
        yield json.loads(found.read_text())["address"], first, worker


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a scheduler that has two workers."""
    with cluster(tmp_path_factory.mktemp("cluster"), 2) as (place, _, _):
        # Closed again: the product must not live on a client of ours.
        with Client(place) as client:
            client.wait_for_workers(2, timeout=60)
        yield place


def test_a_cluster_gives_the_same_bytes_as_this_process(
    corpus, text_model, prepared, address, tmp_path, prepare, options_for
):
    told: list[int] = []
    _, summary = prepare(options_for(corpus, tmp_path / "out", text_model), address, told.append)
    assert summary.shards_built == 3
    assert sum(told) == 18
    made = {p.name: sha256_of(p) for p in (tmp_path / "out").glob("*.h5")}
    assert made == {p.name: sha256_of(p) for p in prepared.glob("*.h5")}


def test_workers_with_other_code_are_refused(
    corpus, text_model, address, tmp_path, prepare, options_for, monkeypatch
):
    planned = {**code_here(), "fv2es": "0" * 16}
    monkeypatch.setattr("pipelines.executors.plan_directory.code_here", lambda: planned)
    options = options_for(corpus, tmp_path / "out", text_model)
    with pytest.raises(
        ExecutorError, match="the worker on .* has fv2es .* planned with fv2es 0000"
    ):
        prepare(options, address)
    assert not (tmp_path / "out" / ".plan").exists()


def test_a_scheduler_that_is_not_there_is_told(corpus, text_model, tmp_path, prepare, options_for):
    options = options_for(corpus, tmp_path / "out", text_model)
    with pytest.raises(ExecutorError, match="no Dask scheduler answers"):
        prepare(options, "tcp://127.0.0.1:9")


def test_a_worker_that_sees_another_disk_is_told(address, tmp_path):
    with Client(address) as client:
        asked = client.submit(build_one, tmp_path / "gone", pure=False)
        with pytest.raises(ExecutorError, match=r"a worker on .* does not see .*gone"):
            asked.result()


def test_workers_that_are_not_there_yet_are_waited_for(
    corpus, text_model, prepared, tmp_path, prepare, options_for, capsys
):
    with cluster(tmp_path, 0) as (place, _, worker):
        options = options_for(corpus, tmp_path / "out", text_model)
        with pytest.raises(ExecutorError, match=r"has had no worker for 0\.5 s"):
            prepare(replace(options, cluster=ClusterConfig(wait="500 ms")), place)
        late = threading.Timer(1.5, lambda: started.append(subprocess.Popen(worker, cwd=tmp_path)))
        started: list[subprocess.Popen[bytes]] = []
        late.start()
        try:
            _, summary = prepare(options, place)
        finally:
            late.join()
            for process in started:
                process.terminate()
                process.wait(20)
    assert summary.shards_built == 3
    said = capsys.readouterr().err
    assert said.count("waiting for workers at") == 2 and said.count("1 worker(s) at") == 1
    made = {p.name: sha256_of(p) for p in (tmp_path / "out").glob("*.h5")}
    assert made == {p.name: sha256_of(p) for p in prepared.glob("*.h5")}


def test_an_adaptive_cluster_starts_workers_for_a_run(
    corpus, text_model, prepared, tmp_path, prepare, options_for, capsys, forked
):
    with LocalCluster(n_workers=0, threads_per_worker=1, dashboard_address="127.0.0.1:0") as local:
        local.adapt(minimum=0, maximum=2, interval="200ms")
        prepare(options_for(corpus, tmp_path / "out", text_model), local.scheduler_address)
    said = capsys.readouterr().err
    assert "waiting for workers at" in said and "1 worker(s) at" in said, said
    made = {p.name: sha256_of(p) for p in (tmp_path / "out").glob("*.h5")}
    assert made == {p.name: sha256_of(p) for p in prepared.glob("*.h5")}


def begin(out: Path, corpus: Path, text_model: Path, address: str, *more: str) -> Running:
    """A run of its own; it has begun a shard."""
    command = ["prep", "iemocap", corpus, "--out", out, "--tokenizer", text_model, *more]
    process = start(*command, "--shard-mb", "0.1", "--executor", address)
    deadline = time.monotonic() + 60
    while not held(out) and time.monotonic() < deadline:
        time.sleep(0.02)
    return process


def held(out: Path) -> list[Path]:
    return [one for claims in out.glob(".plan/*/claims") for one in records(claims)]


def test_a_scheduler_that_dies_ends_the_run_and_its_orphan_leaves_the_next_one_alone(
    corpus, text_model, prepared, tmp_path, prepare, options_for
):
    out = tmp_path / "out"
    with cluster(tmp_path, 0) as (place, scheduler, worker):
        orphan = subprocess.Popen([*worker, "--no-nanny"], cwd=tmp_path)
        try:
            run = begin(out, corpus, text_model, place, "--set", "cluster.wait=1s")
            (record,) = held(out)
            assert holder_of(record)["process"] == orphan.pid
            orphan.send_signal(signal.SIGSTOP)
            scheduler.kill()
            ended = run.wait()
            assert ended.returncode == 1 and "Traceback" not in ended.stderr, ended.stderr
            assert f"error: the Dask scheduler at {place} has not answered for 1 s" in ended.stderr
            assert "run the same command again" in ended.stderr
            assert not (out / ".plan").exists()

            def wake(_: int) -> None:
                orphan.send_signal(signal.SIGCONT)
                time.sleep(2)

            _, summary = prepare(options_for(corpus, out, text_model), "inline", wake)
            seen = {path: path.stat().st_mtime_ns for path in out.rglob("*")}
            # It ends by itself once it has no scheduler and no shard.
            assert orphan.wait(60) is not None
        finally:
            orphan.kill()
    assert summary.shards == 3 and not summary.failed_shards
    assert seen == {path: path.stat().st_mtime_ns for path in out.rglob("*")}
    assert not (out / ".plan").exists()
    made = {p.name: sha256_of(p) for p in out.glob("*.h5")}
    assert made == {p.name: sha256_of(p) for p in prepared.glob("*.h5")}


def test_a_run_goes_on_with_a_scheduler_that_is_started_again(
    corpus, text_model, prepared, tmp_path
):
    out, again = tmp_path / "out", tmp_path / "again"
    again.mkdir()
    with cluster(tmp_path, 1) as (place, scheduler, _):
        run = begin(out, corpus, text_model, place)
        scheduler.kill()
        scheduler.wait()
        with cluster(again, 1, port=int(place.rpartition(":")[2])) as (same, _, _):
            assert same == place
            ended = run.wait()
    assert ended.returncode == 0 and "Traceback" not in ended.stderr, ended.stderr
    assert f"the Dask scheduler at {place} is gone; waiting up to 600 s" in ended.stderr
    made = {p.name: sha256_of(p) for p in out.glob("*.h5")}
    assert made == {p.name: sha256_of(p) for p in prepared.glob("*.h5")}


def test_certificates_are_those_of_dasks_configuration(
    corpus, text_model, prepared, tmp_path, prepare, options_for
):
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    make = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    make += ["-subj", "/CN=test", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(make, check=True, capture_output=True)
    words = ["--protocol", "tls", "--tls-ca-file", certificate, "--tls-cert", certificate]
    security = [str(word) for word in (*words, "--tls-key", key)]
    given = {"ca-file": certificate, "client.key": key, "client.cert": certificate}
    tls = {f"distributed.comm.tls.{name}": str(path) for name, path in given.items()}
    with cluster(tmp_path, 1, security) as (place, _, _):
        assert place.startswith("tls://")
        with dask.config.set(tls):
            _, summary = prepare(options_for(corpus, tmp_path / "out", text_model), place)
    assert summary.shards_built == 3


@pytest.mark.parametrize(
    "signals", [[signal.SIGINT], [signal.SIGTERM], [signal.SIGINT] * 2], ids=["INT", "TERM", "INT2"]
)
def test_a_signal_ends_a_run_in_a_sentence_and_frees_the_workers(
    corpus, text_model, prepared, address, tmp_path, prepare, options_for, signals
):
    out = tmp_path / "out"
    command = ["prep", "iemocap", corpus, "--out", out, "--tokenizer", text_model]
    process = start(*command, "--shard-mb", "0.1", "--executor", address)
    deadline = time.monotonic() + 60
    while not list(out.glob(".plan/*/claims/*")) and time.monotonic() < deadline:
        time.sleep(0.02)
    for number in signals:
        process.send_signal(number)
        time.sleep(0.2)
    ended = process.wait()
    assert ended.returncode == 128 + signals[0], ended.stderr
    sentence, *hint = [line for line in ended.stderr.splitlines() if "prepare: " not in line]
    assert "finished shards" in sentence
    assert all(line.startswith("hint: the same command continues") for line in hint), ended.stderr
    with Client(address) as client:
        # A worker ends after the utterance that it prepares.
        until = time.monotonic() + 20
        while any(client.run(_executing).values()) and time.monotonic() < until:
            time.sleep(0.1)
        assert list(client.run(_executing).values()) == [0, 0]
        assert not any(client.processing().values())
    _, summary = prepare(options_for(corpus, out, text_model), address)
    assert summary.shards == 3
    made = {p.name: sha256_of(p) for p in out.glob("*.h5")}
    assert made == {p.name: sha256_of(p) for p in prepared.glob("*.h5")}


def _executing(dask_worker):
    return dask_worker.state.executing_count
