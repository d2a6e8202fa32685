"""What is printed at the end of a preparation, and its exit status."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from fv2es_prep.utils.console import print_json
from fv2es_prep.utils.files import shown_path
from pipelines.commands.common import output, said

if TYPE_CHECKING:
    from pipelines.executors.detached import Submission
    from pipelines.run import Summary


def end_with(summary: Summary, max_dropped: float, as_json: bool) -> None:
    """Print the summary of a run.

    Raises:
        typer.Exit: status 1: a shard failed, a recording could not be read, or too many utterances
            were dropped.
    """
    if as_json:
        print_json(summary.to_json())
    else:
        _print(summary)
    if not (_is_enough(summary, max_dropped) and summary.complete):
        raise typer.Exit(1)


def print_summary(summary: Summary, max_dropped: float) -> bool:
    """Print the summary of a run; return whether there is a dataset to continue with."""
    _print(summary)
    return _is_enough(summary, max_dropped) and not summary.failed_shards


def _is_enough(summary: Summary, max_dropped: float) -> bool:
    """Whether utterances were prepared and few enough dropped; prints on stderr if not."""
    allowed = summary.dropped_share <= max_dropped
    if not allowed:
        _fail(
            f"{summary.dropped_share:.1%} of the utterances could not be prepared, at most "
            f"{max_dropped:.1%} were allowed"
        )
    if not summary.prepared:
        _fail("no utterance could be prepared; the codes above say why")
    return allowed and summary.prepared > 0


def print_submission(made: Submission, out: Path, as_json: bool) -> None:
    """Print which jobs build a dataset."""
    told = {"out": str(out), "array": made.array, "finisher": made.finisher}
    text = f"submitted {made.array} (workers), {made.finisher} (finishes {out})"
    output(told, f"{text}\nfollow it with: fv2es shards status {out}", as_json)


def _print(summary: Summary) -> None:
    typer.echo(f"prepared {summary.prepared} utterances in {summary.shards} shard(s)")
    typer.echo(f"         {summary.size_bytes / 1e6:.1f} MB, {summary.seconds:.1f} s")
    frames, found = (summary.counts.get(name, 0) for name in ("frames_sampled", "faces_found"))
    if frames:
        typer.echo(f"         {frames} frames, a face in {found / frames:.1%}")
    if summary.counts.get("clamped"):
        typer.echo(f"clamped  {summary.counts['clamped']:7} utterances to the media's end")
    if summary.counts.get("recordings_changed"):
        typer.echo(f"changed  {summary.counts['recordings_changed']:7} recordings while being read")
    for name, count in summary.reconciliation.items():
        typer.echo(f"corpus   {count:6} {name}")
    for name, reasons in summary.missing.items():
        for reason, count in reasons.items():
            typer.echo(f"no {name:5} {count:7} utterances: {reason}")
    for reason, count in summary.dropped.items():
        typer.echo(f"left out {count:6} {reason}")
    for other, count in summary.other_code.items():
        typer.echo(f"kept     {count:7} shard(s) with values of other code: {other}")
    for name, error in summary.failed_shards.items():
        _fail(f"{name}: {error}")
    if lost := summary.recordings_failed:
        _fail(f"{len(lost)} recording(s): see {shown_path(summary.out / 'dropped.jsonl')}")
    if summary.failed_shards:
        typer.echo(f"hint: the same command continues: fv2es {said()}", err=True)
    typer.echo(f"shards   {shown_path(summary.out)}")


def _fail(sentence: str) -> None:
    typer.secho(f"failed   {sentence}", fg="red", err=True)
