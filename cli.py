"""The command line: parse, call one function, print. Results to stdout, all else to stderr.

Nothing imports this file, and it imports nothing heavy before a command runs.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any, cast

import typer
from typer.core import TyperGroup

from fv2es_prep.errors import Fv2esError, UsageError
from fv2es_prep.utils.console import Json, print_json, say
from fv2es_train.commands.convert_checkpoint import convert_checkpoint
from fv2es_train.commands.eval import Device, compare, eval_
from fv2es_train.commands.serve import serve
from fv2es_train.commands.train import run as run_training
from fv2es_train.commands.train import train
from fv2es_train.training.run_config import train_config
from pipelines.commands import audits  # noqa: F401  # it adds its commands to `splits`
from pipelines.commands.prep import prep, prepare
from pipelines.commands.shards import shards
from pipelines.commands.shared import said
from pipelines.commands.splits import splits, splits_build


class _Commands(TyperGroup):
    """Commands whose errors are one sentence and a hint, with exit status 1 or 2."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except Fv2esError as error:
            typer.secho(f"error: {error.sentence}", fg="red", err=True)
            if error.hint:
                typer.secho(f"hint: {error.hint}", fg="cyan", err=True)
            raise typer.Exit(error.exit_status) from None
        except KeyboardInterrupt:
            typer.secho("interrupted; finished shards and checkpoints are kept", err=True)
            if sys.argv[1:2] == ["prep"]:
                typer.echo(f"hint: the same command continues: fv2es {said()}", err=True)
            raise typer.Exit(130) from None


app = typer.Typer(
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Raw emotion-video corpora to compact training shards, and to a trained, measured model.",
)
app.add_typer(prep, name="prep")
app.add_typer(splits, name="splits")
app.add_typer(shards, name="shards")
app.command(epilog="Example: fv2es train --shards shards --split split.json --out run")(train)
app.command("eval", epilog="Example: fv2es eval --shards shards --split split.json --run run")(
    eval_
)
app.command(epilog="Example: fv2es compare run-a run-b run-c")(compare)
app.command(epilog="Example: fv2es convert-checkpoint published.pt --out run")(convert_checkpoint)
app.command(epilog="Example: fv2es serve --run run")(serve)


@app.callback(invoke_without_command=True)
def main(
    version: Annotated[bool, typer.Option("--version", help="Print the version.")] = False,
) -> None:
    """Parse what stands before a command."""
    if version:
        from fv2es_prep import __version__

        typer.echo(f"fv2es {__version__}")
        raise typer.Exit


