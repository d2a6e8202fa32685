"""The recipe of `fv2es demo`; `make demo` runs all of it."""

from __future__ import annotations

from pathlib import Path

from fv2es_recipe.demo import recipe_text
from fv2es_recipe.recipe import read_recipe


def test_the_demo_is_a_recipe_that_can_be_run_from_any_directory(tmp_path: Path) -> None:
    path = tmp_path / 'a "quoted" name' / "recipe.toml"
    path.parent.mkdir()
    path.write_text(recipe_text(path.parent, "inline", 7))
    recipe = read_recipe(path)
    assert recipe.out == path.parent
    assert recipe.prep.raw == path.parent / "corpus"
    assert recipe.prep.executor == "inline"
    assert recipe.bench.models == ("linear", "fv2es-tiny")
    assert recipe.bench.seeds == (7,)
    assert recipe.split.seed == 7
    assert recipe.bench.split == path.parent / "split.json"
