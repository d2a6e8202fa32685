"""A packed run predicts the same elsewhere: no hub, no shards, no tokenizer directory."""

from __future__ import annotations

import json
import shutil
import subprocess
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from fv2es_prep.errors import UsageError
from fv2es_train.models.checkpoint import load_checkpoint
from fv2es_train.models.pack import pack
from fv2es_train.models.run_files import overlap, tokenizer_of, unpacked
from tests.command_line import fv2es


@pytest.fixture(scope="module")
def packed(trained: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("packed") / "run.fv2es"
    pack(trained("tav"), out)
    return out


def test_a_pack_is_a_run(packed: Path, trained: Callable[[str], Path]) -> None:
    run = trained("tav")
    found, expected = load_checkpoint(packed), load_checkpoint(run)
    for name, weight in expected.model.state_dict().items():
        assert found.model.state_dict()[name].equal(weight), name
    assert found.decision == expected.decision
    assert tokenizer_of(packed) is not None
    assert overlap(packed, ["x"]) == overlap(run, ["x"]) == {"train": 0, "valid": 0}


def test_equal_runs_give_equal_files_without_ids_and_places(
    packed: Path, trained: Callable[[str], Path], tmp_path: Path
) -> None:
    shutil.copytree(trained("tav"), tmp_path / "elsewhere")
    pack(tmp_path / "elsewhere", tmp_path / "again.fv2es")
    assert (tmp_path / "again.fv2es").read_bytes() == packed.read_bytes()
    with zipfile.ZipFile(packed) as archive:
        names = {name.partition("/")[0] for name in archive.namelist()}
    names -= {"familiarity.json", "metrics.json", "README.md"}
    assert names == {"best", "tokenizer", "ids.json"}


def test_a_packed_run_predicts_the_same_in_an_empty_place(
    packed: Path, trained: Callable[[str], Path], talk: Path, tmp_path: Path
) -> None:
    alone = tmp_path / "alone"
    alone.mkdir()
    for path in (packed, talk):
        shutil.copy(path, alone)
    (alone / "talk.srt").write_text("1\n00:00:00,000 --> 00:00:03,000\nI am happy today\n")

    words = ("predict", alone / talk.name, "--transcript", alone / "talk.srt", "--asr", "none")
    nowhere = str(alone / "nowhere")
    elsewhere = fv2es(*words, "--run", packed.name, "--json", cwd=alone, HF_HOME=nowhere)

    def told(result: subprocess.CompletedProcess[str]) -> list[dict[str, float]]:
        assert result.returncode == 0, result.stderr
        return [one["probability"] for one in json.loads(result.stdout)["videos"][0]["utterances"]]

    there, here = told(elsewhere), told(fv2es(*words, "--run", trained("tav"), "--json"))
    assert there and [pytest.approx(one, abs=1e-6) for one in here] == there


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "no.zip").write_text("no")
    with pytest.raises(UsageError, match="is not a packed run"):
        load_checkpoint(tmp_path / "no.zip")
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("best/config.json", " " * 1000)
    with pytest.raises(UsageError, match="is compressed"):
        unpacked(tmp_path / "bomb.zip")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("a.txt", "a")
    with pytest.raises(UsageError, match="contains no checkpoint"):
        load_checkpoint(tmp_path / "other.zip")


def test_a_run_without_its_tokenizer_needs_it_once(
    trained: Callable[[str], Path], text_model: Path, tmp_path: Path
) -> None:
    run = tmp_path / "old"
    shutil.copytree(trained("tav"), run)
    shutil.rmtree(run / "tokenizer")
    with pytest.raises(UsageError, match="does not contain its tokenizer"):
        pack(run, tmp_path / "run.fv2es")
    pack(run, tmp_path / "run.fv2es", str(text_model))
    assert tokenizer_of(tmp_path / "run.fv2es") is not None
    with pytest.raises(UsageError, match="already exists"):
        pack(run, tmp_path / "run.fv2es")
