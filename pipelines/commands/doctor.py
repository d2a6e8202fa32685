"""`fv2es doctor`: what this machine has and lacks, and how long fv2es takes on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

import typer

from fv2es_prep.utils.console import print_json, say
from fv2es_prep.utils.processes import cores
from fv2es_prep.utils.tables import wrapped
from fv2es_prep.utils.units import duration
from pipelines.commands.machine_checks import Check, checks

_MARKS = {"ok": "ok", "missing": "MISSING", "optional": "-", "low": "LOW"}
# Name of a preset and length of an utterance -> seconds for each utterance of training.
TrainSpeed = Callable[[str, float], float]


@dataclass(frozen=True)
class _Size:
    """What decides how long a corpus takes.

    Attributes:
        title: what it is called.
        minutes: minutes of video to decode.
        decoding: CPU time of a minute of it, as a multiple of that of a dialogue of IEMOCAP.
        train: utterances of the train subset.
        utterance_s: mean length of an utterance.
    """

    title: str
    minutes: float
    decoding: float
    train: int
    utterance_s: float


# IEMOCAP: 12.4 hours; six classes, published split. CMU-MOSEI: what is annotated of its videos;
# a minute of 1280x720 H.264 was measured to take 3.3 times as long (docs/performance.md).
_SIZES = (
    _Size("IEMOCAP, six classes", 744, 1.0, 5162, 4.6),
    _Size("CMU-MOSEI", 3954, 3.3, 16326, 7.3),
)
# The generated corpus of `fv2es demo`: 10 dialogues of 24 turns; one takes 2.8 times as long to
# generate as one of five turns.
_DEMO, _DEMO_FILMS, _DEMO_EPOCHS = _Size("demo", 10.0, 1.0, 168, 1.9), 10 * 2.8, 20
# Importing, index, report, plots, intervals, prediction and its picture, on any machine.
_DEMO_REST_S = 25.0
_FILMED_AT_ONCE = 4
_TINY = "fv2es-tiny"


def diagnose(as_json: bool, presets: Mapping[str, TrainSpeed]) -> bool:
    """Print the checks, and the estimates for some presets; return whether nothing is missing."""
    found = list(checks())
    if not as_json:
        typer.echo("\n".join(map(_line, found)))
    complete = not any(check.state == "missing" for check in found)
    estimates: dict[str, dict[str, float]] = {}
    if presets and complete:
        say("measuring how fast this machine is: 20 to 40 s")
        estimates = estimate(presets)
    if as_json:
        print_json({"checks": [asdict(check) for check in found], "estimates_s": estimates})
    elif estimates:
        typer.echo(f"\n{_table(estimates)}")
    return complete


def estimate(presets: Mapping[str, TrainSpeed]) -> dict[str, dict[str, float]]:
    """Seconds by corpus and step: ``prep``, an epoch of ``train PRESET``, all of ``fv2es demo``."""
    from pipelines.prep_speed import measure_preparation

    prep = measure_preparation()
    found: dict[str, dict[str, float]] = {}

    def prep_s(size: _Size) -> float:
        work_s = size.minutes * size.decoding * prep.cpu_s_per_minute / cores()
        return prep.start_s + work_s

    for size in _SIZES:
        found[size.title] = {"prep": prep_s(size)}
    first = _SIZES[0].utterance_s
    for name, speed in presets.items():
        each_s = speed(name, first)
        for size in _SIZES:
            longer = size.utterance_s / first
            found[size.title][f"train {name}, an epoch"] = each_s * longer * size.train
    if _TINY in presets:
        train_s = presets[_TINY](_TINY, _DEMO.utterance_s) * _DEMO.train * _DEMO_EPOCHS
        corpus_s = prep.film_cpu_s * _DEMO_FILMS / min(cores(), _FILMED_AT_ONCE)
        found["demo"] = {"fv2es demo": corpus_s + prep_s(_DEMO) + train_s + _DEMO_REST_S}
    return found


def _table(estimates: Mapping[str, Mapping[str, float]]) -> str:
    lines = [f"estimated time here, {cores()} cores, with nothing else running"]
    for title, steps in estimates.items():
        lines += [
            f"  {title:21} {step:27} about {duration(seconds)}" for step, seconds in steps.items()
        ]
    return "\n".join(lines)


def _line(check: Check) -> str:
    home = str(Path.home())
    found = check.found.replace(home, "~") if len(home) > 1 else check.found
    indent = " " * 24
    lines = [wrapped(f"{_MARKS[check.state]:7} {check.name:15} {found}", indent=indent)]
    if check.hint:
        lines.append(wrapped(f"{indent}{check.hint}", indent=indent))
    return "\n".join(lines)
