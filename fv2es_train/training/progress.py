"""Progress of training: a bar on a terminal, plain lines elsewhere."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from fv2es_prep.utils.units import duration

if TYPE_CHECKING:
    from rich.progress import TaskID

# Seconds between two lines within an epoch.
_EVERY_S = 30.0


@dataclass(frozen=True)
class Step:
    """The position of a run after a batch; ``epoch`` and ``batch`` count from 1.

    Attributes:
        loss: mean over the epoch's utterances so far.
        utterances_per_s: throughput in this epoch.
        left_s: seconds left until the last epoch ends, without early stopping.
    """

    epoch: int
    epochs: int
    batch: int
    batches: int
    loss: float
    utterances_per_s: float
    left_s: float

    def __str__(self) -> str:
        return (
            f"batch {self.batch}/{self.batches}  loss {self.loss:.4f}  "
            f"{self.utterances_per_s:.1f} utterances/s{_left(self.left_s)}"
        )


class Progress:
    """The interface that `train` calls; this base class shows nothing."""

    def note(self, text: str) -> None:
        """Show a note to the user before the first epoch."""

    def step(self, step: Step) -> None:
        """Show the progress after a batch."""

    def epoch(self, record: dict[str, Any], left_s: float) -> None:
        """Show the result of an epoch; ``record`` is its line of history.jsonl."""

    def close(self) -> None:
        """End the display after training, also after a failure."""


class Lines(Progress):
    """One line per epoch, and one every ``every_s`` seconds within it."""

    def __init__(self, stream: IO[str], every_s: float = _EVERY_S) -> None:
        self.stream, self.every_s = stream, every_s
        self.last = time.monotonic()

    def note(self, text: str) -> None:
        """See `Progress`."""
        self._print(text)

    def step(self, step: Step) -> None:
        """See `Progress`."""
        if time.monotonic() - self.last >= self.every_s:
            self._print(f"epoch {step.epoch}/{step.epochs}  {step}")

    def epoch(self, record: dict[str, Any], left_s: float) -> None:
        """See `Progress`."""
        self._print(epoch_line(record, left_s))

    def _print(self, line: str) -> None:
        print(line, file=self.stream, flush=True)
        self.last = time.monotonic()


class Bar(Progress):
    """A bar per epoch on a terminal, and one line per epoch above it."""

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("epoch {task.fields[step].epoch}/{task.fields[step].epochs}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[step]}"),
            console=Console(file=stream),
            transient=True,
        )
        self.task: TaskID | None = None

    def note(self, text: str) -> None:
        """See `Progress`."""
        self.bar.console.print(text, highlight=False)

    def step(self, step: Step) -> None:
        """See `Progress`."""
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("train", total=step.batches, step=step)
        self.bar.update(self.task, completed=step.batch, total=step.batches, step=step)

    def epoch(self, record: dict[str, Any], left_s: float) -> None:
        """See `Progress`."""
        self.bar.console.print(epoch_line(record, left_s), highlight=False)

    def close(self) -> None:
        """See `Progress`."""
        self.bar.stop()


def progress_for(stream: IO[str]) -> Progress:
    """Return a bar if the stream is a terminal, else plain lines."""
    return Bar(stream) if stream.isatty() else Lines(stream)


def epoch_line(record: dict[str, Any], left_s: float) -> str:
    """Format one epoch as a line; ``record`` is its line of history.jsonl."""
    score = record["valid"]["f1_binary"]
    shown = "-" if score is None else f"{score:.3f}"
    best = "  best so far" if record["best"] else ""
    return (
        f"epoch {record['epoch']}: train loss {record['train_loss']:.4f}, "
        f"valid loss {record['valid_loss']:.4f}, valid f1_binary {shown}, "
        f"{record['seconds']:.1f} s, {record['utterances_per_s']:.1f} utterances/s"
        f"{_left(left_s)}{best}"
    )


def _left(seconds: float) -> str:
    """What is left, with a comma before it; nothing at the end."""
    return f", about {duration(seconds)} left" if seconds >= 1 else ""
