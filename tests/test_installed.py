"""The wheel: what it holds, and that it runs away from this checkout, beside strangers' modules."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from fv2es_prep.utils.files import sha256_of
from pipelines.executors.slurm import script_of
from tests.pipelines.test_cluster import cluster

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    run("-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", folder, ROOT)
    (made,) = folder.glob("*.whl")
    return made


@pytest.fixture(scope="module")
def site(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, installed before another package that has modules called `cli` and `pipelines`."""
    folder = tmp_path_factory.mktemp("site")
    run("-m", "pip", "install", "--no-deps", "--target", folder, wheel)
    strange = "raise ImportError('a module of another package')\n"
    (folder / "cli.py").write_text(strange)
    (folder / "pipelines").mkdir()
    (folder / "pipelines" / "__init__.py").write_text(strange)
    return folder


def run(*words: object, **variables: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        cwd="/",
        env={**os.environ, **variables},
    )
    assert done.returncode == 0, done.stderr
    return done


def test_the_wheel_puts_five_names_into_site_packages(wheel: Path) -> None:
    roots = {name.split("/")[0] for name in zipfile.ZipFile(wheel).namelist()}
    roots = {name for name in roots if not name.endswith(".dist-info")}
    assert roots == {"_fv2es", "fv2es.py", "fv2es_prep", "fv2es_recipe", "fv2es_train"}


def test_packaged_files_are_where_the_code_reads_them(site: Path) -> None:
    run(
        "-c",
        "from fv2es_train.bench.protocol import protocols, read_protocol\n"
        "from fv2es_prep.splits.published import published_splits\n"
        "assert published_splits() and [*map(read_protocol, protocols())]",
        PYTHONPATH=str(site),
    )


def test_modules_of_others_by_the_same_names_are_not_taken_for_ours(
    site: Path,
    demo: Path,
    prepared: Path,
    text_model: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    command: list[Any] = [site / "bin/fv2es", "prep", "iemocap", demo, "--shard-mb", "0.1"]
    command += ["--tokenizer", text_model]
    monkeypatch.setenv("PYTHONPATH", str(site))
    with cluster(tmp_path, 1) as (address, _, _):
        for name in ("local:2", address):
            run(*command, "--out", tmp_path / name.split(":")[0], "--executor", name)
            assert hashes(tmp_path / name.split(":")[0]) == hashes(prepared)
    # The worker of a SLURM array, whose plan is finished and removed.
    (words,) = [line for line in script_of(Path("gone"), 1).split("\n") if line.startswith("exec ")]
    done = subprocess.run(words, shell=True, capture_output=True, text=True, cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    # A program that imports fv2es still finds its own modules of these names.
    theirs = "import fv2es; fv2es.ShardDataset\ntry: import pipelines\nexcept ImportError: print(1)"
    assert run("-c", theirs).stdout == "1\n"


def hashes(out: Path) -> dict[str, str]:
    return {path.name: sha256_of(path) for path in out.glob("*.h5")}
