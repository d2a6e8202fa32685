"""The commands as a user types them, in processes of their own."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.command_line import fv2es, refused, start


def test_help_names_every_command_and_imports_nothing_heavy():
    result = fv2es("-h")
    assert result.returncode == 0
    # In the order of work.
    names = ("demo", "prep", "splits", "shards", "train", "eval", "predict", "serve", "config")
    places = [result.stdout.index(f"\n  {name} ") for name in names]
    assert places == sorted(places)
    code = (
        "import sys, cli\nfrom typer.testing import CliRunner\n"
        "assert CliRunner().invoke(cli.app, ['--help']).exit_code == 0\n"
        "heavy = {'torch', 'numpy', 'h5py', 'dask', 'transformers', 'matplotlib'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert loaded.stdout.strip() == "[]", loaded.stderr


def test_only_a_file_of_weights_is_converted(tmp_path):
    path = tmp_path / "weights.pt"
    path.write_bytes(b"no weights")
    refused(fv2es("convert-checkpoint", path, "--out", tmp_path / "run"), 2, str(path))
    refused(
        fv2es("convert-checkpoint", tmp_path, "--to", "published", "--out", tmp_path / "new.pt"),
        2,
        "contains no checkpoint 'best'",
    )


def test_the_version_is_printed():
    assert fv2es("--version").stdout.startswith("fv2es 0.")


@pytest.fixture(scope="module")
def no_wavs(corpus, tmp_path_factory) -> Path:
    copy = shutil.copytree(corpus, tmp_path_factory.mktemp("no_wavs") / "copy")
    for path in copy.glob("Session*/dialog/wav/*.wav"):
        path.unlink()
    return Path(copy)


def test_wrong_paths_are_one_sentence_with_a_hint(tmp_path, no_wavs, corpus, text_model):
    out = tmp_path / "out"
    refused(fv2es("prep", "iemocap", tmp_path / "no", "--out", out), 2, "is not a directory")
    empty = tmp_path / "empty"
    empty.mkdir()
    refused(fv2es("prep", "iemocap", empty, "--out", out), 2, "holds no Session*/dialog")
    refused(fv2es("prep", "iemocap", no_wavs, "--out", out), 2, "dialog/wav/*.wav")
    refused(
        fv2es("prep", "iemocap", corpus, "--out", out, "--tokenizer", "nowhere/albert"),
        1,
        "did not provide it",
        "--tokenizer albert",
    )
    blocked = tmp_path / "a-file"
    blocked.touch()
    given = ("--tokenizer", text_model)
    result = fv2es("prep", "iemocap", corpus, "--out", blocked / "shards", *given)
    refused(result, 1, "cannot write", "a-file")
    assert not out.exists()


def test_wrong_options_are_one_sentence_with_a_hint(tmp_path, corpus, prepared):
    start = ("prep", "iemocap", corpus, "--out", tmp_path / "out")
    refused(fv2es(*start, "--merge", "exc"), 2, "invalid merge 'exc': expected NAME=VALUE")
    refused(fv2es(*start, "--merge", "exc=joy"), 2, "'joy' is not one of the chosen classes")
    refused(fv2es(*start, "--executor", "pbs"), 2, "executor 'pbs'")
    refused(fv2es(*start, "--interval-ms", "0"), 2, "frame interval")
    refused(fv2es(*start, "--xyzzy", "red"), 2, "no option --xyzzy", "prep iemocap --help")
    split = tmp_path / "split.json"
    refused(
        fv2es("splits", "build", tmp_path, "--recipe", "random", "--out", split), 2, "index.json"
    )
    refused(
        fv2es("splits", "build", prepared, "--recipe", "odd", "--out", split), 2, "recipe 'odd'"
    )
    refused(
        fv2es("train", "--shards", prepared, "--split", split, "--out", tmp_path / "run"),
        2,
        "cannot read",
        "fv2es splits build",
    )


def test_a_dry_run_tells_the_plan_and_writes_nothing(corpus, text_model, tmp_path):
    out = tmp_path / "out"
    arguments = ("prep", "iemocap", corpus, "--out", out, "--tokenizer", text_model)
    result = fv2es(*arguments, "--dry-run", "--json", "--limit", 7)
    plan = json.loads(result.stdout)
    assert (plan["recordings"], plan["utterances"], plan["shards"]) == (2, 7, 1)
    assert plan["frames"] > 7
    assert plan["shard_bytes"] > 100_000
    assert plan["estimated_s"] > 0
    assert not out.exists()


def test_a_class_that_the_corpus_does_not_have_is_refused_in_a_dry_run_too(corpus, tmp_path):
    asked = ("prep", "iemocap", corpus, "--out", tmp_path / "shards", "--dry-run")
    refused(fv2es(*asked, "--labels", "ang,happy"), 2, "did you mean hap?")
    refused(fv2es(*asked, "--merge", "excited=hap"), 2, "no class 'excited'")


def test_from_raw_to_a_measured_model(corpus, text_model, tmp_path):
    shards, split, run = tmp_path / "shards", tmp_path / "split.json", tmp_path / "run"
    made = fv2es(
        *("prep", "iemocap", corpus, "--out", shards, "--tokenizer", text_model),
        *("--merge", "exc=hap", "--executor", "inline", "--json"),
    )
    summary = json.loads(made.stdout)
    assert (made.returncode, summary["prepared"], summary["complete"]) == (0, 18, True)
    assert "18/18 utterances" in made.stderr
    build = ("splits", "build", shards, "--recipe", "random", "--out", split, "--json")
    built = fv2es(*build, "--allow-empty-class")
    assert json.loads(built.stdout)["utterances"] == {"train": 13, "valid": 2, "test": 3}
    trained = fv2es(
        *("train", "--shards", shards, "--split", split, "--out", run, "--model", "fv2es-tiny"),
        *("--modalities", "t", "--text-encoder", text_model, "--epochs", 2),
    )
    assert trained.returncode == 0, trained.stderr
    assert "f1_binary" in trained.stdout
    assert (run / "best" / "model.safetensors").is_file()
    measured = fv2es("eval", "--shards", shards, "--split", split, "--run", run, "--json")
    result = json.loads(measured.stdout)
    assert result["subset"] == "test"
    assert set(result["per_class"]) == {"ang", "fru", "hap", "neu", "sad"}
    for name in ("accuracy", "balanced_accuracy", "f1_binary", "f1_weighted", "auc"):
        assert name in result["average"]
    assert json.loads((run / "metrics.json").read_text())["test"]["average"] == result["average"]


def test_a_failed_recording_gives_status_1_and_says_where_to_look(corpus, text_model, tmp_path):
    copy = shutil.copytree(corpus, tmp_path / "copy")
    (copy / "Session1/dialog/avi/DivX/Ses01F_impro01.avi").write_bytes(b"broken")
    out = tmp_path / "out"
    result = fv2es(
        *("prep", "iemocap", copy, "--out", out, "--tokenizer", text_model),
        *("--executor", "inline"),
    )
    assert result.returncode == 1
    assert "1 recording(s)" in result.stderr
    assert "dropped.jsonl" in result.stderr
    assert "left out      6 undecodable_video" in result.stdout


def test_an_interrupt_stops_soon_and_says_how_to_go_on(corpus, text_model, tmp_path):
    out = tmp_path / "out"
    command = ("prep", "iemocap", corpus, "--out", out, "--tokenizer", text_model)
    command = (*command, "--executor", "inline", "--shard-mb", 0.1)
    process = start(*command)
    deadline = time.monotonic() + 120
    while not list(out.glob("*.h5")) and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    began = time.monotonic()
    ended = process.wait()
    assert time.monotonic() - began < 10
    assert ended.returncode == 130
    assert "Traceback" not in ended.stderr
    assert "the same command continues: fv2es prep iemocap" in ended.stderr
    assert not (out / "index.json").exists()
    left = {path.name for path in out.iterdir() if path.suffix != ".h5"}
    # Which code made the shards; what the media contain, unless the signal came before the receipt.
    assert left - {".sources.json"} == {"run.json"}
    again = fv2es(*command, "--json")
    summary = json.loads(again.stdout)
    assert summary["prepared"] == 18
    assert summary["shards_built"] < 3


@pytest.mark.parametrize(
    ("module", "number"),
    [("typer", signal.SIGINT), ("fv2es_train.config", signal.SIGINT), ("typer", signal.SIGTERM)],
)
def test_a_signal_while_modules_are_imported_ends_it_silently(module: str, number: signal.Signals):
    # It reports each module as soon as it is imported.
    command = [sys.executable, "-X", "importtime", "-m", "fv2es", "--version"]
    # A shell starts what runs in the background with SIGINT ignored, and so these tests.
    inherited = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, inherited)
    with started as process:
        assert process.stderr is not None
        while not (line := process.stderr.readline()).endswith(f" {module}\n"):
            assert line, "it ended"
        process.send_signal(number)
        rest = process.stderr.read()
    # A shell reports it as 130 or 143.
    assert process.returncode == -number
    assert [line for line in rest.splitlines() if not line.startswith("import time:")] == []
