"""What a command says while it works: bars on a terminal, else a plain line now and then."""

from __future__ import annotations

import contextlib
import io
import sys
import time
from collections.abc import Iterator

import pytest

from fv2es_prep.utils import phases
from pipelines.media_hashes import HASHES_NAME
from pipelines.plan import plan_corpus
from pipelines.run import run


def test_a_long_phase_leaves_lines_and_a_short_one_none(monkeypatch, capsys):
    monkeypatch.setattr(phases, "_SHORT_S", 0.02)
    monkeypatch.setattr(phases, "_LINE_EVERY_S", 0.02)
    monkeypatch.setattr(phases, "_SELDOM_S", 0.02)
    with phases.phases() as phase:
        with phase("short"), phase("nothing to do", 0, "recordings"):
            pass
        assert capsys.readouterr().err == ""
        with phase("of unknown length"):
            time.sleep(0.07)
        assert capsys.readouterr().err.startswith("of unknown length: 0 s\nof unknown length: 0 s")
        with phase("hash", 4, "recordings") as report:
            time.sleep(0.03)
            report(1)
            time.sleep(0.03)
            report(3)
            time.sleep(0.05)
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "hash: 0/4 recordings, 0 s"
    assert [line for line in lines if "1/4" in line and line.endswith("about 0 s left")]
    # What is done is not said to take 0 s more.
    assert {line.rpartition(", ")[2] for line in lines if "4/4" in line} == {"finishing", "0 s"}
    assert lines[-1].endswith("/s, 0 s")


def test_a_phase_that_fails_ends_its_lines(monkeypatch, capsys):
    monkeypatch.setattr(phases, "_SHORT_S", 0.01)
    with phases.phases() as phase, pytest.raises(OSError, match="gone"), phase("scan"):
        raise OSError("gone")
    time.sleep(0.03)
    assert capsys.readouterr().err == ""


def test_a_terminal_shows_bars_of_what_takes_long(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(phases, "_SHORT_S", 0.05)
    monkeypatch.setattr(sys, "stderr", Terminal())
    with phases.phases() as phase:
        with phase("short"):
            pass
        with phase("prepare", 3, "utterances") as report, phase("of unknown length"):
            report(2)
            time.sleep(0.06)
            report(1)
    last = sys.stderr.getvalue().rpartition("prepare")
    assert "3/3 utterances" in last[2]
    assert "of unknown length" in last[2]
    assert "short" not in last[2]


def test_a_preparation_names_its_phases(corpus, text_model, tmp_path, options_for):
    seen, begun = [], []

    @contextlib.contextmanager
    def phase(name: str, total: int | None = None, _: str = "") -> Iterator[object]:
        done = []
        begun.append(name)
        yield done.append
        begun.pop()
        seen.append((name, total, sum(done)))

    options = options_for(corpus, tmp_path / "out", text_model, modalities="t", require="t")
    run(plan_corpus(options, phase=phase), options.out, "inline", lambda _: None, phase=phase)
    assert [name for name, total, _ in seen if total != 0] == [
        *("scan the corpus", "plan shards", "write the plan"),
        *("write the catalogue", "write the report"),
    ]
    seen.clear()
    plan_corpus(options, phase=phase)
    assert [name for name, total, _ in seen if total != 0] == [
        *("scan the corpus", "read earlier shards", "look at media files", "plan shards"),
    ]
    (options.out / HASHES_NAME).unlink()
    seen.clear()
    plan_corpus(options, phase=phase)
    assert ("read earlier shards", 1, 1) in seen
    assert ("hash media files", 3, 3) in seen
    assert not begun
