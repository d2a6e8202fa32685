"""No command is harmed by a stranger's shard: each refuses it in a sentence."""

from __future__ import annotations

import json
import resource
import shutil
import time
from pathlib import Path

import h5py
import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_prep.config import digest_of
from fv2es_prep.shards.index import INDEX_NAME, read_index
from tests.train import malice
from tests.train.conftest import Corpus

_FAST = ("external storage of text", "token beyond the vocabulary", "pipe")


def test_there_are_sixty() -> None:
    assert len(malice.NAMES) >= 60


@pytest.mark.parametrize(
    "name", [n if n in _FAST else pytest.param(n, marks=pytest.mark.slow) for n in malice.NAMES]
)
def test_every_command_refuses_it(name: str, corpus: Corpus, run: Path, tmp_path: Path) -> None:
    shards = Path(shutil.copytree(corpus.shards, tmp_path / "shards"))
    malice.spoil(shards, name, tmp_path / "secret.bin")
    for words in malice.commands(shards, corpus.split, run, tmp_path):
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        result = CliRunner().invoke(app, words)
        after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        said = result.output
        assert result.exit_code in (1, 2), (words, said)
        assert isinstance(result.exception, SystemExit), (words, result.exception)
        (sentence,) = (line for line in said.splitlines() if line.startswith("error: "))
        assert len(sentence.removeprefix("error: ")) <= 500
        assert malice.SECRET.decode() not in said
        assert time.perf_counter() - began < 20
        assert after - before < 200 << 10


def test_a_vocabulary_that_fits_no_memory_is_refused_where_all_files_claim_it(
    corpus: Corpus, run: Path, tmp_path: Path
) -> None:
    shards = Path(shutil.copytree(corpus.shards, tmp_path / "shards"))
    for shard in read_index(shards).shards:
        with h5py.File(shards / shard.name, "r+", libver=("v110", "v110")) as file:
            malice.EDITS["a vocabulary of its own"](file, tmp_path)
    claimed = json.loads((shards / INDEX_NAME).read_text())
    claimed["settings"]["text"]["vocabulary_size"] = 1 << 30
    claimed["settings_digest"] = digest_of(claimed["settings"])
    (shards / INDEX_NAME).write_text(json.dumps(claimed))
    for words in malice.commands(shards, corpus.split, run, tmp_path):
        result = CliRunner().invoke(app, words)
        assert result.exit_code in (1, 2), (words, result.output)
        assert "vocabulary_size is 1073741824, expected at most 1048576" in result.output
