"""One run of the benchmarks: its options, and the data that its sections share.

Owns the options and the paths. Leaves media to `material`.
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
    """The input of the sections.

    Attributes:
        out: directory for the report, the plots and the material.
        quick: small material and few rounds.
        media: a folder of real videos, or None.
        rounds: number of measurements of each way.
        noise: the calibration, repeated during the run.
        shared: results of one section that another one reads.
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
        """Number of cores that this process may use."""
        if hasattr(os, "sched_getaffinity"):
            return len(os.sched_getaffinity(0))
        return os.cpu_count() or 1

    @property
    def dialogue_s(self) -> float:
        """Length of an IEMOCAP-shaped dialogue in seconds; the mean of the corpus is 297."""
        return 200.0 if self.quick else 300.0

    @property
    def talk_s(self) -> float:
        """Length of a MOSEI-shaped recording in seconds; the mean of the corpus is 71."""
        return 40.0 if self.quick else 70.0

    @property
    def recordings(self) -> int:
        """Number of recordings of a corpus that keeps all cores busy."""
        return 2 * self.cores

    def measure(self, ways: Mapping[str, Callable[[], Measured]]) -> dict[str, Any]:
        """Measure ways side by side in the rounds of this run; see `in_rounds`."""
        return in_rounds(ways, self.rounds, self.noise)

    def say(self, text: str) -> None:
        """Print progress to stderr."""
        print(f"bench: {text}", file=sys.stderr, flush=True)
