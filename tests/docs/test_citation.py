"""CITATION.cff says of the project what pyproject.toml says."""

from __future__ import annotations

import tomllib
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[2]


def test_the_citation_has_the_version_and_the_licence_of_the_package() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name in ("version", "license"):
        assert cited[name] == project[name]
    assert cited["cff-version"] == "1.2.0" and cited["type"] == "software"
    assert {*cited["keywords"]} <= {*project["keywords"]}
    assert cited["message"] and cited["title"] == project["name"] and cited["authors"]
