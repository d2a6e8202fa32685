"""What training shows while it runs: a bar on a terminal, one line per epoch elsewhere.

Owns the looks. Leaves what is worth showing to `train`, which calls three methods and never prints.
"""

from __future__ import annotations

from typing import IO, TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from rich.progress import TaskID


class Progress(Protocol):
    """What `train` calls."""

    def step(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        """A batch is done; all numbers count from 1."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is done; ``record`` is its line of history.jsonl."""

    def close(self) -> None:
        """Training has ended, well or badly."""


class Silent:
    """Shows nothing; the default."""

    def step(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        """See `Progress`."""

    def epoch(self, record: dict[str, Any]) -> None:
        """See `Progress`."""

    def close(self) -> None:
        """See `Progress`."""


class Lines(Silent):
    """One plain line per epoch.

    Args:
        stream: where the lines go.
    """

    def __init__(self, stream: IO[str]) -> None:
        self.stream = stream

    def epoch(self, record: dict[str, Any]) -> None:
        """See `Progress`."""
        print(epoch_line(record), file=self.stream, flush=True)


class Bar(Silent):
    """A bar that fills once per epoch, and one line per epoch above it.

    Args:
        stream: a terminal.
    """

    def __init__(self, stream: IO[str]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self.bar = RichProgress(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(),
            TextColumn("batch {task.completed}/{task.total}  loss {task.fields[loss]:.4f}"),
            TimeRemainingColumn(),
            console=Console(file=stream),
            transient=True,
        )
        self.task: TaskID | None = None

    def step(self, epoch: int, epochs: int, batch: int, batches: int, loss: float) -> None:
        """See `Progress`."""
        shown: dict[str, Any] = {"epoch": epoch, "epochs": epochs, "loss": loss}
        if self.task is None:
            self.bar.start()
            self.task = self.bar.add_task("train", total=batches, **shown)
        self.bar.update(self.task, completed=batch, total=batches, **shown)

    def epoch(self, record: dict[str, Any]) -> None:
        """See `Progress`."""
        self.bar.console.print(epoch_line(record), highlight=False)

    def close(self) -> None:
        """See `Progress`."""
        self.bar.stop()


def progress_for(stream: IO[str]) -> Progress:
    """A bar where the stream is a terminal, plain lines elsewhere."""
    return Bar(stream) if stream.isatty() else Lines(stream)


def epoch_line(record: dict[str, Any]) -> str:
    """One epoch in words and numbers.

    Args:
        record: its line of history.jsonl.
    """
    score = record["valid"]["f1_binary"]
    shown = "-" if score is None else f"{score:.3f}"
    best = "  best so far" if record["best"] else ""
    return (
        f"epoch {record['epoch']}: train loss {record['train_loss']:.4f}, "
        f"valid loss {record['valid_loss']:.4f}, valid f1_binary {shown}, "
        f"{record['seconds']:.1f} s{best}"
    )
