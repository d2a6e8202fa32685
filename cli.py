"""The command line: parse, call one function, print. Nothing imports this file."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from fv2es_prep.errors import Fv2esError
from fv2es_prep.utils.console import Json, complain
from fv2es_prep.utils.typer_app import App, Group
from fv2es_recipe.commands import init
from fv2es_recipe.commands import run as run_recipe
from fv2es_train.commands.bench import bench
from fv2es_train.commands.browse import browse
from fv2es_train.commands.check import check
from fv2es_train.commands.config_group import config
from fv2es_train.commands.config_group import show as show_config
from fv2es_train.commands.convert_checkpoint import convert_checkpoint
from fv2es_train.commands.eval import compare, eval_
from fv2es_train.commands.export import export
from fv2es_train.commands.pack import pack
from fv2es_train.commands.predict import predict
from fv2es_train.commands.publish import pull, push
from fv2es_train.commands.runs import runs
from fv2es_train.commands.serve import serve
from fv2es_train.commands.train import train
from pipelines.commands.common import said
from pipelines.commands.prep import prep
from pipelines.commands.prep import show as show_prep
from pipelines.commands.shards import shards
from pipelines.commands.splits import splits
from pipelines.signals import Stopped, ignore_further

# Panels of `fv2es --help`, and the commands in them, in the order of work.
_PANELS = {
    "From raw to a table": ("demo", "init", "run"),
    "Prepare": ("prep", "splits", "shards", "browse"),
    "Train and measure": ("train", "eval", "compare", "bench", "runs"),
    "Predict": ("predict", "serve"),
    "Publish": ("push", "pull", "export"),
    "Other": ("config", "pack", "convert-checkpoint", "doctor"),
}


class _Commands(Group):
    """Commands whose errors are one sentence and a hint, with exit status 1 or 2."""

    def list_commands(self, ctx: Any) -> list[str]:
        listed = [name for names in _PANELS.values() for name in names]
        return sorted(super().list_commands(ctx), key=listed.index)

    def get_command(self, ctx: Any, name: str) -> Any:
        found: Any = super().get_command(ctx, name)
        if found:
            found.rich_help_panel = next(p for p, names in _PANELS.items() if name in names)
        return found

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Fv2esError as error:
            complain(error.sentence, error.hint)
            raise typer.Exit(error.exit_status) from None
        except KeyboardInterrupt as error:
            status = 130
            if isinstance(error, Stopped):
                ignore_further()
                status = error.status
            typer.secho("interrupted; finished shards and checkpoints are kept", err=True)
            if sys.argv[1:2] in (["prep"], ["run"]):
                typer.echo(f"hint: the same command continues: fv2es {said()}", err=True)
            raise typer.Exit(status) from None


app = App(
    cls=_Commands,
    epilog="Environment variables: fv2es config env",
    help="Turn raw emotion-video corpora into training shards, and into a trained, measured model.",
)
app.add_typer(prep, name="prep")
app.add_typer(splits, name="splits")
app.add_typer(shards, name="shards")
shards.command("check", epilog="Example: fv2es shards check shards --max 20")(check)
show_config.add_typer(show_prep, name="prep")
app.add_typer(config, name="config")
app.command(epilog="Example: fv2es init iemocap IEMOCAP_full_release --out recipe.toml")(init)
app.command("run", epilog="Example: fv2es run recipe.toml")(run_recipe)
app.command(epilog="Example: fv2es train --shards shards --split split.json --out run")(train)
app.command("eval", epilog="Example: fv2es eval --shards shards --split split.json --run run")(
    eval_
)
app.command(epilog="Example: fv2es compare run-a run-b run-c")(compare)
app.command(epilog="Example: fv2es runs experiments --live")(runs)
app.command(
    epilog="Example: fv2es bench --shards shards --split split.json --modalities a,ta --out bench"
)(bench)
app.command(epilog="Example: fv2es convert-checkpoint published.pt --out run")(convert_checkpoint)
app.command(epilog="Example: fv2es pack run emotions.fv2es")(pack)
app.command(epilog="Example: fv2es export run --to onnx --out exported")(export)
app.command(epilog="Example: fv2es push run you/emotions")(push)
app.command(epilog="Example: fv2es pull you/emotions --out run")(pull)
app.command(epilog="Example: fv2es browse shards --run run")(browse)
app.command(epilog="Example: fv2es predict talk.mp4 --run run --plot talk.png")(predict)
app.command(epilog="Example: fv2es serve --run run")(serve)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Print the version, or run a command."""
    if version:
        from fv2es_prep import __version__

        typer.echo(f"fv2es {__version__}")
        raise typer.Exit


@app.command(epilog="Example: fv2es demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="New directory.")] = Path("demo"),
    corpus_only: Annotated[
        bool, typer.Option("--corpus-only", help="Stop after the corpus and the text model.")
    ] = False,
    executor: Annotated[str, typer.Option(help="Executor, see `fv2es prep`.")] = "local",
    seed: Annotated[int, typer.Option(help="Seed of the corpus, the split and the training.")] = 0,
) -> None:
    """Generate a small corpus in IEMOCAP's layout, run its recipe, predict a new video."""
    from fv2es_recipe.demo import run_demo

    run_demo(out, executor, seed, corpus_only)


@app.command(epilog="Example: fv2es doctor")
def doctor(
    speed: Annotated[
        bool, typer.Option(help="Also measure how long fv2es takes here: 20 to 40 s.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Show what this machine has and lacks, and how long fv2es takes on it.

    The text names no user, host or token: paste it into a bug report.
    """
    from fv2es_train.training.speed import PRESETS, seconds_per_utterance
    from pipelines.commands.doctor import diagnose

    presets = dict.fromkeys(PRESETS, seconds_per_utterance) if speed else {}
    if not diagnose(as_json, presets):
        raise typer.Exit(1)


if __name__ == "__main__":
    app()
