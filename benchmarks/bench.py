"""One run of the benchmarks: what was asked for, and what its sections share.

Owns the options and where things lie. Leaves making media to `material`.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.timing import Measured, Noise, in_rounds


@dataclass
class Bench:
    """What the sections are given.

    Attributes:
        out: where the report, the plots and the material go.
        quick: small material and few rounds.
        media: a folder of real videos, or None.
        rounds: how often each way is measured.
        noise: the calibration, repeated through the run.
        shared: what one section has measured and another one reads.
    """

    out: Path
    quick: bool = True
    media: Path | None = None
    rounds: int = 3
    noise: Noise = field(default_factory=Noise)
    shared: dict[str, Any] = field(default_factory=dict)

    @property
    def mode(self) -> str:
        """``quick`` or ``full``."""
        return "quick" if self.quick else "full"

    @property
    def cores(self) -> int:
        """How many cores this process may use."""
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    @property
    def dialogue_s(self) -> float:
        """Seconds of an IEMOCAP-shaped dialogue; the corpus' own have 297 in the mean."""
        return 200.0 if self.quick else 300.0

    @property
    def talk_s(self) -> float:
        """Seconds of a MOSEI-shaped recording; the corpus' own have 71 in the mean."""
        return 40.0 if self.quick else 70.0

    @property
    def recordings(self) -> int:
        """Recordings of a corpus that keeps all cores busy."""
        return 2 * self.cores

    def measure(self, ways: Mapping[str, Callable[[], Measured]]) -> dict[str, Any]:
        """Measure ways side by side in as many rounds as this run has; see `in_rounds`."""
        return in_rounds(ways, self.rounds, self.noise)

    def say(self, text: str) -> None:
        """Tell on stderr what is being done."""
        print(f"bench: {text}", file=sys.stderr, flush=True)
