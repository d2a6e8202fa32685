"""`fv2es demo`: a generated corpus, its recipe, and a video that the trained model has not seen."""

from __future__ import annotations

from pathlib import Path

import typer

from fv2es_prep.utils.configuration import toml_value
from fv2es_prep.utils.console import say
from fv2es_prep.utils.files import make_directory, refuse_full, whole_file, whole_path

RECIPE, TALK, PICTURE = "recipe.toml", "talk.avi", "prediction.png"
_TEXT = """\
# The demo: fv2es run {recipe}. Repeat it: steps whose inputs are unchanged are skipped.
corpus = "iemocap"
out = {out}

[prep]
raw = {corpus}
tokenizer = {albert}
stages = ["faces", "mel", "tokens", "landmarks"]
executor = {executor}
shard_mb = 2

[split]
recipe = "random"
seed = {seed}
allow_empty_class = true

[train]
models = ["linear", "fv2es-tiny"]
features = ["landmarks", "mel", "tokens"]
seeds = [{seed}]

[train.fv2es-tiny]
model.text_encoder = {albert}
"""


def make_demo(out: Path, executor: str = "local", seed: int = 0) -> Path:
    """Generate a corpus in IEMOCAP's layout, a small ALBERT, and a recipe for them.

    Args:
        out: a new or empty directory.
        executor: the executor of the recipe.
        seed: seed of the corpus, the split and the trainings.

    Returns:
        The recipe, ``out/recipe.toml``.

    Raises:
        UsageError: ``out`` is not empty.
    """
    from fv2es_prep.demo import make_corpus, make_text_model

    refuse_full(out)
    make_directory(out)
    make_corpus(out / "corpus", seed=seed)
    make_text_model(out / "albert", seed=seed)
    with whole_file(out / RECIPE) as temporary:
        temporary.write_text(recipe_text(out, executor, seed), encoding="utf-8")
    return out / RECIPE


def recipe_text(out: Path, executor: str = "local", seed: int = 0) -> str:
    """The recipe of the demo in ``out``; its paths are absolute."""
    out = whole_path(out)
    return _TEXT.format(
        recipe=out / RECIPE,
        out=toml_value(out),
        corpus=toml_value(out / "corpus"),
        albert=toml_value(out / "albert"),
        executor=toml_value(executor),
        seed=seed,
    )


def run_demo(out: Path, executor: str, seed: int, corpus_only: bool) -> None:
    """Make the demo, run its recipe, and predict the emotions of a generated video."""
    from fv2es_prep.demo import make_talk

    say("1/3 generate a corpus in IEMOCAP's layout, and a small ALBERT")
    recipe = make_demo(out, executor, seed)
    typer.echo(f"corpus     {out / 'corpus'}\ntext model {out / 'albert'}\nrecipe     {recipe}")
    if corpus_only:
        return
    say(f"2/3 fv2es run {recipe}")
    run = out / _run_recipe(recipe).relative_to(whole_path(out))
    say("3/3 fv2es predict: a new video, without labels or transcript")
    make_talk(out / TALK, seed=seed)
    _predict(out, run)
    shards, split = out / "shards", out / "split.json"
    typer.echo(f"\nreport     {shards / 'report.html'}  (open it in a browser)")
    typer.echo(f"shards     {shards}\nsplit      {split}\nrun        {run}")
    typer.echo(f"video      {out / TALK}\ntimeline   {out / PICTURE}")


def _run_recipe(path: Path) -> Path:
    """Run the recipe, print its table; the directory of the last model's run."""
    from fv2es_recipe.commands import run_printed
    from fv2es_recipe.recipe import read_recipe
    from fv2es_train.bench.trainings import planned

    recipe = read_recipe(path)
    run_printed(recipe)
    return planned(recipe.bench).trainings[-1].run.out


def _predict(out: Path, run: Path) -> None:
    from fv2es_train.commands.predict import run as run_predict
    from fv2es_train.predict.request import PredictConfig

    # The two speakers sit side by side, and each has an audio channel.
    views = ("left:224:0", "right:224:1")
    run_predict(PredictConfig((out / TALK,), run, asr="none", views=views, plot=out / PICTURE))
