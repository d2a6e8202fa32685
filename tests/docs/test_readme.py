from __future__ import annotations

import re
from pathlib import Path

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.splits import write_split
from fv2es_prep.splits.recipes import Rule, build_splits

README = Path(__file__).parents[2] / "README.md"


def test_a_trainer_of_ones_own_in_ten_lines(shards, monkeypatch, capsys):
    code = re.search(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert code is not None
    lines = [line for line in code[1].splitlines() if line.strip()]
    assert len(lines) <= 10
    write_split(
        next(build_splits(read_catalogue(shards), Rule(allow_empty_class=True))),
        shards.parent / "split.json",
    )
    monkeypatch.chdir(shards.parent)
    exec(compile(code[1], "README.md", "exec"), {})
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 2
    assert "3, 48, 48" in said[0]
    assert "1, 128, 32" in said[0]
