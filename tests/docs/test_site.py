"""The pages as a site: built without a warning, with each public name."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import fv2es

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_the_site_builds_without_a_warning_and_has_each_public_name(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "sphinx", "--quiet", "--fail-on-warning", "-c", ROOT / "docs"]
    done = subprocess.run([*command, ROOT, tmp_path], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "docs" / "api.html").read_text("utf-8")
    names = [name for name in fv2es.__all__ if not name.startswith("_")]
    found = [name for name in names if f'.{name}"' in page]
    assert found == names
    assert "docs/README.html" in (tmp_path / "index.html").read_text("utf-8")
