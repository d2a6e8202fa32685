"""Each command of the tutorial runs, in its order, on a smaller corpus of the same kind."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fv2es_prep.demo import make_corpus, make_text_model

PAGE = (Path(__file__).parents[2] / "docs" / "tutorial.md").read_text("utf-8")


@pytest.mark.slow
def test_the_commands_of_the_tutorial_run(tmp_path: Path) -> None:
    blocks = re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL)
    commands = [line.removeprefix("$ ") for block in blocks for line in block.splitlines()]
    assert commands.pop(0) == "fv2es demo --corpus-only --out demo"
    assert len(commands) >= 12 and all(command.startswith("fv2es ") for command in commands)
    make_corpus(tmp_path / "demo/corpus", sessions=5, dialogues=1, turns=12)
    make_text_model(tmp_path / "demo/albert")
    (table,) = re.findall(r"```text\n(id,video.*?)```", PAGE, re.DOTALL)
    (tmp_path / "clips.csv").write_text(table)
    paths = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": paths, "PYTHONPATH": str(Path(__file__).parents[2])}
    for command in commands:
        done = subprocess.run(
            command, shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True
        )
        assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    assert (tmp_path / "example.png").stat().st_size and (tmp_path / "mine/index.json").exists()
