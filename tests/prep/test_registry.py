"""Entries are found by name, in this project and in installed packages."""

from __future__ import annotations

from pathlib import Path

import pytest

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.registry import Registry


def registry() -> Registry[object]:
    return Registry("fv2es.tests", "thing", {"inner": "math:pi"})


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An installed package with three entries, one of which has the name of a built-in one."""
    info = tmp_path / "outer-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: outer\nVersion: 1.0\n")
    lines = ("outer = math:tau", "inner = math:tau", "broken = math:nothing")
    (info / "entry_points.txt").write_text("[fv2es.tests]\n" + "\n".join(lines) + "\n")
    monkeypatch.syspath_prepend(tmp_path)


@pytest.mark.usefixtures("package")
def test_installed_entries_come_after_the_builtin_ones() -> None:
    import math

    things = registry()
    assert things.names()[0] == "inner" and set(things.names()) == {"inner", "outer", "broken"}
    assert things.load("inner") == math.pi
    assert things.load("outer") == math.tau


@pytest.mark.usefixtures("package")
def test_an_entry_that_fails_to_import_is_named() -> None:
    with pytest.raises(UsageError, match=r"thing 'broken' \(math:nothing\) fails to import"):
        registry().load("broken")


def test_an_unknown_name_lists_the_known_ones() -> None:
    with pytest.raises(UsageError, match="unknown thing 'other'") as caught:
        registry().load("other")
    assert "inner" in caught.value.hint


def test_the_hint_for_an_unknown_name_is_the_nearest_one():
    from fv2es_prep.stages.registry import STAGES

    with pytest.raises(UsageError) as error:
        STAGES.load("face")
    assert error.value.hint.startswith("did you mean faces?")
