"""TensorBoard event files: scalars over optimizer steps, in tensorboardX's format.

It avoids `SummaryWriter`, whose queue blocks training forever after the disk was full.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

from fv2es_prep.utils.files import cannot_write

_FLUSH_S = 10.0


class Events:
    """One event file, written by a `RecordWriter`; each start of a run opens a new one."""

    def __init__(self, writer: Any) -> None:
        self._writer = writer
        self._flushed = time.monotonic()

    @classmethod
    @contextmanager
    def open(cls, directory: Path, step: int = 0) -> Iterator[Self]:
        """Begin an event file in a directory, created if missing, and close it at the end.

        TensorBoard hides the values of earlier files from ``step`` on. Raises OutputError if the
        file cannot be written.
        """
        from tensorboardX import RecordWriter
        from tensorboardX.proto.event_pb2 import SessionLog

        try:
            directory.mkdir(parents=True, exist_ok=True)
            number = len(list(directory.glob("events.out.tfevents.*")))
            path = directory / f"events.out.tfevents.{number:010d}.fv2es"
            writer = RecordWriter(str(path))
        except OSError as error:
            raise cannot_write(directory, error) from error
        try:
            events = cls(writer)
            events._write(file_version="brain.Event:2")
            events._write(step=step, session_log=SessionLog(status=SessionLog.START))
            events.flush()
            yield events
        finally:
            writer.close()

    def scalars(self, step: int, values: Mapping[str, float | None]) -> None:
        """Write one scalar per name, skip None, and flush every few seconds."""
        from tensorboardX.proto.summary_pb2 import Summary

        found = [Summary.Value(tag=k, simple_value=v) for k, v in values.items() if v is not None]
        self._write(step=step, summary=Summary(value=found))
        if time.monotonic() - self._flushed >= _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Flush the buffer to disk; OutputError if the disk is full."""
        try:
            self._writer.flush()
        except OSError as error:
            raise cannot_write(Path(self._writer.path), error) from error
        self._flushed = time.monotonic()

    def _write(self, **fields: Any) -> None:
        from tensorboardX.proto.event_pb2 import Event

        self._writer.write(Event(wall_time=time.time(), **fields).SerializeToString())
