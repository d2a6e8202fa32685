"""A real SLURM on this machine: munged, a controller and three nodes of one processor each."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "sinfo")
NODES = 3
_CONFIGURATION = """\
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthType=auth/munge
# A requeued job waits as long as its old credential is valid.
AuthInfo=socket={place}/munge.socket,cred_expire=5
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
ReturnToService=2
MaxArraySize=4
FirstJobId={first}
KillWait=5
SchedulerParameters=bf_interval=2,sched_interval=2
SlurmctldPort={ports[0]}
SlurmctldPidFile={place}/slurmctld.pid
SlurmctldLogFile={place}/slurmctld.log
SlurmdPidFile={place}/slurmd-%n.pid
SlurmdLogFile={place}/slurmd-%n.log
SlurmdSpoolDir={place}/spool-%n
StateSaveLocation={place}/state
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""


def missing() -> str:
    """What of SLURM is not installed, or why it cannot be started; empty if all is there."""
    absent = [name for name in NEEDED if shutil.which(name, path=_path()) is None]
    return (
        f"{', '.join(absent)} not installed" if absent else "" if os.getuid() == 0 else "not root"
    )


@contextmanager
def cluster(place: Path) -> Iterator[dict[str, str]]:
    """Start it below a directory; the variables with which its commands find it."""
    ports = _free_ports(1 + NODES)
    host = platform.node()
    nodes = "\n".join(
        f"NodeName=n{n} NodeAddr=127.0.0.1 NodeHostname={host} Port={ports[n]} CPUs=1 State=UNKNOWN"
        for n in range(1, NODES + 1)
    )
    file = place / "slurm.conf"
    # A training's port follows from its job's number, and clusters run beside each other here.
    first = 1 + 400 * int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    values = {"host": host, "place": place, "ports": ports, "nodes": nodes, "first": first}
    file.write_text(_CONFIGURATION.format(**values))
    for name in ("state", *(f"spool-n{n}" for n in range(1, NODES + 1))):
        (place / name).mkdir()
    (place / "key").write_bytes(os.urandom(128))
    (place / "key").chmod(0o400)
    variables = {"SLURM_CONF": str(file), "PATH": _path()}
    munge = ["munged", "--foreground", "--force", "--num-threads=1", f"--key-file={place}/key"]
    munge += [f"--{name}-file={place}/munge.{name}" for name in ("log", "pid", "seed")]
    commands = [[*munge, f"--socket={place}/munge.socket"], ["slurmctld", "-D", "-i"]]
    commands += [["slurmd", "-D", "-N", f"n{n}"] for n in range(1, NODES + 1)]
    with ExitStack() as stack:
        for command in commands:
            log = stack.enter_context((place / f"{command[0]}.out").open("ab"))
            process = stack.enter_context(
                subprocess.Popen(command, env={**os.environ, **variables}, stdout=log, stderr=log)
            )
            stack.callback(_end, process)
            time.sleep(0.5)
        _wait_until_idle(variables, place)
        yield variables


def _path() -> str:
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def _free_ports(count: int) -> list[int]:
    with ExitStack() as stack:
        servers = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [server.getsockname()[1] for server in servers]


def _wait_until_idle(variables: dict[str, str], place: Path) -> None:
    until = time.monotonic() + 60
    said = ""
    while time.monotonic() < until:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--Node", "--format=%T"],
            env={**os.environ, **variables},
            capture_output=True,
            text=True,
        )
        said = asked.stdout + asked.stderr
        if said.split() == ["idle"] * NODES:
            return
        time.sleep(0.5)
    logs = "".join(path.read_text("utf-8", "replace")[-2000:] for path in place.glob("*.log"))
    raise AssertionError(f"SLURM did not come up: {said}\n{logs}")


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
