"""The tasks of one `srun`, joined as the processes of one training.

Owns what SLURM's variables mean. Leaves the process group to `distributed`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, MutableMapping

from fv2es_prep.errors import UsageError

# Below the ports that Linux gives to outgoing connections.
_FIRST_PORT, _PORTS = 12_000, 20_000
_NEEDED = ("SLURM_PROCID", "SLURM_LOCALID", "SLURM_JOB_ID", "SLURM_STEP_ID", "SLURM_STEP_NODELIST")


def join_step(environment: MutableMapping[str, str] = os.environ) -> None:
    """Set the variables that `torchrun` would set for the tasks of a SLURM step.

    Does nothing in a step of one task, outside a step, and under `torchrun`. The tasks meet at the
    first host of the step, on a port computed from job and step; `MASTER_ADDR` and `MASTER_PORT`
    override them.

    Raises:
        UsageError: a variable of the step is missing or cannot be parsed.
    """
    size = environment.get("SLURM_STEP_NUM_TASKS", "1")
    if size == "1" or "WORLD_SIZE" in environment:
        return
    try:
        rank, local, job, step, nodes = (environment[name] for name in _NEEDED)
        port = _FIRST_PORT + (int(job) * 16 + int(step)) % _PORTS
    except (KeyError, ValueError) as error:
        raise UsageError(
            f"cannot read the variables of this SLURM step of {size} tasks: {error}",
            "start one task per node and run torchrun in it",
        ) from error
    environment.setdefault("MASTER_ADDR", first_host(nodes))
    environment.setdefault("MASTER_PORT", str(port))
    environment.update(WORLD_SIZE=size, RANK=rank, LOCAL_RANK=_device(environment, local))


def is_restarted(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process belongs to a requeued batch job."""
    return environment.get("SLURM_RESTART_COUNT", "0") != "0"


def first_host(nodes: str) -> str:
    """The first host of SLURM's compressed list: ``gpu[03-05,9],cpu1`` gives ``gpu03``."""
    found = re.match(r"([^,\[]*)(?:\[(\w+)[^\]]*\])?([^,\[]*)", nodes)
    return "".join(part or "" for part in found.groups()) if found else nodes


def _device(environment: Mapping[str, str], local: str) -> str:
    """Number of the task's GPU; 0 if SLURM shows each task only its own GPU."""
    seen = environment.get("CUDA_VISIBLE_DEVICES", "")
    bound = "SLURM_GPUS_PER_TASK" in environment and seen and "," not in seen
    return "0" if bound else local
