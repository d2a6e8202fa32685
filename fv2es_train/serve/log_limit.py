"""A limit on log lines that clients can cause."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable

MOST_LINES, PERIOD_S = 20, 60.0


class LogLimit(logging.Filter):
    """Passes 20 lines per minute; the next line that passes states how many were dropped."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock, self._since = clock, clock()
        self._passed = self._dropped = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether to log the record; see `logging.Filter`."""
        if (now := self._clock()) - self._since >= PERIOD_S:
            self._since, self._passed = now, 0
        if self._passed == MOST_LINES:
            self._dropped += 1
            return False
        self._passed += 1
        if self._dropped:
            record.msg = f"{record.getMessage()} ({self._dropped} earlier lines were not logged)"
            record.args, self._dropped = (), 0
        return True
