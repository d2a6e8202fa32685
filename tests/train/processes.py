"""Processes that train, forked from one that has loaded the libraries."""

from __future__ import annotations

import os
import socket
from multiprocessing.process import BaseProcess

from fv2es_train.config import TrainConfig
from fv2es_train.training.loop import train
from fv2es_train.training.progress import Progress
from tests import fork_server


def start(config: TrainConfig, progress: Progress | None = None, **environment: str) -> BaseProcess:
    """A process that trains, with some variables in its environment."""
    process = fork_server.context().Process(target=_train, args=(config, progress, environment))
    process.start()
    return process


def together(config: TrainConfig, size: int) -> list[int | None]:
    """Train in several processes with the environment that torchrun gives; their exit codes."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    shared = {"WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    ranks = [start(config, RANK=str(rank), LOCAL_RANK=str(rank), **shared) for rank in range(size)]
    for process in ranks:
        process.join(60)
        process.kill()
        process.join()
    return [process.exitcode for process in ranks]


def _train(config: TrainConfig, progress: Progress | None, environment: dict[str, str]) -> None:
    os.environ |= environment
    train(config, progress)
