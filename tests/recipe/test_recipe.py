"""`fv2es init` and `fv2es run`: what a recipe may say, and that its steps are done once."""

from __future__ import annotations

import json
import random
import shutil
import signal
import time
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from cli import app  # noqa: TID251  # a test of the command line
from fv2es_prep.corpora import CORPORA
from fv2es_prep.errors import SettingsError
from fv2es_prep.utils.configuration import differences, flat_values, flatten, read_toml
from fv2es_recipe.recipe import SplitConfig, read_recipe
from fv2es_recipe.starter import starter
from fv2es_train.bench.bench_config import rows_of
from fv2es_train.training.run_config import train_config
from tests.command_line import fv2es, start

RUNS = Path(__file__).parents[2] / "recipes/runs"


@pytest.mark.parametrize("corpus", ["iemocap", "mosei", "table"])
def test_what_init_prints_is_a_recipe_with_the_defaults_of_the_corpus(
    corpus: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    made = CliRunner().invoke(app, ["init", corpus, "RAW"])
    assert made.exit_code == 0, made.output
    path.write_text(made.stdout)
    recipe = read_recipe(path)
    assert recipe.prep.labels == CORPORA.load(corpus).classes
    assert recipe.prep.require == (CORPORA.load(corpus).require or "none")
    assert recipe.prep.raw == Path("RAW").resolve()
    assert len(recipe.bench.models) == len(recipe.bench.seeds) == 2
    assert recipe.bench.split == recipe.out / "folds"
    rule = recipe.split.rule()
    assert (rule.recipe, rule.folds) == (
        ("session", "all") if corpus == "iemocap" else ("group", 5)
    )


@pytest.mark.parametrize(
    ("line", "value", "said", "hint"),
    [
        ("seeds =", "epoch = 3\nseeds =", "[train]: unknown configuration field 'epoch'", "epochs"),
        (
            "seeds =",
            "seed = 3\nseeds =",
            "[train]: seed cannot be set in this section",
            "use `seeds`",
        ),
        ("folds =", "fold =", "[split]: unknown configuration field 'fold'", "folds"),
        ("[prep]", "[prepare]", "'prepare.raw'", "did you mean prep?"),
        (
            "tokenizer =",
            "tokeniser =",
            "[prep]: unknown configuration field 'tokeniser'",
            "tokenizer",
        ),
        ('"linear"', '"liner"', "[train]: unknown model 'liner'", "linear"),
        ('folds = "session"', 'folds = "speakers"', "[split]: invalid number of folds", ""),
        ("resamples =", "resample =", "unknown option eval.resample", "resamples"),
        ("[table]", '[train.linear]\nlr = "high"\n[table]', "lr is 'high'", "lr"),
        ('corpus = "', '# "', "corpus is missing", "corpus"),
    ],
)
def test_a_wrong_word_is_refused_with_its_file_section_and_the_right_one(
    line: str, value: str, said: str, hint: str, tmp_path: Path
) -> None:
    path = tmp_path / "recipe.toml"
    text = starter("iemocap", Path("RAW"))
    assert line in text
    path.write_text(text.replace(line, value))
    with pytest.raises(SettingsError) as refused:
        read_recipe(path)
    assert str(path) in refused.value.sentence
    assert said in refused.value.sentence
    assert hint in refused.value.hint


@pytest.mark.parametrize("path", sorted(RUNS.glob("*.toml")), ids=lambda path: path.stem)
def test_the_recipes_that_come_along_can_be_read(path: Path) -> None:
    recipe = read_recipe(path)
    assert recipe.out.name == Path(tomllib.loads(path.read_text())["out"]).name
    if recipe.bench.protocol:
        # What the recipes of single trainings say.
        for row in rows_of(recipe.bench, (Path("split.json"),)):
            config = row.seeds[0][0]
            given = flatten(read_toml(RUNS.parent / f"{row.model}-published.toml"))
            places = {name: getattr(config, name) for name in ("shards", "split", "out")}
            alone = train_config(row.model, **{**given, **places})
            assert differences(flat_values(config), flat_values(alone)) == {}


def test_leaving_one_session_out_is_one_line() -> None:
    assert SplitConfig(folds="session").rule() == SplitConfig("session", "all").rule()
    with pytest.raises(SettingsError, match="recipe is 'random', but folds is 'session'"):
        SplitConfig("random", "session").rule()


TEXT = """
corpus = "iemocap"
out = "{out}"
[prep]
raw = "{raw}"
tokenizer = "{tokenizer}"
shard_mb = 0.1
executor = "inline"
[split]
folds = "session"
[train]
models = ["linear"]
features = ["mel", "tokens"]
modalities = ["ta"]
epochs = 1
[eval]
resamples = 20
"""


def facts(out: Path) -> dict[str, tuple[int, int]]:
    """File -> inode and time of change."""
    found = {p.relative_to(out).as_posix(): p.stat() for p in out.rglob("*") if p.is_file()}
    return {name: (stat.st_ino, stat.st_mtime_ns) for name, stat in found.items()}


def run(*words: object) -> Any:
    done = CliRunner().invoke(app, ["run", *map(str, words)])
    assert done.exit_code == 0, (done.output, done.exception)
    return done


def test_a_step_runs_when_its_inputs_have_changed_and_only_then(
    demo: Path, text_model: Path, prepared: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "recipe.toml", tmp_path / "out"
    shutil.copytree(prepared, out / "shards")
    text = TEXT.format(out=out, raw=demo, tokenizer=text_model)
    path.write_text(text.replace('folds = "session"', 'recipe = "session"'))
    planned = json.loads(run(path, "--dry-run", "--json").stdout)["steps"]
    assert [step["runs"] for step in planned] == [True] * 5
    assert planned[2]["work"] == "1 runs" and planned[2]["seconds"] is None
    first = run(path)
    assert "linear" in first.stdout and "train: run" in first.stderr
    made = facts(out)
    assert {"split.json", "bench/table.md", "bench/runs/linear-ta/seed-0/metrics.json"} <= {*made}
    again = run(path)
    assert again.stderr.count("unchanged, skipped") == 5
    assert again.stdout == first.stdout
    assert facts(out) == made
    # Another seed adds its runs.
    plan = run(path, "--set", "train.seeds=0,1", "--dry-run", "--json").stdout
    steps = {step["step"]: step for step in json.loads(plan)["steps"]}
    assert [name for name, step in steps.items() if step["runs"]] == ["train", "eval", "table"]
    assert steps["train"]["work"] == "1 of 2 runs"
    assert steps["train"]["seconds"] is not None and steps["train"]["disk_bytes"] > 1000
    assert facts(out) == made


@pytest.mark.slow
def test_runs_of_other_options_are_set_aside(
    demo: Path, text_model: Path, prepared: Path, tmp_path: Path
) -> None:
    path, out = tmp_path / "recipe.toml", tmp_path / "out"
    shutil.copytree(prepared, out / "shards")
    path.write_text(TEXT.format(out=out, raw=demo, tokenizer=text_model))
    run(path)
    made = facts(out)
    # Other resamples measure again and train nothing.
    other = run(path, "--set", "eval.resamples=30").stderr
    assert "train: unchanged" in other and "eval: run" in other and "table: run" in other
    kept = {name: fact for name, fact in facts(out).items() if "/runs/" in name}
    assert kept == {name: fact for name, fact in made.items() if "/runs/" in name}
    before = (out / "bench/runs/linear-ta/seed-0/fold-0/metrics.json").read_bytes()
    assert "moved 3 run(s)" in run(path, "--set", "train.epochs=2").stderr
    aside = out / "superseded/1/runs/linear-ta/seed-0/fold-0/metrics.json"
    assert aside.read_bytes() == before
    # Runs of other shards, too.
    assert (
        "moved 3 run(s)"
        in run(path, "--set", "train.epochs=2", "--set", "prep.text.max_tokens=5").stderr
    )
    assert len(list((out / "superseded/2").rglob("metrics.json"))) == 3


@pytest.mark.slow
def test_killed_and_started_again_it_does_nothing_twice(
    demo: Path, text_model: Path, tmp_path: Path
) -> None:
    path, out, rng = tmp_path / "recipe.toml", tmp_path / "out", random.Random(3)
    made = fv2es("init", "iemocap", demo).stdout
    path.write_text(made.replace('out = "iemocap-recipe"', f'out = "{out}"'))
    words: list[object] = ["run", path]
    for value in (
        *(f"prep.tokenizer={text_model}", "prep.executor=inline", "prep.shard_mb=0.1"),
        *("train.models=linear,fv2es-tiny", "train.epochs=1", "eval.resamples=20"),
        f"train.fv2es-tiny.model.text_encoder={text_model}",
    ):
        words += ["--set", value]
    whole: dict[str, tuple[int, int]] = {}
    reached, status = set(), -signal.SIGKILL
    for _ in range(60):
        process = start(*words)
        deadline = time.monotonic() + rng.uniform(2, 8)
        while time.monotonic() < deadline and process.process.is_alive():
            time.sleep(0.05)
        process.send_signal(signal.SIGKILL)
        ended = process.wait()
        status = ended.returncode
        now = facts(out) if out.is_dir() else {}
        # What was finished before is as it was.
        assert whole.items() <= now.items()
        whole = {
            name: fact
            for name, fact in now.items()
            if name.endswith(("metrics.json", ".h5")) and "/." not in name
        }
        reached |= {line for line in ended.stderr.splitlines() if line.endswith(": run")}
        if status == 0:
            break
    assert status == 0, ended.stderr
    assert reached == {f"{step}: run" for step in ("prep", "split", "train", "eval", "table")}
    table = json.loads((out / "bench/table.json").read_text())
    assert [(row["model"], row["runs"]) for row in table["rows"]] == [
        ("linear", 6),
        ("fv2es-tiny", 6),
    ]
    assert table["failed"] == {}
    before = facts(out)
    assert fv2es(*words).stderr.count("unchanged, skipped") == 5
    assert facts(out) == before
