"""`fv2es doctor` names what is missing and how to get it, and nobody's machine."""

from __future__ import annotations

import getpass
import json
import platform
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # the command line itself
from fv2es_prep.media import ffmpeg
from fv2es_train.training.speed import PRESETS, seconds_per_utterance
from pipelines.commands.doctor import estimate
from pipelines.commands.machine_checks import Check, checks


def doctor(*words: str) -> Any:
    return CliRunner().invoke(app, ["doctor", "--no-speed", *words])


def test_all_that_fv2es_needs_is_here() -> None:
    found = doctor("--json")
    assert found.exit_code == 0, found.output
    told = {check["name"]: check for check in json.loads(found.stdout)["checks"]}
    assert {"fv2es", "torch", "ffmpeg", "CPU", "memory", "GPU", "hub", "tokenizer"} <= set(told)
    assert [name for name, check in told.items() if check["state"] == "missing"] == []
    assert all(check["hint"] for check in told.values() if check["state"] != "ok")


def test_what_is_missing_is_named_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(ffmpeg.ENVIRONMENT, "no-such-ffmpeg")
    ffmpeg.ffmpeg_path.cache_clear()
    try:
        found = doctor()
    finally:
        ffmpeg.ffmpeg_path.cache_clear()
    assert found.exit_code == 1
    line = next(line for line in found.stdout.splitlines() if line.startswith("MISSING"))
    assert "ffmpeg" in line and "'no-such-ffmpeg' is not an executable" in line
    assert f"unset {ffmpeg.ENVIRONMENT}" in found.stdout


def test_the_text_can_be_pasted_anywhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    text = doctor().stdout
    assert "hf_secret" not in text and "a token" in text
    for name in {getpass.getuser(), platform.node()} - {"root", ""}:
        assert f" {name} " not in text


def test_an_extra_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    from pipelines.commands import machine_checks

    monkeypatch.setitem(machine_checks._EXTRAS, "serve", ("no_such_module", "the page"))
    found = [check for check in checks() if check.name == "extra serve"]
    assert found == [
        Check("extra serve", "optional", "the page", 'pip install "fv2es[serve]"'),
    ]


@pytest.mark.slow
def test_larger_models_and_corpora_take_longer() -> None:
    found = estimate(dict.fromkeys(PRESETS, seconds_per_utterance))
    smaller, larger, demo = found.values()
    epochs = [smaller[f"train {name}, an epoch"] for name in PRESETS]
    assert epochs == sorted(epochs, reverse=True) and epochs[-1] > 0
    assert all(larger[step] > smaller[step] > 0 for step in smaller)
    assert 10 < demo["fv2es demo"] < smaller["prep"] + smaller["train fv2es-lite, an epoch"]
