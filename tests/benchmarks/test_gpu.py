"""The GPU kit runs whole in its small form on a CPU; tables of a GPU replace those of the page."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks.gpu.__main__ import BEGIN, END, PAGE, SECTIONS, main, write_page
from benchmarks.results import Section, Table


@pytest.mark.slow
def test_the_kit_runs_in_its_small_form(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = PAGE.read_bytes()
    assert main(["--small", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "gpu.json").read_text())
    assert tuple(found["sections"]) == SECTIONS
    assert found["errors"] == {}
    training = found["sections"]["training"]["tables"][0]
    rate = training["columns"].index("utterances/s")
    assert all(row[rate] > 0 for row in training["rows"])
    assert {row[3] for row in training["rows"]} == {"yes", "no"}
    counts = [row[1] for row in found["sections"]["processes"]["tables"][0]["rows"]]
    assert counts == [1, 2]
    assert "fv2es-tiny" in capsys.readouterr().out
    assert PAGE.read_bytes() == page


def test_without_a_gpu_only_the_small_form_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(SystemExit) as ended:
        main(["--out", str(tmp_path / "none")])
    assert ended.value.code == 2
    assert "--small" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


def test_tables_replace_those_of_the_page_and_the_text_around_them_stays(tmp_path: Path) -> None:
    page = tmp_path / "gpu.md"
    shutil.copy(PAGE, page)
    text = page.read_text()
    machine = {"date": "2030-01-02", "gpu": "A GPU", "gpus": 2, "cuda": "13.0", "versions": {}}
    for rate in (1234.5, 0.1234):
        table = Table("steps", ("model", "rate"), (("fv2es", rate), ("tiny", None)))
        found = {"training": Section((table,), notes=("a note",))}
        write_page(page, machine, {"training": "training steps"}, found)
    written = page.read_text()
    assert "2 x A GPU, CUDA 13.0" in written
    assert "| fv2es | 0.123 |\n| tiny | - |" in written
    assert "1234" not in written and "1235" not in written
    assert written.partition(BEGIN)[0] == text.partition(BEGIN)[0]
    assert written.partition(END)[2] == text.partition(END)[2]
    page.write_text("no tables")
    with pytest.raises(ValueError, match="lacks"):
        write_page(page, machine, {}, {})
