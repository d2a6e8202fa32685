"""`fv2es shards check`: its options and its table."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from fv2es_prep.utils.console import Json, print_json, say
from fv2es_prep.utils.tables import wrapped

if TYPE_CHECKING:
    from fv2es_prep.shards.catalogue import Catalogue

_SHARDS_OF_A_PROCESS = 20


def check(
    directory: Annotated[
        Path, typer.Argument(help="Directory that `fv2es prep` wrote.", metavar="SHARDS")
    ],
    only: Annotated[
        list[str] | None, typer.Option(help="Kind to look for, repeatable; default: all.")
    ] = None,
    most: Annotated[
        int,
        typer.Option("--max", help="Findings to accept: exit status 1 if there are more.", min=0),
    ] = 0,
    jobs: Annotated[
        int | None,
        typer.Option(help="Processes; default: one per core.", min=1, show_default=False),
    ] = None,
    run: Annotated[
        list[Path] | None,
        typer.Option(
            help="Run whose predictions on its test subset find doubtful labels; repeatable, for a "
            "cross-validation. Default: regressions on sound, words and faces.",
            show_default=False,
        ),
    ] = None,
    words: Annotated[
        bool, typer.Option("--words", help="Also compare the transcripts with the speech.")
    ] = False,
    asr: Annotated[
        str | None,
        typer.Option(
            help="Speech model for --words: embedded, a directory or hub name of Whisper or a CTC "
            "model, or none (length and tone of the sound); embedded if installed, else none.",
            metavar="MODEL",
            show_default=False,
        ),
    ] = None,
    max_mismatch: Annotated[
        float,
        typer.Option(help="Probability up to which --words accepts a transcript.", min=0, max=1),
    ] = 0.5,
    as_json: Json = False,
) -> None:
    """Find utterances that look wrong: duplicates, outliers, cut spans, labels, broken sound."""
    from fv2es_prep.shards.catalogue import read_catalogue
    from fv2es_prep.shards.suspects.drift import drifting_sessions
    from fv2es_prep.shards.suspects.search import (
        CHECKS,
        find_suspects,
        in_order_of_kinds,
        refuse_unknown,
    )
    from fv2es_prep.shards.suspects.traits import read_traits
    from fv2es_prep.utils.phases import phases
    from fv2es_prep.utils.processes import worth_starting
    from fv2es_train.words.transcript_check import check_transcripts

    kinds = only or _default_kinds()
    refuse_unknown(kinds)
    catalogue = read_catalogue(directory)
    shards = len(catalogue.index.shards)
    processes = jobs or worth_starting(shards, _SHARDS_OF_A_PROCESS)
    predicted = _predicted(catalogue, run) if run and "label" in kinds else None
    traits = checked = None
    with phases() as phase:
        if {*kinds} & {*CHECKS}:
            with phase("read", shards, "shards") as report:
                traits = read_traits(directory, catalogue, report, processes)
        found = find_suspects(directory, kinds, predicted=predicted, traits=traits)
        if words or "words" in kinds:
            checked = check_transcripts(directory, asr, max_mismatch, phase, processes, traits)
    if checked is not None:
        found = in_order_of_kinds([*found, *checked.suspects])
        say(f"compared {len(checked.mismatch)} transcripts by {checked.by}")
    drifts = [] if only else drifting_sessions(catalogue)
    values = [suspect.to_json(directory) for suspect in found]
    if as_json:
        drifting = [drift.to_json() for drift in drifts]
        told = {"shards": str(directory), "count": len(found), "suspects": values}
        told |= {"drift": drifting}
        print_json(told if checked is None else {**told, "words": checked.to_json()})
    else:
        typer.echo(_table(values) or f"{directory}: nothing found")
        for drift in drifts:
            say(f"drift: {drift.sentence()}")
    if len(found) > most:
        raise typer.Exit(1)


def _default_kinds() -> list[str]:
    """All kinds that need no --words and whose packages are installed."""
    from fv2es_prep.shards.suspects.search import CHECKS

    if find_spec("cleanlab") is not None:
        return [*CHECKS]
    say('labels are not checked; to check them: pip install "fv2es[check]"')
    return [kind for kind in CHECKS if kind != "label"]


def _predicted(catalogue: Catalogue, runs: list[Path]) -> Any:
    from fv2es_train.evaluation.predictions import held_out

    return held_out(runs, catalogue.ids.to_pylist(), catalogue.label_classes)


def _table(values: list[dict[str, object]]) -> str:
    """For each suspect two lines or more: what it is, and how to look at it."""
    row = "{kind:13} {utterance} {score:.3f}  {sentence}"
    lines = (
        (wrapped(row.format(**value), indent=" " * 14), f"  {value['show']}") for value in values
    )
    return "\n".join(line for pair in lines for line in pair)
