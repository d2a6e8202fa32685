"""The commands on splits as a user types them, in processes of their own."""

from __future__ import annotations

import json

import pytest

from fv2es_prep.shards.catalogue import read_catalogue
from fv2es_prep.splits import SUBSETS, read_split
from tests.command_line import fv2es, refused


@pytest.fixture
def split(prepared, tmp_path):
    path = tmp_path / "random.json"
    build = ("splits", "build", prepared, "--recipe", "random", "--out", path)
    # The dataset is so small that some subsets lack a class.
    refused(fv2es(*build), 2, "subset has no utterance of the class")
    assert fv2es(*build, "--allow-empty-class").returncode == 0
    return path


def test_an_audit_fails_above_what_is_allowed(prepared, split, tmp_path):
    free = fv2es("splits", "audit", prepared, split)
    assert free.returncode == 0, free.stderr
    assert "adjacent_turn" in free.stdout
    page = tmp_path / "audit.html"
    allowed = ("--allow", "recording=0", "--html", page, "--json")
    told = fv2es("splits", "audit", prepared, split, *allowed)
    assert told.returncode == 1
    value = json.loads(told.stdout)
    assert value["above"]
    assert value["pairs"][1]["recording"]["count"] > 0
    assert page.read_text().startswith("<!doctype html>")
    refused(fv2es("splits", "audit", prepared, split, "--allow", "colour=0"), 2, "unknown kind")


def test_folds_fill_a_directory(prepared, tmp_path):
    out = tmp_path / "folds"
    build = ("splits", "build", prepared, "--recipe", "session", "--folds", "all")
    result = fv2es(*build, "--out", out, "--json")
    assert result.returncode == 0, result.stderr
    assert len(json.loads(result.stdout)["splits"]) == 3
    assert sorted(path.name for path in out.iterdir()) == [f"fold-{n}.json" for n in range(3)]
    clean = fv2es("splits", "audit", prepared, out / "fold-1.json", "--allow", "speaker=0")
    assert clean.returncode == 0, clean.stdout
    stats = fv2es("splits", "stats", prepared, out / "fold-1.json", "--json")
    assert json.loads(stats.stdout)["subsets"]["test"]["sessions"] == 1
    diff = fv2es("splits", "diff", out / "fold-0.json", out / "fold-1.json", "--json")
    assert (diff.returncode, json.loads(diff.stdout)["equal"]) == (1, False)
    assert fv2es("splits", "diff", out / "fold-0.json", out / "fold-0.json").returncode == 0


def test_lists_become_a_manifest(prepared, split, tmp_path):
    lists = tmp_path / "lists"
    lists.mkdir()
    ids = {subset: read_split(split).ids(subset) for subset in SUBSETS}
    for subset, names in ids.items():
        (lists / f"{subset}.txt").write_text("\n".join(names))
    out = tmp_path / "imported.json"
    result = fv2es("splits", "import", lists, "--shards", prepared, "--out", out)
    assert result.returncode == 0, result.stderr
    assert "no published split" in result.stdout
    assert {subset: read_split(out).ids(subset) for subset in SUBSETS} == ids
    videos = read_catalogue(prepared).recordings.values
    for subset, name in zip(SUBSETS, videos, strict=True):
        (lists / f"{subset}.txt").write_text(name + "\r\n")
    told = fv2es("splits", "import", lists, "--shards", prepared, "--json")
    assert json.loads(told.stdout)["unit"] == "recording"


def test_list_names_recipes_and_published_splits():
    value = json.loads(fv2es("splits", "list", "--json").stdout)
    assert "group" in [recipe["name"] for recipe in value["recipes"]]
    assert value["published"][0]["counts"] == {"train": 5162, "valid": 737, "test": 1481}
