"""The commands of SLURM, run on this machine."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterable, Sequence
from pathlib import Path

from fv2es_prep.errors import ExecutorError, SettingsError

_TIMEOUT_S = 120
_ARRAY = 1001
_OPTION = re.compile(r"[a-z][a-z-]*(=[^\n]*)?")


def slurm(*command: str, given: str | None = None) -> str:
    """Run a command of SLURM with a text as its standard input; return what it prints.

    Raises:
        ExecutorError: the command is not on this machine, does not answer, or fails.
    """
    try:
        done = subprocess.run(
            command, check=False, input=given, capture_output=True, text=True, timeout=_TIMEOUT_S
        )
    except FileNotFoundError as error:
        raise ExecutorError(
            f"SLURM's {command[0]} is not on this machine",
            "run fv2es where sbatch and squeue can be used, e.g. on a login node",
        ) from error
    except subprocess.TimeoutExpired as error:
        raise ExecutorError(
            f"{command[0]} did not answer within {_TIMEOUT_S} s",
            "check the controller with `scontrol ping`, then run the same command again",
        ) from error
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"exit status {done.returncode}"
        raise ExecutorError(
            f"{command[0]} failed: {said}",
            "pass what your cluster needs, e.g. --sbatch partition=short,time=4:00:00",
        )
    return done.stdout


def submit(script: str) -> str:
    """Submit a batch script; return its job id.

    Raises:
        ExecutorError: see `slurm`.
    """
    return slurm("sbatch", "--parsable", given=script).partition(";")[0].strip()


def is_queued(job: str) -> bool:
    """Whether a task of a job waits or runs; also True while the controller does not answer."""
    try:
        return bool(slurm("squeue", "--noheader", f"--jobs={job}", "--format=%t").strip())
    except ExecutorError as error:
        # SLURM forgets a job some minutes after its end.
        return "Invalid job id" not in error.sentence


def largest_array() -> int:
    """Most tasks of an array job: ``MaxArraySize``, or its default without SLURM."""
    try:
        found = re.search(r"\nMaxArraySize\s*=\s*(\d+)", slurm("scontrol", "show", "config"))
    except ExecutorError:
        found = None
    return int(found[1]) if found else _ARRAY


def batch_script(
    name: str, log: Path, options: Iterable[str], commands: Sequence[str], own: Iterable[str] = ()
) -> str:
    """A batch script.

    ``options``, followed by the user's ``own``, are options of ``sbatch`` without dashes, e.g.
    ``time=4:00:00``; of a repeated option the last one counts. Output goes to ``log``.

    Raises:
        SettingsError: an option has another form.
    """
    for option in own:
        if not _OPTION.fullmatch(option):
            raise SettingsError(
                f"invalid option of sbatch {option!r}",
                "write NAME=VALUE, separated by commas, e.g. partition=short,time=4:00:00",
            )
    # A percent sign begins a pattern.
    pattern = str(log).replace("%", "%%")
    given = [f"job-name={name}", "open-mode=append", f'output="{pattern}"', *options, *own]
    lines = ["#!/bin/bash", *(f"#SBATCH --{option}" for option in given), *commands]
    return "\n".join(lines) + "\n"
