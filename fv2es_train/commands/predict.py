"""`fv2es predict`: its options and what it prints. Leaves scoring to `predict`."""

from __future__ import annotations

from typing import Annotated

import typer

from fv2es_prep.errors import UsageError
from fv2es_prep.utils.console import Json, print_json, say
from fv2es_prep.utils.flags import Flag, Given, options_of
from fv2es_train.predict.request import PredictConfig

_OPTIONS = {
    "Input": (
        Flag("videos", metavar="VIDEO...", argument=True),
        *("run", "transcript", "spans", "sound", "asr", "tokenizer"),
        Flag("encoders", ("--encoder",), metavar="ENCODER"),
        Flag("views", ("--view",), metavar="VIEW"),
        *("faces", "device", "engine", "precision"),
    ),
    "Output": ("plot", "video"),
}


@options_of(PredictConfig, _OPTIONS)
def predict(
    given: Given[PredictConfig],
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    as_srt: Annotated[bool, typer.Option("--srt", help="Print subtitles with emotions.")] = False,
    as_json: Json = False,
) -> None:
    """Predict the emotions of raw videos, utterance by utterance, with a trained run."""
    forms = [form for form, on in (("json", as_json), ("csv", as_csv), ("srt", as_srt)) if on]
    if len(forms) > 1:
        raise UsageError(f"--{forms[0]} and --{forms[1]} cannot be combined", "choose one")
    run(given.resolve(form=forms[0] if forms else None))


def run(config: PredictConfig) -> None:
    """Score all videos and print their results.

    Raises:
        typer.Exit: with status 1 if a video was not scored.
    """
    from fv2es_train.predict.videos import predict_videos

    failed: dict[str, str] = {}
    for part in predict_videos(config, failed, say):
        typer.echo(part) if isinstance(part, str) else print_json(part)
    if failed:
        say(f"failed to score {len(failed)}: {', '.join(failed)}")
        raise typer.Exit(1)
