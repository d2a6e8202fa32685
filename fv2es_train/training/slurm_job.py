"""A training as a batch job of SLURM: its script, submission and requeueing.

Leaves signals to `stopping`, and the tasks of a job as torch processes to `slurm_step`. Imports no
torch.
"""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fv2es_prep.errors import ExecutorError, OutOfTimeError, SettingsError, UsageError
from fv2es_prep.utils.configuration import toml_value
from fv2es_prep.utils.files import make_directory
from fv2es_prep.utils.slurm import batch_script, slurm, submit
from fv2es_train.config import TrainConfig
from fv2es_train.training.run_config import NAME as CONFIG
from fv2es_train.training.stopping import hold_back

LOG = "slurm.log"
# The tasks of the job get this signal this many seconds before its time limit.
_SIGNAL = "signal=USR1@120"
_AGAIN = '[ "${SLURM_RESTART_COUNT:-0}" -gt 0 ]'
# srun does not inherit this from the options of the job.
_CPUS = '[ -z "$SLURM_CPUS_PER_TASK" ] || export SRUN_CPUS_PER_TASK="$SLURM_CPUS_PER_TASK"'


@dataclass(frozen=True)
class JobOptions:
    """The resources and options of a job.

    Attributes:
        nodes: number of nodes.
        gpus: GPUs per node, with one process each; 0 runs one process on the CPU of each node.
        sbatch: the user's options of ``sbatch``, without dashes.
    """

    nodes: int = 1
    gpus: int = 0
    sbatch: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("nodes", 1), ("gpus", 0)):
            if getattr(self, name) < least:
                raise SettingsError(f"{name} is {getattr(self, name)}, expected {least} or more")

    @property
    def device(self) -> str:
        """The device of each process: cuda or cpu."""
        return "cuda" if self.gpus else "cpu"


def script_of(job: JobOptions, config: TrainConfig, values: Mapping[str, Any]) -> str:
    """Write the batch script of a training; after a requeue it continues the run.

    Args:
        job: resources and options of the job.
        config: the training.
        values: the user's options by dotted path.

    Raises:
        UsageError: ``overwrite`` is set, so a restart would delete the run, or several processes
            would train on folds.
        SettingsError: an option of ``sbatch`` cannot be parsed.
    """
    if config.overwrite:
        raise UsageError(
            f"--overwrite cannot be used in a batch job: a requeued job would delete its own run "
            f"{config.out}",
            "remove that directory first, or choose another --out",
        )
    folds = not config.resume and config.split.is_dir()
    if folds and job.nodes * max(job.gpus, 1) > 1:
        raise UsageError(
            f"{config.split} contains folds, which need a job with one process, but the job has "
            f"{job.nodes} nodes with {max(job.gpus, 1)} processes each",
            "submit one job per fold with --split FILE, or pass --nodes 1 --gpus 1",
        )
    asked = [f"nodes={job.nodes}", f"ntasks-per-node={max(job.gpus, 1)}"]
    asked += [f"gres=gpu:{job.gpus}"] * bool(job.gpus)
    run = str(config.out)
    resume = shlex.join(["set", "--", "--resume", run])
    given = {"device": job.device, **values}
    first = shlex.join(["set", "--", *(w for pair in given.items() for w in _words(*pair))])
    if config.resume:
        first = f"{resume} {first.removeprefix('set -- ')}"
    begun = f"{_AGAIN} && [ -e {shlex.quote(str(config.out / CONFIG))} ]"
    # Folds continue by themselves; a run that continued has stored the new values.
    choice = [first] if folds else [f"if {begun}; then", f"  {resume}", "else", f"  {first}", "fi"]
    train = shlex.join([sys.executable, "-P", "-m", "fv2es", "train"])
    commands = (
        f"cd {shlex.quote(str(Path.cwd()))}",
        *choice,
        _CPUS,
        f'exec srun --kill-on-bad-exit=1 {train} "$@"',
    )
    options = (*asked, "requeue", _SIGNAL)
    return batch_script("fv2es-train", config.out.absolute() / LOG, options, commands, job.sbatch)


def submit_training(job: JobOptions, config: TrainConfig, values: Mapping[str, Any]) -> str:
    """Check a training as far as possible on this machine, submit it and return the job id.

    Raises:
        UsageError: see `script_of`; or RUN already exists, or shards or split cannot be read.
        ExecutorError: the job cannot be submitted.
    """
    from fv2es_prep.shards.index import read_index
    from fv2es_prep.splits import read_split
    from fv2es_train.training.folds import manifests_of
    from fv2es_train.training.run_dir import refuse_existing

    script = script_of(job, config, values)
    folds = config.split.is_dir()
    if not config.resume and not folds:
        refuse_existing(config)
    read_index(config.shards)
    for manifest in manifests_of(config.split) if folds else (config.split,):
        read_split(manifest)
    make_directory(config.out)
    try:
        return submit(script)
    except ExecutorError:
        # rmdir keeps a directory that is not empty.
        with suppress(OSError):
            config.out.rmdir()
        raise


@contextmanager
def requeueing(say: Callable[[str], None]) -> Iterator[None]:
    """Context of a training: requeue its batch job when its time runs out.

    SIGUSR1 is held back until the training can stop. In processes other than the first, a training
    that ran out of time counts as finished.
    """
    with hold_back():
        try:
            yield
        except OutOfTimeError:
            if os.environ.get("RANK", "0") != "0":
                # With an error, srun would kill the first process before it requeues the job.
                return
            _requeue(os.environ.get("SLURM_JOB_ID", ""), say)
            raise


def _requeue(job: str, say: Callable[[str], None]) -> None:
    if not job:
        return
    # SLURM may kill this process while it waits for the reply, so say it first.
    say(f"requeueing the SLURM job {job}; the training continues in it")
    try:
        slurm("scontrol", "requeue", job)
    except ExecutorError as error:
        say(f"failed to requeue the job: {error.sentence}")


def _words(path: str, value: Any) -> Sequence[str]:
    """Format a value as an option of the command line."""
    plain = not isinstance(value, bool | list | tuple | Mapping)
    return ("--set", f"{path}={value if plain else toml_value(value)}")