@app.command(epilog="Example: fv2es predict talk.mp4 --run run --plot talk.png")
def predict(
    videos: Annotated[list[Path], typer.Argument(help="Files or folders.", metavar="VIDEO...")],
    run: Annotated[Path, typer.Option(help="Directory of the run.", metavar="RUN")],
    transcript: Annotated[
        Path | None, typer.Option(help="Words: srt, vtt, IEMOCAP's transcription or plain text.")
    ] = None,
    spans: Annotated[
        Path | None, typer.Option(help="Utterances: JSON or CSV with start_s, end_s.")
    ] = None,
    sound: Annotated[Path | None, typer.Option(help="The sound, where it is another file.")] = None,
    asr: Annotated[
        str | None,
        typer.Option(help="Recogniser: a directory, a name at the hub, embedded or none."),
    ] = None,
    tokenizer: Annotated[str | None, typer.Option(help="As for `fv2es prep`, if moved.")] = None,
    view: Annotated[
        list[str] | None,
        typer.Option(help="HALF[:SIDE[:CHANNEL]] of a speaker, e.g. left:224:0; or iemocap."),
    ] = None,
    faces: Annotated[str, typer.Option(help="largest, or all: each face on its own.")] = "largest",
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_srt: Annotated[bool, typer.Option("--srt", help="Print subtitles with emotions.")] = False,
    plot: Annotated[
        Path | None, typer.Option(help="Time line as PNG; a folder for several videos.")
    ] = None,
    video: Annotated[
        Path | None, typer.Option(help="Video with all drawn in, as MP4; or a folder.")
    ] = None,
    device: Device = "auto",
    as_json: Json = False,
) -> None:
    """Tell the emotions of raw videos, utterance by utterance, with a trained run."""
    from fv2es_train.predict.videos import PredictConfig, predict_videos

    asked = {"json": as_json, "csv": as_csv, "srt": as_srt}
    forms = [form for form, wanted in asked.items() if wanted] or ["table"]
    if len(forms) > 1:
        raise UsageError(f"--{forms[0]} and --{forms[1]} cannot both be printed", "choose one")
    config = PredictConfig(
        videos=tuple(videos),
        run=run,
        sound=sound,
        spans=spans,
        transcript=transcript,
        asr=asr,
        tokenizer=tokenizer,
        views=tuple(view or ["full"]),
        faces=cast("Any", faces),
        form=cast("Any", forms[0]),
        plot=plot,
        video=video,
        device=device,
    )
    failed: dict[str, str] = {}
    for part in predict_videos(config, failed, say):
        if isinstance(part, str):
            typer.echo(part)
        else:
            print_json(part)
    if failed:
        say(f"{len(failed)} not scored: {', '.join(failed)}")
        raise typer.Exit(1)


@app.command(epilog="Example: fv2es demo --out demo")
def demo(
    out: Annotated[Path, typer.Option(help="New directory for everything.")] = Path("demo"),
    corpus_only: Annotated[
        bool, typer.Option("--corpus-only", help="Only make the corpus and the text model.")
    ] = False,
    executor: Annotated[str, typer.Option(help="As for `fv2es prep`.")] = "local",
    seed: Annotated[int, typer.Option(help="Of the corpus, the split and the training.")] = 0,
) -> None:
    """Make a small corpus in IEMOCAP's layout, prepare it, train a tiny model, predict."""
    from fv2es_prep.demo import make_corpus, make_talk, make_text_model
    from fv2es_prep.utils.files import make_directory
    from pipelines.prepare import PrepOptions

    if out.exists() and any(out.iterdir()):
        raise UsageError(f"{out} is not empty", "choose a new directory with --out")
    make_directory(out)
    say("1/5 making a corpus in IEMOCAP's layout, and a small ALBERT")
    corpus, albert = out / "corpus", out / "albert"
    make_corpus(corpus, seed=seed)
    make_text_model(albert, seed=seed)
    typer.echo(f"corpus     {corpus}\ntext model {albert}")
    if corpus_only:
        return
    shards, split = out / "shards", out / "split.json"
    say("2/5 fv2es prep iemocap: decode, sample frames, find faces, spectra, tokens")
    options = PrepOptions("iemocap", corpus, shards, tokenizer=str(albert), shard_mb=2)
    prepare(options, executor)
    say("3/5 fv2es splits build --recipe random")
    splits_build(shards, split, "random", seed)
    say("4/5 fv2es train --model fv2es-tiny")
    model = {"text_encoder": str(albert)}
    places: dict[str, Path] = {"shards": shards, "split": split, "out": out / "run"}
    run_training(train_config("fv2es-tiny", seed=seed, model=model, **places))
    say("5/5 fv2es predict: a video of its own, without labels or words")
    make_talk(out / "talk.avi", seed=seed)
    speakers, picture = ["left:224:0", "right:224:1"], out / "prediction.png"
    predict([out / "talk.avi"], out / "run", asr="none", view=speakers, plot=picture)
    typer.echo(f"\nreport     {shards / 'report.html'}  (open it in a browser)")
    typer.echo(f"shards     {shards}\nsplit      {split}\nrun        {out / 'run'}")
    typer.echo(f"video      {out / 'talk.avi'}\ntime line  {picture}")


if __name__ == "__main__":
    app()
