"""Everything on an S3 of its own: preparation from it and to it, verification, training."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from fv2es_prep.store import object_store
from tests.command_line import fv2es

pytestmark = pytest.mark.slow
_ONE_BY_ONE = """
import sys
from fv2es_prep.store import dataset_upload
dataset_upload._BATCH = 1
from cli import app
sys.argv[0] = "fv2es"
app()
"""


@pytest.fixture(scope="module")
def s3(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a bucket."""
    # Its libraries use what Python has deprecated.
    log = tmp_path_factory.mktemp("s3") / "log"
    with log.open("w") as file:
        command = [sys.executable, "-W", "ignore", "-m", "moto.server", "-H", "127.0.0.1", "-p0"]
        server = subprocess.Popen(command, stderr=file, stdout=file)
    while (match := re.search(r"Running on (\S+)", log.read_text())) is None:
        assert server.poll() is None, log.read_text()
        time.sleep(0.05)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {
            "AWS_ENDPOINT_URL": match[1],
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "FV2ES_CACHE": str(tmp_path_factory.mktemp("cache")),
        }.items():
            patch.setenv(name, value)
        import s3fs

        s3fs.S3FileSystem(skip_instance_cache=True).mkdir("fv2es-test")
        try:
            yield "s3://fv2es-test"
        finally:
            server.terminate()
            server.wait()


def test_from_s3_to_s3_and_into_a_training(
    s3: str, demo: Path, prepared: Path, text_model: Path, tmp_path: Path
) -> None:
    names = [path.relative_to(demo).as_posix() for path in demo.rglob("*") if path.is_file()]
    object_store.send(demo, names, f"{s3}/raw")
    raw, shards = f"{s3}/raw", f"{s3}/data/shards"
    prep = ["prep", "iemocap", raw, "--out", shards, "--tokenizer", str(text_model)]
    prep += ["--shard-mb", "0.1", "--executor"]

    # An upload that is killed after some of its files.
    command = [sys.executable, "-W", "ignore", "-c", _ONE_BY_ONE, *prep, "inline"]
    with (tmp_path / "log").open("w") as log:
        first = subprocess.Popen(command, stdout=log, stderr=log)
    while first.poll() is None and len(object_store.files_in(shards)) < 4:
        time.sleep(0.005)
    first.kill()
    assert first.wait() == -signal.SIGKILL, (tmp_path / "log").read_text()
    sent = object_store.files_in(shards)
    assert sent and "index.json" not in sent
    refused = fv2es("shards", "verify", shards)
    assert refused.returncode == 2 and "is not a finished dataset" in refused.stderr

    # The same command sends the rest, and what was being sent when it was killed.
    done = fv2es(*prep, "local:2")
    assert done.returncode == 0, done.stderr
    assert f"shards   {shards}" in done.stdout
    stored = object_store.files_in(shards)
    local = list(prepared.glob("*.h5"))
    assert {path.name for path in local} <= stored.keys()
    for path in local:
        assert object_store.read(f"{shards}/{path.name}") == path.read_bytes()
    kept = [name for name in sent if name not in ("report.html", "run.json", ".sources.json")]
    assert len(kept) >= 2
    assert len([name for name in kept if stored[name] != sent[name]]) <= 1
    checked = fv2es("shards", "verify", shards, "--against", raw, "--sample", "4")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    split = tmp_path / "split.json"
    rule = ["--recipe", "random", "--allow-empty-class", "--out", str(split)]
    assert fv2es("splits", "build", shards, *rule).returncode == 0
    runs = {}
    for place in (shards, str(prepared)):
        out = tmp_path / str(len(runs))
        options = [
            "--model",
            "fv2es-tiny",
            "--set",
            f"model.text_encoder={text_model}",
            "--epochs",
            "1",
        ]
        options += ["--shuffle-shards", "2", "--workers", "1"]
        trained = fv2es(
            *("train", "--shards", place, "--split", str(split), "--out", str(out)), *options
        )
        assert trained.returncode == 0, trained.stderr
        runs[place] = json.loads((out / "metrics.json").read_text())["test"]["average"]
    assert runs[shards] == runs[str(prepared)]
    assert not (Path.cwd() / "s3:").exists()
